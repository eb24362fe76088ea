/** The symbols, and arcs from the step to those that it attends to. */

import { useEffect, useRef, useState } from "preact/hooks";
import { HeatMap, largestOf, number, Panel, short } from "../parts";
import type { View } from "../view";

const NARROW = 30; // pixels of a step, at least
const WIDE = 88;

export function Strip({ view }: { view: View }) {
  const { session, look, dispatch, steps } = view;
  const { sequence, step, sub, layer } = session;
  const read = Math.min(sub, look.weights.length);
  const weights = read > 0 ? look.weights[read - 1] : null;
  const most = steps.reduce((high, each) => Math.max(high, ...each.looks[layer].weights.map(largestOf)), 1e-12);
  const [scroll, room] = useRoom();
  const width = Math.max(NARROW, Math.min(WIDE, Math.floor(room / sequence.tokens.length)));
  const height = Math.round(90 + 0.9 * width);
  const byStep = new Map(look.before.map((term, place) => [term.step, weights ? weights[place] : 0]));
  const full = width * sequence.tokens.length;
  const from = useRef(0); // how far it is scrolled: asked of the box, it would cost a layout
  useEffect(() => {
    if (full <= room || !scroll.current) return;
    const middle = (step + 0.5) * width;
    const seen = middle > from.current + 2 * width && middle < from.current + room - 2 * width;
    if (!seen) scroll.current.scrollLeft = middle - room / 2;
  }, [step, sequence, full, room]);
  const symbols = typeof sequence.inputs[0] === "number"; // of vectors the tokens are the numbers of the steps
  const named = (at: number) => (symbols ? sequence.tokens[at] : `step ${at + 1}`);
  const spoken = [...byStep].map(([from, weight]) => `${named(from)} ${number(weight)}`).join(", ");
  const x = (place: number) => (place + 0.5) * width;
  const arcs = [...byStep].sort((one, other) => Math.abs(one[1]) - Math.abs(other[1]));
  return (
    <Panel
      id="strip"
      wide
      title="What this step attends to"
      says="A read of the memory is attention over the past: the thicker an arc, the more of that step's content comes back."
    >
      <div
        class="scroll"
        ref={scroll}
        onScroll={(event) => (from.current = event.currentTarget.scrollLeft)}
        tabIndex={0}
        role="group"
        aria-label="The sequence"
      >
        <div class="strip" style={{ width: `${full}px` }}>
          <svg
            width={full}
            height={height}
            role="img"
            aria-label={
              weights && spoken
                ? `Step ${step + 1}${symbols ? `, ${sequence.tokens[step]},` : ""} attends to: ${spoken}`
                : `Step ${step + 1} reads nothing here`
            }
          >
            {arcs.map(([from, weight]) => {
              const size = Math.abs(weight) / most;
              if (size < 0.004) return null;
              const top = height - (height - 12) * 1.3 * Math.min(1, 0.3 + 0.22 * Math.sqrt(step - from));
              return (
                <path
                  key={from}
                  class={`arc ${weight < 0 ? "below" : "above"}`}
                  d={`M${x(step)} ${height} C${x(step)} ${top} ${x(from)} ${top} ${x(from)} ${height}`}
                  stroke-width={0.75 + 11 * size}
                  stroke-opacity={0.35 + 0.65 * size}
                />
              );
            })}
          </svg>
          <div class="tokens" role="group" aria-label="Steps">
            {sequence.tokens.map((token, place) => (
              <button
                key={place}
                type="button"
                class={`token ${width < 40 ? "narrow" : ""} ${place === step ? "current" : place > step ? "unread" : ""}`}
                style={{ width: `${width}px` }}
                tabIndex={place === step ? 0 : -1}
                aria-current={place === step ? "step" : undefined}
                onClick={() => dispatch({ type: "step", to: place })}
              >
                <b>
                  <span class="hidden">Step {symbols && `${place + 1}: `}</span>
                  {token}
                </b>
                <small aria-hidden="true">
                  {(place < step && weights && short(byStep.get(place) ?? 0)) || "\u00a0"}
                </small>
              </button>
            ))}
          </div>
          {!symbols && <Inputs view={view} width={full} />}
        </div>
      </div>
      <p class="key">
        <span class="swatch above" aria-hidden="true" /> positive
        <span class="swatch below" aria-hidden="true" /> negative
        <span class="quiet">The number below a symbol is its weight, rate · decay^age · ⟨stored, query⟩.</span>
      </p>
    </Panel>
  );
}

/** A box, and how many pixels wide it is. */
function useRoom() {
  const box = useRef<HTMLDivElement>(null);
  const [room, measure] = useState(900);
  useEffect(() => {
    const watcher = new ResizeObserver(([{ contentRect }]) => measure(Math.floor(contentRect.width)));
    watcher.observe(box.current!);
    return () => watcher.disconnect();
  }, []);
  return [box, room] as const;
}

/** Of a task without symbols: features by steps. */
function Inputs({ view, width }: { view: View; width: number }) {
  const { inputs } = view.session.sequence;
  const rows = (inputs[0] as Float64Array).length;
  const values = new Float32Array(rows * inputs.length);
  inputs.forEach((vector, step) =>
    (vector as Float64Array).forEach((value, row) => (values[row * inputs.length + step] = value)),
  );
  return (
    <div class="inputs" style={{ width: `${width}px`, height: `${Math.max(28, Math.min(160, rows * 18))}px` }}>
      <HeatMap
        values={values}
        rows={rows}
        columns={inputs.length}
        most={largestOf(values)}
        dark={view.dark}
        shape="filled"
        label={`The inputs: ${rows} features at ${inputs.length} steps`}
      />
    </div>
  );
}
