/** The sequence, and where in it one is. */

import { inputOf } from "../parts";
import type { View } from "../view";

export function Controls({ view }: { view: View }) {
  const { session, dispatch, world, run } = view;
  const { text, fault } = session;
  const lookable = world.runs.filter((each) => each.memory);
  return (
    <section class="controls" aria-label="Sequence">
      <div class="row">
        {world.task.typed && (
          <label class="field sequence">
            Sequence
            <input
              type="text"
              id="sequence"
              value={text}
              spellcheck={false}
              autocomplete="off"
              autocapitalize="off"
              aria-invalid={fault !== null}
              aria-describedby="fault"
              onInput={(event) => dispatch({ type: "type", text: event.currentTarget.value })}
            />
          </label>
        )}
        <button
          type="button"
          id="draw"
          onClick={() => dispatch({ type: "show", sequence: world.task.draw(world.random) })}
        >
          Draw one
        </button>
        {lookable.length > 1 && (
          <label class="field">
            Look into
            <select
              value={world.runs.indexOf(run)}
              onChange={(event) => dispatch({ type: "run", to: Number(event.currentTarget.value) })}
            >
              {world.runs.map((each, place) => each.memory && <option value={place}>{each.name}</option>)}
            </select>
          </label>
        )}
      </div>
      <p id="fault" class="fault" role="alert">
        {fault}
      </p>
    </section>
  );
}

/** Shapes in a box of 16. */
const ICONS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M12 3v10L4 8z",
  on: "M4 3v10l8-5z",
  last: "M11 3h2v10h-2zM3 3v10l7-5z",
};

export function Stepper({ view }: { view: View }) {
  const { session, dispatch, layer } = view;
  const { sequence, step, sub } = session;
  const last = sequence.tokens.length - 1;
  const read = inputOf(sequence, step);
  const button = (label: string, icon: keyof typeof ICONS, to: number, end: boolean) => (
    <button
      type="button"
      class="icon"
      aria-label={label}
      title={label}
      disabled={end}
      onClick={() => dispatch({ type: "step", to })}
    >
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        <path d={ICONS[icon]} />
      </svg>
    </button>
  );
  return (
    <section class="steps" aria-label="Step">
      <div class="stepper" role="group" aria-label="Steps">
        {button("First step", "first", 0, step === 0)}
        {button("Step back", "back", step - 1, step === 0)}
        <span class="where">
          Step <b>{step + 1}</b> of {last + 1}
          {read && ": "}
          <b class="say">{read}</b>
        </span>
        {button("Step forward", "on", step + 1, step === last)}
        {button("Last step", "last", last, step === last)}
      </div>
      <fieldset class="subs">
        <legend>Inner loop</legend>
        {Array.from({ length: layer.innerSteps + 2 }, (_, s) => (
          <label key={s} class={s === sub ? "on" : ""}>
            <input type="radio" name="sub" checked={s === sub} onChange={() => dispatch({ type: "sub", to: s })} />
            {s === 0 ? "start" : s > layer.innerSteps ? "write" : `read ${s}`}
          </label>
        ))}
      </fieldset>
      <span class="quiet keys">Keys: ← → steps, ↑ ↓ inner loop</span>
    </section>
  );
}
