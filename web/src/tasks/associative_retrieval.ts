/** Which digit followed this letter? `g5o8k1??g` -> 5 */

import { below, chosen, type Random } from "../random";
import { characters, inOneLine, repr, shown } from "./python_text";
import type { Sequence, Task, TaskData } from "./task";

const LETTERS = characters("abcdefghijklmnopqrstuvwxyz");
const DIGITS = characters("0123456789");
const EXAMPLE = characters("gokabcdefhijlmnpqrstuvwxyz")
  .map((letter, place) => letter + ("581"[place] ?? "0"))
  .join("");

export function associativeRetrieval(data: TaskData): Task {
  const pairs: number = data.options.num_pairs;
  const distinct: boolean = data.options.distinct_values;
  const symbols = data.symbols!;

  function fault(text: string): string | null {
    const all = characters(text);
    const length = 2 * pairs + 3;
    const wanted = `wanted ${pairs} pairs as in ${EXAMPLE.slice(0, 2 * pairs)}??g`;
    if (all.length !== length) return `got ${shown(text)} of ${all.length} symbols, wanted ${length}: ${wanted}`;
    for (const [place, symbol] of all.entries()) {
      const mark = place === length - 3 || place === length - 2;
      const [allowed, kind] = mark ? [["?"], "?"] : place % 2 ? [DIGITS, "a digit"] : [LETTERS, "a letter"];
      if (!allowed.includes(symbol))
        return `got ${repr(symbol)} as symbol ${place + 1} of ${repr(text)}, ${wanted} (${kind} there)`;
    }
    const keys = all.slice(0, -3).filter((_, place) => place % 2 === 0);
    const values = all.slice(0, -3).filter((_, place) => place % 2 === 1);
    const twice = keys.find((key, place) => keys.indexOf(key) !== keys.lastIndexOf(key) && keys.indexOf(key) === place);
    if (twice) return `got the key ${repr(twice)} twice in ${repr(text)}, wanted distinct keys`;
    const query = all[length - 1];
    if (!keys.includes(query))
      return `got ${repr(query)} as the query of ${repr(text)}, wanted one of its keys: ${keys.join(", ")}`;
    if (distinct && new Set(values).size < values.length)
      return `got a value twice in ${repr(text)}, wanted distinct values`;
    return null;
  }

  function read(text: string): Sequence | string {
    const wrong = fault(text);
    if (wrong) return inOneLine(wrong);
    const tokens = characters(text);
    const asked = tokens.indexOf(tokens[tokens.length - 1]);
    const right = DIGITS.indexOf(tokens[asked + 1]);
    return { text, tokens, inputs: tokens.map((each) => symbols.indexOf(each)), targets: tokens.map(() => right) };
  }

  function made(random: Random, keys: string[], query: string): Sequence {
    const values = distinct ? chosen(random, DIGITS, pairs) : keys.map(() => DIGITS[below(random, 10)]);
    return read(`${keys.map((key, place) => key + values[place]).join("")}??${query}`) as Sequence;
  }

  return {
    data,
    typed: true,
    read,
    draw: (random) => {
      const keys = chosen(random, LETTERS, pairs);
      return made(random, keys, keys[below(random, pairs)]);
    },
    rest: ({ inputs }, read) => {
      const question = inputs.slice(-3);
      return question.slice(Math.max(0, read - (inputs.length - 3)));
    },
    pair: (random, one, other) => {
      if (pairs < 2) return null;
      const both = [symbols[one], symbols[other]];
      const others = LETTERS.filter((letter) => !both.includes(letter));
      const keys = chosen(random, [...both, ...chosen(random, others, pairs - 2)], pairs);
      return made(random, keys, both[below(random, 2)]);
    },
  };
}
