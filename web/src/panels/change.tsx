/** What is stored, and how to change it. */

import { useEffect, useRef, useState } from "preact/hooks";
import { advance, begin } from "../network/network";
import { inputOf, largestOf, number, Panel, short } from "../parts";
import type { View } from "../view";

export function ChangePanel({ view }: { view: View }) {
  const { session, dispatch, look, network, changed, chosen } = view;
  const { sequence, step, layer } = session;
  const there = new Map(look.before.map((term, place) => [term.step, place]));
  const last = look.weights.length ? look.weights[look.weights.length - 1] : new Float64Array(look.before.length);
  const most = largestOf(last) || 1;
  const place = there.get(chosen);
  const rule = view.run.network.fast[layer].rule;
  const earlier = Array.from({ length: step }, (_, at) => at);
  const gone = place === undefined;
  const list = useRef<HTMLFieldSetElement>(null);
  useEffect(() => {
    const row = list.current!.querySelectorAll("label")[chosen];
    if (!row) return;
    const [seen, own] = [list.current!.getBoundingClientRect(), row.getBoundingClientRect()];
    const inside = own.top >= seen.top && own.bottom <= seen.bottom;
    if (!inside) list.current!.scrollTop += own.top - seen.top - seen.height / 2; // scrollIntoView moves the page, too
  }, [chosen, step, sequence]);
  return (
    <Panel
      id="change"
      title="Change the memory"
      says={`Take one association out, or write another value in its place, before step ${step + 1} reads: the answer follows at once.`}
    >
      <fieldset class="associations" ref={list}>
        <legend>Stored by step, with its weight in this read</legend>
        {step === 0 && <p class="quiet">Nothing is stored before the first step: go on.</p>}
        {earlier.map((from) => {
          const term = there.get(from);
          const weight = term === undefined ? 0 : last[term];
          return (
            <label key={from} class={`association ${term === undefined ? "erased" : ""}`}>
              <input
                type="radio"
                name="association"
                checked={from === chosen}
                onChange={() => dispatch({ type: "choose", step: from })}
              />
              <b>{inputOf(sequence, from)}</b>
              <span class="quiet">
                step {from + 1}
                {wrote(view, from)}
              </span>
              <span class="track">
                <span
                  class={`fill ${weight < 0 ? "below" : ""}`}
                  style={{ width: `${(100 * Math.abs(weight)) / most}%` }}
                />
              </span>
              <span class="value">{term === undefined ? "erased" : short(weight) || "0"}</span>
            </label>
          );
        })}
      </fieldset>
      <div class="buttons">
        <button
          type="button"
          disabled={gone}
          onClick={() => dispatch({ type: "edit", edit: { before: step, change: "erase", step: chosen } })}
        >
          Erase {gone ? "it" : named(view, chosen)}
        </button>
        <button
          type="button"
          disabled={!look.before.length}
          onClick={() => dispatch({ type: "edit", edit: { before: step, change: "empty" } })}
        >
          Empty the memory
        </button>
        <Overwrite view={view} disabled={gone} />
      </div>
      <label class="field slider">
        Decay <output>{number(network.fast[layer].rule.decay)}</output>
        <input
          type="range"
          min="0"
          max="1"
          step="0.01"
          value={network.fast[layer].rule.decay}
          onInput={(event) => dispatch({ type: "decay", to: Number(event.currentTarget.value) })}
        />
        <span class="quiet">of all steps; trained with {number(rule.decay)}</span>
      </label>
      <p class="changes" role="status">
        {changed ? said(view) : "Nothing is changed."}{" "}
        <button type="button" disabled={!changed} onClick={() => dispatch({ type: "undo" })}>
          Undo all changes
        </button>
      </p>
    </Panel>
  );
}

function named({ world, session }: View, step: number): string {
  return `${world.task.data.symbols ? `${session.sequence.tokens[step]} of ` : ""}step ${step + 1}`;
}

/** What was written over a step, as its read sees it. */
function wrote({ session }: View, step: number): string {
  const over = session.edits.filter(
    (edit) => edit.change === "overwrite" && edit.step === step && edit.before <= session.step,
  );
  return over.length ? ` → ${over[over.length - 1].says}` : "";
}

function said(view: View): string {
  const { edits, decay } = view.session;
  const parts = edits.map(({ change, step, before, says }) => {
    const what = step === undefined ? "" : ` ${named(view, step)}`;
    const done = { erase: `Erased${what}`, overwrite: `Wrote ${says} over${what}`, empty: "Emptied", scale: "Scaled" }[
      change
    ];
    return `${done}, before step ${before + 1}.`;
  });
  if (decay !== null) parts.push(`Decay ${number(decay)}.`);
  return parts.join(" ");
}

/** Puts in place of a value what would have been stored, had another symbol been read there. */
function Overwrite({ view, disabled }: { view: View; disabled: boolean }) {
  const { session, dispatch, network, steps, world, chosen } = view;
  const { step, sequence, edits } = session;
  const symbols = world.task.data.symbols;
  const choices = symbols
    ? symbols.map((name, place) => [place, name] as const)
    : sequence.tokens.slice(0, step).map((name, place) => [place, `step ${name}`] as const);
  const [wanted, choose] = useState<number | null>(null);
  const choice = choices.some(([place]) => place === wanted) ? wanted! : suggested(view);
  const write = () => {
    const before = chosen ? steps[chosen - 1].state : begin(network);
    const { looks } = symbols ? advance(network, choice, before, chosen, edits) : steps[choice];
    const values = looks.map(({ hidden }) => hidden[hidden.length - 1]);
    const says = symbols ? symbols[choice] : `step ${choice + 1}`;
    dispatch({ type: "edit", edit: { before: step, change: "overwrite", step: chosen, values, says } });
  };
  return (
    <span class="field">
      <button type="button" disabled={disabled || !choices.length} onClick={write}>
        Overwrite with
      </button>
      <select
        aria-label="The value to write"
        disabled={disabled}
        value={choice}
        onChange={(event) => choose(Number(event.currentTarget.value))}
      >
        {choices.map(([place, name]) => (
          <option value={place}>{name}</option>
        ))}
      </select>
    </span>
  );
}

/** A symbol of the same kind as the one that is there, but another. */
function suggested({ world, session, chosen }: View): number {
  const { classes, symbols } = world.task.data;
  const there = session.sequence.tokens[chosen];
  if (!symbols) return 0;
  const others = classes?.includes(there) ? classes : symbols;
  const next = others[(others.indexOf(there) + 2) % others.length];
  return Math.max(0, symbols.indexOf(next));
}
