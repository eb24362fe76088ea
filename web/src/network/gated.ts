/** The networks without fast weights that runs are compared to: LSTM, GRU, their layer-normed kin, and plain ones. */

import { add, layerNorm, relu, sigmoid, times, type Matrix, type Vector } from "./linear";

export interface Gated {
  kind: "LSTM" | "GRU" | "LNGRU" | "LNLSTM" | "IRNN";
  input: Matrix;
  recurrent: Matrix;
  vectors: Record<string, Vector>; // biases and gains
}

export interface GatedState {
  hidden: Vector;
  cell: Vector;
}

export function gatedStep(net: Gated, x: Vector, { hidden, cell }: GatedState): GatedState {
  const into = times(net.input, x);
  const back = times(net.recurrent, hidden);
  const size = hidden.length;
  const part = (vector: Vector, place: number, count = 1) => vector.subarray(place * size, (place + count) * size);
  const { vectors } = net;
  if (net.kind === "IRNN") return { hidden: relu(add(add(into, back), vectors.bias)), cell };
  if (net.kind === "LSTM") {
    const all = add(add(into, back), vectors.bias);
    const next = cell.map(
      (value, unit) => sigmoid(all[size + unit]) * value + sigmoid(all[unit]) * Math.tanh(all[2 * size + unit]),
    );
    return { hidden: next.map((value, unit) => sigmoid(all[3 * size + unit]) * Math.tanh(value)), cell: next };
  }
  if (net.kind === "LNLSTM") {
    const all = add(
      layerNorm(into, vectors.gain_input, add(vectors.bias_input, vectors.bias)),
      layerNorm(back, vectors.gain_recurrent, vectors.bias_recurrent),
    );
    const next = cell.map(
      (value, unit) => sigmoid(all[unit]) * value + sigmoid(all[size + unit]) * Math.tanh(all[3 * size + unit]),
    );
    const normed = layerNorm(next, vectors.gain_cell, vectors.bias_cell);
    return { hidden: normed.map((value, unit) => sigmoid(all[2 * size + unit]) * Math.tanh(value)), cell: next };
  }
  if (net.kind === "GRU") {
    const left = add(into, vectors.bias_input);
    const right = add(back, vectors.bias_recurrent);
    const next = hidden.map((value, unit) => {
      const reset = sigmoid(left[unit] + right[unit]);
      const keep = sigmoid(left[size + unit] + right[size + unit]);
      const candidate = Math.tanh(left[2 * size + unit] + reset * right[2 * size + unit]);
      return (1 - keep) * candidate + keep * value;
    });
    return { hidden: next, cell };
  }
  const normed = (given: Vector, gain: Vector, bias: Vector, place: number, count: number) =>
    layerNorm(part(given, place, count), part(gain, place, count), part(bias, place, count));
  const sides = [
    [into, vectors.gain_input, vectors.bias_input],
    [back, vectors.gain_recurrent, vectors.bias_recurrent],
  ] as const;
  const [gatesIn, gatesBack] = sides.map(([given, gain, bias]) => normed(given, gain, bias, 0, 2));
  const [seen, recalled] = sides.map(([given, gain, bias]) => normed(given, gain, bias, 2, 1));
  const next = hidden.map((value, unit) => {
    const update = sigmoid(gatesIn[unit] + gatesBack[unit]);
    const reset = sigmoid(gatesIn[size + unit] + gatesBack[size + unit]);
    const candidate = Math.tanh(seen[unit] + reset * recalled[unit]);
    return value + update * (candidate - value);
  });
  return { hidden: next, cell };
}
