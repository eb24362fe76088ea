/** Tasks whose sequences were drawn as the file was written; symbols can be typed where they have a text. */

import type { Input } from "../network/network";
import { decode } from "../packed";
import { below } from "../random";
import { characters, inOneLine, shown, stripped, words } from "./python_text";
import type { Sequence, Task, TaskData } from "./task";

const NOTHING = -100; // no answer is wanted here
const MOST_LISTED = 40; // symbols in an error

export function drawn(data: TaskData): Task {
  const typed = data.grammar === "symbols";
  const symbols = data.symbols ?? [];
  const sequences = drawnOf(data);

  function read(text: string): Sequence | string {
    const tokens = data.separated ? words(text) : characters(stripped(text));
    if (!tokens.length) return `got ${shown(text)}, wanted at least one symbol`;
    const odd = tokens.findIndex((token) => !symbols.includes(token));
    if (odd >= 0) {
      const listed = symbols.length <= MOST_LISTED ? ` (${symbols.join(" ")})` : "";
      const known = `wanted one of the ${symbols.length} symbols that were trained on${listed}`;
      return inOneLine(`got ${shown(tokens[odd])} as symbol ${odd + 1} of ${shown(text)}, ${known}`);
    }
    const same = sequences.find((each) => each.tokens.join(" ") === tokens.join(" "));
    const targets = same?.targets ?? tokens.map(() => null);
    return { text, tokens, inputs: tokens.map((each) => symbols.indexOf(each)), targets };
  }

  return {
    data,
    typed,
    read,
    draw: (random) => sequences[below(random, sequences.length)],
    rest: () => null,
    pair: () => null,
  };
}

function drawnOf(data: TaskData): Sequence[] {
  const inputs = decode(data.drawn.inputs);
  const targets = decode(data.drawn.targets);
  const [count, time, width = 1] = data.drawn.inputs.shape;
  const asked = data.drawn.targets.shape.length > 1 ? time : 1;
  return Array.from({ length: count }, (_, row) => {
    const length = data.drawn.lengths[row];
    const steps: Input[] = Array.from({ length }, (_, step) => {
      const at = (row * time + step) * width;
      return data.symbols ? inputs[at] : Float64Array.from(inputs.subarray(at, at + width));
    });
    const wanted = Array.from({ length }, (_, step) => {
      const target = targets[row * asked + (asked > 1 ? step : 0)];
      return target === NOTHING || target === undefined ? null : target;
    });
    const tokens = steps.map((step, place) => (data.symbols ? data.symbols[step as number] : `${place + 1}`));
    const text = data.grammar === "symbols" ? tokens.join(data.separated ? " " : "") : "";
    return { text, tokens, inputs: steps, targets: wanted };
  });
}
