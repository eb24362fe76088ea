/** How alike the vectors are with which the network asks for its keys, and which of them it confuses. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { cosine, largest } from "../network/linear";
import { codesOf, trace } from "../network/network";
import { css } from "../colours";
import { Legend, number, Panel } from "../parts";
import { randomOf } from "../random";
import type { View } from "../view";

const SEARCHED = 10_000;
const SLICE = 12; // ms of searching before the page may draw again
const LISTED = 6;
const CELL = 14;

export function CodesPanel({ view }: { view: View }) {
  const { run, world, dark, network } = view;
  const { keys } = world.task.data;
  const symbols = world.task.data.symbols!;
  const codes = useMemo(() => codesOf(run.network, keys), [run]);
  const alike = useMemo(() => codes.map((one) => codes.map((other) => cosine(one, other))), [codes]);
  const pairs = useMemo(() => {
    const found = keys.flatMap((_, one) => keys.slice(0, one).map((_, other) => [other, one] as [number, number]));
    return found.sort(([a, b], [c, d]) => alike[c][d] - alike[a][b]).slice(0, LISTED);
  }, [alike]);
  const [one, setOne] = useState(0);
  const [other, setOther] = useState(1);
  const { said, search } = useSearch(view);
  const searches = world.task.pair(randomOf(0), keys[0], keys[1]) !== null;
  const long = Math.max(...keys.map((key) => symbols[key].length));
  const edge = long === 1 ? CELL : 6 * long + 8; // where the names stand
  const side = keys.length * CELL;
  const map = useMemo(
    // as long as it stays, a step need not look at its cells
    () => (
      <svg
        class="codes"
        viewBox={`0 0 ${side + edge} ${side + edge}`}
        role="img"
        style={{ maxWidth: `${Math.min(24, 1.9 * (keys.length + 1))}rem` }}
        aria-label={`Cosine similarities of ${keys.length} keys; the most alike: ${pairs.map(([a, b]) => `${symbols[keys[a]]} and ${symbols[keys[b]]} ${number(alike[a][b], 2)}`).join(", ")}`}
      >
        {keys.map((key, at) => (
          <g>
            <text class="tick" x={edge - 3} y={edge + (at + 0.75) * CELL} text-anchor="end">
              {symbols[key]}
            </text>
            <text
              class="tick"
              text-anchor={long === 1 ? "middle" : "start"}
              transform={`translate(${edge + (at + (long === 1 ? 0.5 : 0.75)) * CELL} ${edge - 3}) rotate(${long === 1 ? 0 : -90})`}
            >
              {symbols[key]}
            </text>
          </g>
        ))}
        {alike.map((row, a) =>
          row.map((value, b) => (
            <rect
              class={searches && a !== b ? "cell" : ""}
              x={edge + b * CELL}
              y={edge + a * CELL}
              width={CELL}
              height={CELL}
              fill={css(value, dark)}
              onClick={searches && a !== b ? () => search(keys[a], keys[b]) : undefined}
            >
              <title>{`${symbols[keys[a]]} and ${symbols[keys[b]]}: ${number(value, 2)}`}</title>
            </rect>
          )),
        )}
      </svg>
    ),
    [codes, dark, network],
  );
  return (
    <Panel
      id="codes"
      title="The codes of all keys"
      says="How alike the hidden vectors of two keys are, each read alone, by their cosine; alike keys are easily confused."
    >
      {map}
      <Legend most={1} dark={dark} />
      {searches && (
        <>
          <p>Most alike; press one for a sequence that the network gets wrong:</p>
          <div class="buttons">
            {pairs.map(([a, b]) => (
              <button type="button" onClick={() => search(keys[a], keys[b])}>
                {symbols[keys[a]]} {symbols[keys[b]]} <small>{number(alike[a][b], 2)}</small>
              </button>
            ))}
          </div>
          <div class="buttons">
            <label>
              First key <Choice value={one} choose={setOne} names={keys.map((key) => symbols[key])} />
            </label>
            <label>
              second <Choice value={other} choose={setOther} names={keys.map((key) => symbols[key])} />
            </label>
            <button type="button" disabled={one === other} onClick={() => search(keys[one], keys[other])}>
              Search
            </button>
          </div>
          <p class="verdict" role="status">
            {said}
          </p>
        </>
      )}
    </Panel>
  );
}

function Choice({ value, choose, names }: { value: number; choose: (place: number) => void; names: string[] }) {
  return (
    <select value={value} onChange={(event) => choose(Number(event.currentTarget.value))}>
      {names.map((name, place) => (
        <option value={place}>{name}</option>
      ))}
    </select>
  );
}

/** Looks for a sequence with both keys that the network gets wrong, a slice of time after the other. */
function useSearch(view: View) {
  const [said, say] = useState("");
  const turn = useRef(0);
  useEffect(() => () => void turn.current++, []);
  const search = (one: number, other: number) => {
    const mine = ++turn.current;
    const { world, network, dispatch } = view;
    const random = randomOf(one * 1000 + other);
    const names = `${world.task.data.symbols![one]} and ${world.task.data.symbols![other]}`;
    let done = 0;
    const slice = () => {
      if (mine !== turn.current) return;
      const until = performance.now() + SLICE;
      while (done < SEARCHED && performance.now() < until) {
        const sequence = world.task.pair(random, one, other)!;
        done++;
        const logits = trace(network, sequence.inputs)[sequence.inputs.length - 1].logits;
        if (largest(logits) !== sequence.targets[sequence.targets.length - 1]) {
          dispatch({ type: "show", sequence });
          return say(`Sequence ${done} with ${names} is wrong: ${sequence.text}.`);
        }
      }
      if (done === SEARCHED) return say(`All ${SEARCHED.toLocaleString("en")} sequences with ${names} are right.`);
      say(`${done.toLocaleString("en")} sequences with ${names} are right so far …`);
      setTimeout(slice, 0);
    };
    slice();
  };
  return { said, search };
}
