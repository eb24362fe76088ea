/** Colours of numbers: blue above zero, orange below, the ground of the page at zero. They differ for every eye. */

type Colour = [number, number, number];

const LIGHT: Colour[] = [
  [127, 59, 8],
  [214, 118, 23],
  [250, 190, 120],
  [247, 247, 245],
  [146, 197, 232],
  [52, 127, 190],
  [10, 60, 120],
];
const DARK: Colour[] = [
  [255, 200, 130],
  [232, 140, 40],
  [125, 70, 14],
  [27, 32, 39],
  [22, 74, 120],
  [58, 142, 212],
  [176, 219, 255],
];

/** The colour of a value from -1 to 1, as [red, green, blue]. */
export function diverging(value: number, dark: boolean): Colour {
  const stops = dark ? DARK : LIGHT;
  const place = ((Math.max(-1, Math.min(1, value)) + 1) / 2) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  const part = place - below;
  return stops[below].map((each, channel) => Math.round(each + part * (stops[below + 1][channel] - each))) as Colour;
}

export const css = (value: number, dark: boolean): string => `rgb(${diverging(value, dark).join(" ")})`;

/** Of lines: Okabe and Ito's palette, as tokens of the style sheet, with a dash of its own each. */
export const LINES = ["line0", "line1", "line2", "line3", "line4", "line5"];
export const DASHES = ["", "7 3", "2 3", "10 3 2 3", "4 2", "1 4"];
