/** Texts as Python shows them in an error, so that the page says what the command line says. */

const MOST_SHOWN = 80; // characters of a value in an error
const MOST_SAID = 600; // of each end of what an error says
const BLANK = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
const NAMED: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The characters of a text, one a code point. */
export const characters = (text: string): string[] => Array.from(text);

export const words = (text: string): string[] => text.split(BLANK).filter(Boolean);

export function stripped(text: string): string {
  const edge = BLANK.source;
  return text.replace(new RegExp(`^${edge}|${edge}$`, "g"), "");
}

const printable = (character: string): boolean => character === " " || !/[\p{C}\p{Z}]/u.test(character);

function escaped(character: string): string {
  if (NAMED[character]) return NAMED[character];
  const code = character.codePointAt(0)!.toString(16);
  const [letter, digits] = code.length <= 2 ? ["x", 2] : code.length <= 4 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.padStart(digits as number, "0")}`;
}

/** repr(text) */
export function repr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inside = characters(text).map((character) => {
    if (character === quote || character === "\\") return `\\${character}`;
    return printable(character) ? character : escaped(character);
  });
  return quote + inside.join("") + quote;
}

/** A value in an error, cut where it is long. */
export function shown(text: string): string {
  const all = characters(repr(text));
  return all.length <= MOST_SHOWN + 2 ? all.join("") : `${all.slice(0, MOST_SHOWN).join("")}...`;
}

/** What an error says: blanks as one, the middle cut out of what is too long. */
export function inOneLine(message: string): string {
  const text = characters(words(message).join(" "));
  if (text.length <= 2 * MOST_SAID) return text.join("");
  return `${text.slice(0, MOST_SAID).join("")} ... ${text.slice(-MOST_SAID).join("")}`;
}
