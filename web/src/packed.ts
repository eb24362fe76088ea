/** Numbers as the file has them: a shape, and float32 in base64, the low byte first. */

import type { Matrix, Vector } from "./network/linear";

export interface Packed {
  shape: number[];
  base64: string;
}

export function decode({ base64 }: Packed): Float32Array {
  const text = atob(base64);
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, place) => view.getFloat32(4 * place, true));
}

export function decodeVector(packed: Packed): Vector {
  return Float64Array.from(decode(packed));
}

export function decodeMatrix(packed: Packed): Matrix {
  const [rows, columns] = packed.shape;
  return { rows, columns, data: decodeVector(packed) };
}
