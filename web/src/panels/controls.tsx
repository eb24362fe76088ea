/** The sequence, and where in it one is. */

import type { View } from "../view";

export function Controls({ view }: { view: View }) {
  const { session, dispatch, world, layer, run } = view;
  const { sequence, step, sub, text, fault } = session;
  const last = sequence.tokens.length - 1;
  const lookable = world.runs.filter((each) => each.memory);
  return (
    <section class="controls" aria-label="Sequence and step">
      <div class="row">
        {world.task.typed && (
          <label class="field sequence">
            Sequence
            <input
              type="text" id="sequence" value={text} spellcheck={false} autocomplete="off" autocapitalize="off"
              aria-invalid={fault !== null} aria-describedby="fault"
              onInput={(event) => dispatch({ type: "type", text: event.currentTarget.value })}
            />
          </label>
        )}
        <button type="button" id="draw" onClick={() => dispatch({ type: "show", sequence: world.task.draw(world.random) })}>
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
      <p id="fault" class="fault" role="alert">{fault}</p>
      <div class="row">
        <div class="stepper" role="group" aria-label="Steps">
          <button type="button" aria-label="First step" disabled={step === 0} onClick={() => dispatch({ type: "step", to: 0 })}>⏮</button>
          <button type="button" aria-label="Step back" disabled={step === 0} onClick={() => dispatch({ type: "step", to: step - 1 })}>◀</button>
          <span class="where">Step <b>{step + 1}</b> of {last + 1}: <b>{sequence.tokens[step]}</b></span>
          <button type="button" aria-label="Step forward" disabled={step === last} onClick={() => dispatch({ type: "step", to: step + 1 })}>▶</button>
          <button type="button" aria-label="Last step" disabled={step === last} onClick={() => dispatch({ type: "step", to: last })}>⏭</button>
        </div>
        <fieldset class="subs">
          <legend>Inner loop</legend>
          {Array.from({ length: layer.innerSteps + 2 }, (_, s) => (
            <label key={s} class={s === sub ? "on" : ""}>
              <input type="radio" name="sub" checked={s === sub} onChange={() => dispatch({ type: "sub", to: s })} />
              {s === 0 ? "h₀" : s > layer.innerSteps ? "write" : `read ${s}`}
            </label>
          ))}
        </fieldset>
        <span class="quiet keys">Keys: ← → steps, ↑ ↓ inner loop</span>
      </div>
    </section>
  );
}
