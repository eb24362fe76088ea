/** What all panels draw from: the session, and the steps that follow from it. */

import { useMemo } from "preact/hooks";
import type { FastLayer, Look } from "./network/fast_weights";
import { largest, softmax, type Vector } from "./network/linear";
import { headOf, trace, withDecay, type Network, type Step } from "./network/network";
import type { Action, Run, Session, World } from "./session";

export interface View {
  world: World;
  session: Session;
  dispatch: (action: Action) => void;
  dark: boolean;
  run: Run;
  network: Network; // of the run, as it was changed
  layer: FastLayer;
  steps: Step[]; // as they were changed
  plain: Step[]; // without any change
  others: (Step[] | null)[]; // of each run; null: the run that is looked into
  look: Look;
  chosen: number; // step of the association that is changed
  written: boolean; // whether the step has written already
  changed: boolean;
}

export function useView(world: World, session: Session, dispatch: (action: Action) => void, dark: boolean): View {
  const { sequence, edits, decay, step, layer } = session;
  const run = world.runs[session.run];
  const plain = useMemo(() => trace(run.network, sequence.inputs), [run, sequence]);
  const network = useMemo(() => withDecay(run.network, decay), [run, decay]);
  const changed = edits.length > 0 || decay !== null;
  const steps = useMemo(
    () => (changed ? trace(network, sequence.inputs, edits) : plain),
    [network, plain, edits, changed],
  );
  const others = useMemo(
    () => world.runs.map((each) => (each === run ? null : trace(each.network, sequence.inputs))),
    [run, sequence],
  );
  const look = steps[step].looks[layer];
  const written = session.sub > network.fast[layer].innerSteps;
  const chosen = Math.min(session.chosen ?? mostAttended(look), Math.max(0, step - 1));
  return {
    world,
    session,
    dispatch,
    dark,
    run,
    network,
    layer: network.fast[layer],
    steps,
    plain,
    others,
    look,
    chosen,
    written,
    changed,
  };
}

/** The step whose content the last read of a step brings back most of. */
function mostAttended({ weights, before }: Look): number {
  const last = weights[weights.length - 1];
  return last?.length ? before[largest(last.map(Math.abs))].step : 0;
}

/** Probabilities of the classes, or the numbers themselves; `sub`: as the inner loop stands. */
export function answer(view: View, step: Step, sub = Infinity): Vector {
  const { world, session, network } = view;
  const { hidden } = step.looks[step.looks.length - 1] ?? { hidden: [] };
  const early = sub < hidden.length - 1 && session.layer === step.looks.length - 1;
  const logits = early ? headOf(network, hidden[sub]) : step.logits;
  return world.task.data.classes ? softmax(logits) : logits;
}
