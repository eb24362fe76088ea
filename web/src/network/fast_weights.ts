/** One layer with fast weights: boundary = W h(t) + C x(t+1), the inner loop, and what is written. */

import { add, layerNorm, relu, tanh, times, type Matrix, type Vector } from "./linear";
import { edited, readOut, write, type Edit, type Memory, type Rule } from "./memory";

export interface FastLayer {
  input: Matrix; // C
  recurrent: Matrix; // W
  gain?: Vector;
  bias?: Vector; // of the layer norm, or of the boundary where there is none
  rule: Rule;
  innerSteps: number;
  nonlinearity: "relu" | "tanh";
  order: number[]; // of the units, as they are drawn
}

export interface FastState {
  hidden: Vector;
  memory: Memory;
}

/** What happened in a layer at a step. */
export interface Look {
  boundary: Vector;
  hidden: Vector[]; // h_0 .. h_S
  weights: Vector[]; // of the terms of `before`, by read
  before: Memory; // as this step reads it
  after: Memory;
}

export function firstState(layer: FastLayer): FastState {
  return { hidden: new Float64Array(layer.recurrent.rows), memory: [] };
}

/** A step of the layer at `place`: `projected` is C x(t+1). */
export function fastStep(
  layer: FastLayer,
  place: number,
  projected: Vector,
  state: FastState,
  step: number,
  edits: Edit[],
): Look {
  const { rule, gain, bias } = layer;
  const active = layer.nonlinearity === "relu" ? relu : tanh;
  const normed = (vector: Vector) => (gain ? layerNorm(vector, gain, bias ?? new Float64Array(gain.length)) : vector);
  const before = edits.reduce((memory, edit) => edited(rule, memory, edit, place), state.memory);
  const boundary = add(projected, times(layer.recurrent, state.hidden));
  if (!gain && bias) boundary.forEach((value, place) => (boundary[place] = value + bias[place]));
  const hidden = [active(layer.innerSteps ? boundary : normed(boundary))];
  const weights: Vector[] = [];
  for (let s = 0; s < layer.innerSteps; s++) {
    const found = readOut(rule, before, hidden[s], boundary);
    weights.push(found.weights);
    hidden.push(active(normed(add(boundary, found.read))));
  }
  const last = hidden[hidden.length - 1];
  return { boundary, hidden, weights, before, after: write(rule, before, step, last) };
}
