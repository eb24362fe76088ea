/** What was said before the delay, in the same order? `bad...:` -> bad */

import { below } from "../random";
import { characters, inOneLine, shown } from "./python_text";
import type { Sequence, Task, TaskData } from "./task";

const FORM = /^([a-h]+)(\.*):(\.*)$/;

export function copying(data: TaskData): Task {
  const { length, delay } = data.options as { length: number; delay: number };
  const symbols = data.symbols!;

  function read(text: string): Sequence | string {
    const [, said, blanks, rest] = FORM.exec(text) ?? ["", "", "", ""];
    if (said.length !== length || blanks.length !== delay - 1 || (rest.length !== 0 && rest.length !== length)) {
      const form = `${length} letters a-h, ${delay - 1} blanks '.', the delimiter ':'`;
      return inOneLine(`got ${shown(text)}, wanted ${form} and ${length} blanks or none`);
    }
    const tokens = characters(`${said}${".".repeat(delay - 1)}:${".".repeat(length)}`);
    const inputs = tokens.map((each) => symbols.indexOf(each));
    const targets = tokens.map((_, place) => (place < length + delay ? null : inputs[place - length - delay]));
    return { text, tokens, inputs, targets };
  }

  return {
    data,
    typed: true,
    read,
    draw: (random) => {
      const said = Array.from({ length }, () => symbols[below(random, 8)]);
      return read(`${said.join("")}${".".repeat(delay - 1)}:`) as Sequence;
    },
    rest: () => null,
    pair: () => null,
  };
}
