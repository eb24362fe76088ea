/** The right answer's probability after every symbol, of each run. */

import { useMemo, useState } from "preact/hooks";
import { softmax } from "../network/linear";
import { after } from "../network/network";
import { DASHES, LINES } from "../colours";
import { largestOf, number, Panel, percent } from "../parts";
import type { View } from "../view";

const WIDTH = 440;
const HEIGHT = 200;
const LEFT = 44;
const BELOW = 34;

export function KnownPanel({ view }: { view: View }) {
  const { world, session, steps, others, changed, plain } = view;
  const { sequence, step } = session;
  const classified = world.task.data.classes !== null;
  const runs = world.runs.map((run, place) => ({ run, place, steps: others[place] ?? steps }));
  if (changed) runs.push({ run: { ...view.run, name: `${view.run.name}, unchanged` }, place: 5, steps: plain });
  const askable = world.task.rest(sequence, 1) !== null;
  const [asking, ask] = useState(true);
  const asked = askable && asking;
  const lines = useMemo(
    () =>
      runs.map(({ run, place, steps }) => ({
        name: run.name,
        place,
        values: steps.map((each, at) => {
          if (!classified) return each.logits[0];
          const right = sequence.targets[at];
          if (right === null || right === undefined) return null;
          const logits = asked
            ? after(run === view.run ? view.network : run.network, each, world.task.rest(sequence, at + 1)!)
            : each.logits;
          return softmax(logits)[right];
        }),
      })),
    [steps, others, plain, asked],
  );
  const target = classified ? null : sequence.targets[sequence.targets.length - 1];
  const all = lines.flatMap(({ values }) => values.filter((value): value is number => value !== null));
  const low = classified ? 0 : Math.min(0, ...all, target ?? 0);
  const high = classified ? 1 : Math.max(largestOf(all), target ?? 0) || 1;
  const count = sequence.tokens.length;
  const x = (at: number) => LEFT + ((at + 0.5) * (WIDTH - LEFT - 8)) / count;
  const y = (value: number) => 8 + (1 - (value - low) / (high - low)) * (HEIGHT - BELOW - 8);
  const show = classified ? percent : (value: number) => number(value);
  const floor = classified ? world.task.data.floor : null;
  const marks = classified ? [0, 0.25, 0.5, 0.75, 1] : [low, (low + high) / 2, high];
  if (!all.length)
    return (
      <Panel
        id="known"
        title="What is known after every symbol"
        says="The right answer of this sequence is not known here."
      >
        <p class="quiet">A sequence that was drawn may have one.</p>
      </Panel>
    );
  return (
    <Panel
      id="known"
      title={world.runs.length > 1 ? "Compare: what each run knows" : "What is known after every symbol"}
      says={
        !classified
          ? "The number that the network would say after each step, beside the right one."
          : asked
            ? "The probability of the right answer, were the question asked right after this symbol."
            : "The probability of the right answer, were the sequence over after this symbol."
      }
    >
      {askable && (
        <label class="field check">
          <input type="checkbox" checked={asking} onChange={(event) => ask(event.currentTarget.checked)} />
          Ask {sequence.tokens.slice(-3).join("")} after every symbol
        </label>
      )}
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={spoken(lines, step, show)}>
        {marks.map((mark) => (
          <g key={mark}>
            <line class="grid" x1={LEFT} x2={WIDTH - 8} y1={y(mark)} y2={y(mark)} />
            <text class="tick" x={LEFT - 6} y={y(mark) + 4} text-anchor="end">
              {classified ? `${100 * mark}%` : number(mark, 2)}
            </text>
          </g>
        ))}
        <line class="here" x1={x(step)} x2={x(step)} y1={8} y2={HEIGHT - BELOW} />
        {floor !== null && <line class="floor" x1={LEFT} x2={WIDTH - 8} y1={y(floor)} y2={y(floor)} />}
        {target !== null && target !== undefined && (
          <line class="floor" x1={LEFT} x2={WIDTH - 8} y1={y(target)} y2={y(target)} />
        )}
        {lines.map(({ place, values }) => (
          <g class={LINES[place]}>
            <path d={path(values, x, y)} stroke-dasharray={DASHES[place]} />
            {count <= 40 &&
              values.map(
                (value, at) => value !== null && <circle cx={x(at)} cy={y(value)} r={at === step ? 4.5 : 2.5} />,
              )}
          </g>
        ))}
        {count <= 40 &&
          sequence.tokens.map((token, at) => (
            <text class={`tick ${at === step ? "now" : ""}`} x={x(at)} y={HEIGHT - 14} text-anchor="middle">
              {token}
            </text>
          ))}
      </svg>
      <ul class="lines">
        {lines.map(({ name, place, values }) => (
          <li class={LINES[place]}>
            <svg width="34" height="10" aria-hidden="true">
              <path d="M1 5H33" stroke-dasharray={DASHES[place]} />
            </svg>
            {name}: <b>{values[step] === null ? "nothing asked" : show(values[step]!)}</b>
          </li>
        ))}
        {floor !== null && (
          <li class="quiet">
            <svg width="34" height="10" aria-hidden="true">
              <path class="floor" d="M1 5H33" />
            </svg>
            guess floor {percent(floor)}
          </li>
        )}
        {target !== null && target !== undefined && (
          <li class="quiet">
            <svg width="34" height="10" aria-hidden="true">
              <path class="floor" d="M1 5H33" />
            </svg>
            right: {number(target)}
          </li>
        )}
      </ul>
    </Panel>
  );
}

function path(values: (number | null)[], x: (at: number) => number, y: (value: number) => number): string {
  let pen = "M";
  return values
    .map((value, at) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const part = `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
      return part;
    })
    .join("");
}

function spoken(
  lines: { name: string; values: (number | null)[] }[],
  step: number,
  show: (value: number) => string,
): string {
  const parts = lines.map(
    ({ name, values }) => `${name} ${values[step] === null ? "is asked nothing" : show(values[step]!)}`,
  );
  return `After step ${step + 1}: ${parts.join(", ")}`;
}
