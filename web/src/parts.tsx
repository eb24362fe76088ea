/** Small parts that panels share. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { css, diverging } from "./colours";
import type { Sequence } from "./tasks";

const MOST_NUMBERS = 3; // of an input that is shown as text

export function Panel(props: { id: string; title: string; says: string; wide?: boolean; children: ComponentChildren }) {
  const { id, title, says, wide, children } = props;
  return (
    <section id={id} class={wide ? "panel wide" : "panel"} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      <p class="says">{says}</p>
      {children}
    </section>
  );
}

export function number(value: number, digits = 3): string {
  if (value === 0) return "0";
  return Math.abs(value) >= 1000 || Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toFixed(digits);
}

/** Of two places, where there is little room; empty where that is zero. */
export function short(value: number): string {
  const text = value.toFixed(2);
  return text === "0.00" || text === "-0.00" ? "" : text;
}

/** As a person reads it; 100.0% is certainty alone. */
export const percent = (share: number): string =>
  `${(share < 1 ? Math.min(99.9, Math.round(1000 * share) / 10) : 100).toFixed(1)}%`;

/** What a step reads: its symbol, or the numbers of a short vector; empty of a long one. */
export function inputOf({ tokens, inputs }: Sequence, step: number): string {
  const input = inputs[step];
  if (typeof input === "number") return tokens[step];
  return input.length <= MOST_NUMBERS ? Array.from(input, (value) => number(value, 2)).join(", ") : "";
}

/** The number that all but a few are smaller than, without their signs: where colours are strongest. */
export function strongest(values: ArrayLike<number>): number {
  const stride = Math.ceil(values.length / MOST_SORTED) | 1; // odd, so that it keeps to no column
  const sizes = Float32Array.from({ length: Math.ceil(values.length / stride) }, (_, place) =>
    Math.abs(values[place * stride]),
  ).sort();
  return sizes[Math.floor(0.995 * (sizes.length - 1))] || sizes[sizes.length - 1] || 1;
}

const TABLES = [false, true].map((dark) => Array.from({ length: 513 }, (_, place) => diverging(place / 256 - 1, dark)));
const MOST_SORTED = 5000;

/** A matrix of numbers as a picture, one point a number. */
export function HeatMap(props: {
  values: ArrayLike<number>;
  rows: number;
  columns: number;
  most: number; // the number of the strongest colour
  dark: boolean;
  label: string;
  rowOrder?: number[];
  columnOrder?: number[];
  shape?: string;
  onPoint?: (at: { row: number; column: number } | null) => void;
}) {
  const { values, rows, columns, most, dark, label, rowOrder, columnOrder, shape, onPoint } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(columns, rows);
    const table = TABLES[Number(dark)];
    const scale = most > 0 ? 256 / most : 0;
    for (let row = 0, at = 0; row < rows; row++) {
      const from = (rowOrder ? rowOrder[row] : row) * columns;
      for (let column = 0; column < columns; column++, at += 4) {
        const value = values[from + (columnOrder ? columnOrder[column] : column)];
        const colour = table[Math.max(0, Math.min(512, Math.round(256 + scale * value)))];
        image.data[at] = colour[0];
        image.data[at + 1] = colour[1];
        image.data[at + 2] = colour[2];
        image.data[at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  });
  const point = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const inside = row >= 0 && row < rows && column >= 0 && column < columns;
    onPoint?.(
      inside ? { row: rowOrder ? rowOrder[row] : row, column: columnOrder ? columnOrder[column] : column } : null,
    );
  };
  return (
    <canvas
      ref={canvas}
      class={`heat ${shape ?? ""}`}
      width={columns}
      height={rows}
      role="img"
      aria-label={label}
      onPointerMove={onPoint && point}
      onPointerLeave={onPoint && (() => onPoint(null))}
    />
  );
}

/** What the colours mean: from -most over zero to most. */
export function Legend({ most, dark, beyond = false }: { most: number; dark: boolean; beyond?: boolean }) {
  const stops = Array.from({ length: 13 }, (_, place) => css(place / 6 - 1, dark));
  return (
    <div class="legend">
      <span>
        {beyond && "≤ "}
        {number(-most, 2)}
      </span>
      <span class="ramp" style={{ background: `linear-gradient(90deg, ${stops.join(",")})` }} aria-hidden="true" />
      <span>
        {beyond && "≥ "}
        {number(most, 2)}
      </span>
      <span class="middle">0</span>
    </div>
  );
}

export function largestOf(values: ArrayLike<number>): number {
  let most = 0;
  for (let place = 0; place < values.length; place++) most = Math.max(most, Math.abs(values[place]));
  return most;
}
