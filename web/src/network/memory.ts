/** The fast weights as a sum of terms, A = sum factor value key^T: one term a step that was read. */

import { deviation, dot, type Vector } from "./linear";

export interface Rule {
  name: "Hebbian" | "Cosine" | "Delta";
  decay: number;
  rate: number;
  normalizeKey?: boolean;
}

export interface Term {
  step: number;
  key: Vector;
  value: Vector;
  factor: number; // rate decay^age, and what it was scaled with
  hidden: Vector; // what was written, as it was
}

export type Memory = readonly Term[];

const SMALL = 1e-6; // what is added to squared lengths, and the shortest length that is divided by

/** x - mean(x), brought to length one. */
export function direction(vector: Vector): Vector {
  const apart = deviation(vector);
  const scale = 1 / Math.sqrt(dot(apart, apart) + SMALL);
  return apart.map((value) => value * scale);
}

function unit(vector: Vector): Vector {
  const size = Math.max(Math.sqrt(dot(vector, vector)), SMALL);
  return vector.map((value) => value / size);
}

/** A hidden vector as the rule stores it, and compares it. */
export function stored(rule: Rule, hidden: Vector): Vector {
  return rule.name === "Cosine" ? direction(hidden) : hidden;
}

/** The memory after the hidden vector of a step is written. */
export function write(rule: Rule, memory: Memory, step: number, hidden: Vector): Memory {
  const aged = memory.map((term) => ({ ...term, factor: term.factor * rule.decay }));
  if (rule.name !== "Delta") {
    const vector = stored(rule, hidden);
    const factor = rule.name === "Hebbian" ? rule.rate : 1;
    return [...aged, { step, key: vector, value: vector, factor, hidden }];
  }
  const key = rule.normalizeKey === false ? hidden : unit(hidden);
  const known = sum(aged, weigh(aged, key), hidden.length);
  const value = hidden.map((each, place) => rule.rate * (each - known[place]));
  return [...aged, { step, key, value, factor: 1, hidden }];
}

/** What each term gives to a read: factor <key, query>. */
function weigh(memory: Memory, query: Vector): Vector {
  return Float64Array.from(memory, (term) => term.factor * dot(term.key, query));
}

function sum(memory: Memory, weights: Vector, size: number): Vector {
  const total = new Float64Array(size);
  memory.forEach(({ value }, place) => {
    const weight = weights[place];
    for (let unit = 0; unit < size; unit++) total[unit] += weight * value[unit];
  });
  return total;
}

export interface Read {
  weights: Vector; // of each term in what is added to the boundary
  read: Vector; // what is added
}

/** What a read with the query adds to the boundary, and how much of it is each term's. */
export function readOut(rule: Rule, memory: Memory, query: Vector, boundary: Vector): Read {
  const weights = weigh(memory, stored(rule, query));
  const read = sum(memory, weights, query.length);
  if (rule.name !== "Cosine") return { weights, read };
  const apart = deviation(boundary);
  const size = dot(apart, apart) + SMALL;
  const factor = rule.rate * Math.sqrt(size / (size + dot(read, read)));
  return { weights: weights.map((weight) => weight * factor), read: read.map((value) => value * factor) };
}

/** The matrix itself, [value, key], row by row. */
export function matrix(memory: Memory, size: number): Float32Array {
  const total = new Float32Array(size * size);
  for (const { key, value, factor } of memory) {
    for (let row = 0, at = 0; row < size; row++) {
      const scale = factor * value[row];
      if (scale === 0) at += size;
      else for (let column = 0; column < size; column++) total[at++] += scale * key[column];
    }
  }
  return total;
}

export interface Edit {
  before: number; // the step whose read is the first to see it
  change: "erase" | "overwrite" | "scale" | "empty";
  step?: number; // whose term is erased or overwritten
  values?: Vector[]; // of each layer a hidden vector, in the place of the one that was written
  factor?: number;
  says?: string; // what the value is, to people
}

/** The memory of a layer after an edit, which changes all layers. */
export function edited(rule: Rule, memory: Memory, edit: Edit, layer: number): Memory {
  const { change, step, values, factor } = edit;
  const value = values?.[layer];
  if (change === "empty") return [];
  if (change === "scale") return memory.map((term) => ({ ...term, factor: term.factor * (factor ?? 1) }));
  if (change === "erase") return memory.filter((term) => term.step !== step);
  return memory.map((term) => (term.step === step && value ? { ...term, value: replaced(rule, term, value) } : term));
}

/** The value of a term, had this hidden vector been written under the same key. */
function replaced(rule: Rule, term: Term, hidden: Vector): Vector {
  if (rule.name !== "Delta") return stored(rule, hidden);
  return term.value.map((each, unit) => each + rule.rate * (hidden[unit] - term.hidden[unit]));
}
