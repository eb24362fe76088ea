/** Vectors and matrices in float64; the weights were float32. */

export type Vector = Float64Array;

export interface Matrix {
  rows: number;
  columns: number;
  data: Vector; // row by row
}

export const EPSILON = 1e-5; // of layer norms

export function times(matrix: Matrix, vector: Vector, out = new Float64Array(matrix.rows)): Vector {
  const { rows, columns, data } = matrix;
  for (let row = 0, at = 0; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) sum += data[at++] * vector[column];
    out[row] = sum;
  }
  return out;
}

export function add(left: Vector, right: Vector): Vector {
  return left.map((value, place) => value + right[place]);
}

export function dot(left: Vector, right: Vector): number {
  let sum = 0;
  for (let place = 0; place < left.length; place++) sum += left[place] * right[place];
  return sum;
}

export function mean(vector: Vector): number {
  return vector.reduce((sum, value) => sum + value, 0) / vector.length;
}

/** x - mean(x) */
export function deviation(vector: Vector): Vector {
  const middle = mean(vector);
  return vector.map((value) => value - middle);
}

export function layerNorm(vector: Vector, gain: Vector, bias: Vector): Vector {
  const apart = deviation(vector);
  const scale = 1 / Math.sqrt(dot(apart, apart) / apart.length + EPSILON);
  return apart.map((value, place) => value * scale * gain[place] + bias[place]);
}

export const relu = (vector: Vector): Vector => vector.map((value) => (value > 0 ? value : 0));
export const tanh = (vector: Vector): Vector => vector.map(Math.tanh);
export const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));

export function softmax(logits: Vector): Vector {
  const highest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const powers = logits.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

export function largest(vector: ArrayLike<number>): number {
  let best = 0;
  for (let place = 1; place < vector.length; place++) if (vector[place] > vector[best]) best = place;
  return best;
}

export function cosine(left: Vector, right: Vector): number {
  const size = Math.sqrt(dot(left, left) * dot(right, right));
  return size > 0 ? dot(left, right) / size : 0;
}
