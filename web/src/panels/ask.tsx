/** Other questions to the memory that is there, without reading again. */

import { useMemo, useState } from "preact/hooks";
import { largest, softmax } from "../network/linear";
import { advance, begin } from "../network/network";
import { Panel, percent } from "../parts";
import type { Sequence } from "../tasks";
import type { View } from "../view";

export function AskPanel({ view }: { view: View }) {
  const { session, network, steps, world, dispatch } = view;
  const { sequence, edits } = session;
  const { symbols, classes } = world.task.data;
  const last = sequence.inputs.length - 1;
  const [other, choose] = useState(0);
  const state = last ? steps[last - 1].state : begin(network);
  const inside = world.task.data.keys.filter((key) => sequence.inputs.slice(0, last).includes(key));
  const asked = [...inside, ...(inside.includes(world.task.data.keys[other]) ? [] : [world.task.data.keys[other]])];
  const answers = useMemo(
    () => asked.map((key) => softmax(advance(network, key, state, last, edits).logits)),
    [asked.join(), network, state, edits],
  );
  const ask = (key: number): Sequence | string =>
    world.task.read([...sequence.tokens.slice(0, -1), symbols![key]].join(world.task.data.separated ? " " : ""));
  return (
    <Panel
      id="ask"
      title="Ask another key"
      says="The sequence is read once; each key below is asked of the same memory, with your changes."
    >
      <table class="asked">
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">Answer</th>
            <th scope="col">Probability</th>
            <th scope="col">Right</th>
          </tr>
        </thead>
        <tbody>
          {asked.map((key, place) => {
            const best = largest(answers[place]);
            const found = ask(key);
            const right = typeof found === "string" ? null : found.targets[last];
            return (
              <tr key={key} class={key === sequence.inputs[last] ? "now" : ""}>
                <th scope="row">
                  {typeof found === "string" ? (
                    <span>{symbols![key]}</span>
                  ) : (
                    <button
                      type="button"
                      class="chip"
                      aria-label={`Ask ${symbols![key]}`}
                      onClick={() => dispatch({ type: "ask", sequence: found })}
                    >
                      {symbols![key]}
                    </button>
                  )}
                </th>
                <td>
                  <b>{classes![best]}</b>
                </td>
                <td>{percent(answers[place][best])}</td>
                <td>
                  {right === null
                    ? inside.includes(key)
                      ? "not known"
                      : "never read"
                    : right === best
                      ? `${classes![right]} ✓`
                      : `${classes![right]} ✗`}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <label class="field">
        Any other key{" "}
        <select value={other} onChange={(event) => choose(Number(event.currentTarget.value))}>
          {world.task.data.keys.map((key, place) => (
            <option value={place}>{symbols![key]}</option>
          ))}
        </select>
      </label>
    </Panel>
  );
}
