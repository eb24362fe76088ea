/** What the page knows of a task: how its sequences are read, judged, drawn and written. */

import type { Input } from "../network/network";
import type { Packed } from "../packed";
import type { Random } from "../random";

/** A task as the file has it. */
export interface TaskData {
  name: string;
  grammar: "associative-retrieval" | "copying" | "symbols" | "drawn"; // how its sequences are written
  options: Record<string, any>;
  inputs: number;
  outputs: number;
  symbols: string[] | null; // null: the inputs are vectors
  separated: boolean; // blanks part the symbols
  classes: string[] | null; // null: the outputs are numbers
  every: boolean;
  keys: number[]; // symbols that have a code, and can be asked for
  floor: number | null; // the accuracy of guessing
  guess: string; // the guess floor of the run's result
  drawn: { inputs: Packed; targets: Packed; lengths: number[] };
}

export interface Sequence {
  text: string; // as it is typed; empty where it cannot be
  tokens: string[]; // one a step
  inputs: Input[];
  targets: (number | null)[]; // one a step: a class, or a number; null: nothing is asked, or nobody knows
}

export interface Task {
  data: TaskData;
  typed: boolean;
  /** The sequence, or the sentence that says what is wrong with the text. */
  read(text: string): Sequence | string;
  draw(random: Random): Sequence;
  /** What is still to be read after the first `read` steps until the question is asked; null: it is not asked so. */
  rest(sequence: Sequence, read: number): Input[] | null;
  /** A sequence that has both symbols and asks for one of them; null: there is none. */
  pair(random: Random, one: number, other: number): Sequence | null;
}
