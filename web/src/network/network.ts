/** A trained network, as the page computes it: encoder, recurrent network, head. */

import { decodeMatrix, decodeVector, type Packed } from "../packed";
import { fastStep, firstState, type FastLayer, type FastState, type Look } from "./fast_weights";
import { gatedStep, type Gated, type GatedState } from "./gated";
import { add, relu, times, type Matrix, type Vector } from "./linear";
import { stored, type Edit } from "./memory";

/** A linear layer; null: a ReLU. */
export type Layer = { weight: Matrix; bias: Vector } | null;

/** A step's input: the place of a symbol, or its features. */
export type Input = number | Vector;

export interface Network {
  symbols: boolean;
  inputs: number;
  scale: number;
  embedding: Layer[];
  head: Layer[];
  fast: FastLayer[];
  gated?: Gated;
}

export interface State {
  fast: FastState[];
  gated?: GatedState;
}

export interface Step {
  looks: Look[]; // by layer; none of a network without fast weights
  output: Vector; // the last hidden vector
  logits: Vector;
  state: State;
}

function through(layers: Layer[], vector: Vector): Vector {
  return layers.reduce((given, layer) => (layer ? add(times(layer.weight, given), layer.bias) : relu(given)), vector);
}

/** What the recurrent network sees of an input. */
export function features(network: Network, input: Input): Vector {
  const { symbols, inputs, scale, embedding } = network;
  const vector = symbols
    ? new Float64Array(inputs).fill(scale, input as number, (input as number) + 1)
    : (input as Vector).map((value) => value * scale);
  return through(embedding, vector);
}

export function begin(network: Network): State {
  const { gated } = network;
  const size = gated?.recurrent.columns ?? 0;
  return {
    fast: network.fast.map(firstState),
    gated: gated && { hidden: new Float64Array(size), cell: new Float64Array(size) },
  };
}

/** One step from a state, which stays what it was. `number`: which step it is. */
export function advance(network: Network, input: Input, state: State, number: number, edits: Edit[] = []): Step {
  let vector = features(network, input);
  const looks: Look[] = [];
  network.fast.forEach((layer, place) => {
    const mine = edits.filter((edit) => edit.before === number);
    const look = fastStep(layer, place, times(layer.input, vector), state.fast[place], number, mine);
    looks.push(look);
    vector = look.hidden[look.hidden.length - 1];
  });
  const gated = network.gated && state.gated && gatedStep(network.gated, vector, state.gated);
  if (gated) vector = gated.hidden;
  const fast = looks.map((look) => ({ hidden: look.hidden[look.hidden.length - 1], memory: look.after }));
  return { looks, output: vector, logits: through(network.head, vector), state: { fast, gated } };
}

/** What the head says of a hidden vector of the last layer. */
export const headOf = (network: Network, hidden: Vector): Vector => through(network.head, hidden);

/** All steps of a sequence. */
export function trace(network: Network, inputs: Input[], edits: Edit[] = []): Step[] {
  let state = begin(network);
  return inputs.map((input, number) => {
    const step = advance(network, input, state, number, edits);
    state = step.state;
    return step;
  });
}

/** The logits after further inputs, from the state that a step has left. */
export function after(network: Network, step: Step, more: Input[]): Vector {
  return more.reduce((from, input) => advance(network, input, from.state, Infinity), step).logits;
}

/** The hidden vector of each symbol, read alone, as the rule of the last layer compares it. */
export function codesOf(network: Network, symbols: number[]): Vector[] {
  const { rule } = network.fast[network.fast.length - 1];
  return symbols.map((symbol) => stored(rule, advance(network, symbol, begin(network), 0).output));
}

/** The same network with another decay. */
export function withDecay(network: Network, decay: number | null): Network {
  if (decay === null) return network;
  return { ...network, fast: network.fast.map((layer) => ({ ...layer, rule: { ...layer.rule, decay } })) };
}

/** A network as the file has it. */
export function unpack(packed: any): Network {
  const layer = (each: { weight: Packed; bias: Packed } | null): Layer =>
    each && { weight: decodeMatrix(each.weight), bias: decodeVector(each.bias) };
  const fast = (packed.fast ?? []).map((layer: any) => ({
    ...layer,
    input: decodeMatrix(layer.input),
    recurrent: decodeMatrix(layer.recurrent),
    gain: layer.gain && decodeVector(layer.gain),
    bias: layer.bias && decodeVector(layer.bias),
  }));
  const gated = packed.gated && {
    kind: packed.gated.kind,
    input: decodeMatrix(packed.gated.input),
    recurrent: decodeMatrix(packed.gated.recurrent),
    vectors: Object.fromEntries(
      Object.entries(packed.gated.vectors).map(([name, each]) => [name, decodeVector(each as Packed)]),
    ),
  };
  return { ...packed, embedding: packed.embedding.map(layer), head: packed.head.map(layer), fast, gated };
}
