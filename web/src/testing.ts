/** The networks of the page as functions of plain numbers, as a console calls them. */

import { trace, withDecay, type Input } from "./network/network";
import { matrix, type Edit } from "./network/memory";
import type { World } from "./session";

interface Asked {
  run?: number;
  decay?: number | null;
  edits?: Edit[];
}

export function functions(world: World) {
  const inputs = (sequence: string | number[] | number[][]): Input[] => {
    if (typeof sequence !== "string")
      return sequence.map((each) => (typeof each === "number" ? each : Float64Array.from(each)));
    const found = world.task.read(sequence);
    if (typeof found === "string") throw new Error(found);
    return found.inputs;
  };
  const steps = (sequence: string | number[] | number[][], { run = 0, decay = null, edits = [] }: Asked = {}) => {
    const given = edits.map((edit) => ({ ...edit, values: edit.values?.map((each) => Float64Array.from(each)) }));
    return trace(withDecay(world.runs[run].network, decay), inputs(sequence), given);
  };
  return {
    runs: world.runs.map((run) => run.name),
    /** [time, outputs] of each sequence. */
    outputs: (sequences: (string | number[] | number[][])[], asked?: Asked) =>
      sequences.map((sequence) => steps(sequence, asked).map((step) => [...step.logits])),
    /** Hidden vectors, attention, A(t) and outputs of one sequence, of a layer. */
    trace: (sequence: string | number[] | number[][], layer = 0, asked?: Asked) =>
      steps(sequence, asked).map(({ looks, logits, output }) => ({
        hidden: looks[layer] ? looks[layer].hidden.map((each) => [...each]) : [[...output]],
        attention: looks[layer]?.weights.map((each) => [...each]) ?? [],
        weights: looks[layer] ? [...matrix(looks[layer].after, output.length)] : [],
        logits: [...logits],
      })),
  };
}
