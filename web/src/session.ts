/** What the visitor looks at and has changed, and how each action changes it. */

import type { Edit } from "./network/memory";
import type { Network } from "./network/network";
import { randomOf, type Random } from "./random";
import type { Sequence, Task } from "./tasks";

export interface Run {
  name: string;
  units: number;
  result: string;
  memory: boolean;
  network: Network;
}

export interface World {
  task: Task;
  runs: Run[];
  random: Random;
}

export interface Session {
  text: string; // in the field, right or wrong
  fault: string | null; // what is wrong with it
  sequence: Sequence;
  step: number;
  sub: number; // 0: the preliminary vector; s: after read s; one more: what is written
  run: number; // that is looked into
  layer: number;
  edits: Edit[];
  decay: number | null; // in place of the learned one
  chosen: number | null; // step of the association that is changed; null: the one that is attended to most
}

export type Action =
  | { type: "type"; text: string }
  | { type: "show"; sequence: Sequence }
  | { type: "ask"; sequence: Sequence }
  | { type: "step"; to: number }
  | { type: "move"; by: number }
  | { type: "sub"; to: number }
  | { type: "turn"; by: number }
  | { type: "run"; to: number }
  | { type: "layer"; to: number }
  | { type: "edit"; edit: Edit }
  | { type: "undo" }
  | { type: "decay"; to: number | null }
  | { type: "choose"; step: number };

export const worldOf = (task: Task, runs: Run[]): World => ({ task, runs, random: randomOf(1) });

export function firstSession(world: World): Session {
  const known = world.task.typed ? world.task.read("g5o8k1??g") : "";
  const sequence = typeof known === "string" ? world.task.draw(world.random) : known;
  const reads = world.runs[0].network.fast[0].innerSteps;
  const step = sequence.inputs.length - 1;
  return {
    text: sequence.text,
    fault: null,
    sequence,
    step,
    sub: reads,
    run: 0,
    layer: 0,
    edits: [],
    decay: null,
    chosen: null,
  };
}

export function act(world: World) {
  const reads = ({ run, layer }: Session) => world.runs[run].network.fast[layer].innerSteps;
  return (session: Session, action: Action): Session => {
    const { sequence } = session;
    switch (action.type) {
      case "type": {
        const found = world.task.read(action.text);
        if (typeof found === "string") return { ...session, text: action.text, fault: found };
        return { ...shown(session, found), text: action.text };
      }
      case "show":
        return shown(session, action.sequence);
      case "ask": // the last symbol alone is another one: what was changed before it stays
        return {
          ...session,
          sequence: action.sequence,
          text: action.sequence.text,
          fault: null,
          step: sequence.inputs.length - 1,
        };
      case "step":
        return { ...session, step: clamp(action.to, 0, sequence.inputs.length - 1), sub: reads(session) };
      case "move":
        return {
          ...session,
          step: clamp(session.step + action.by, 0, sequence.inputs.length - 1),
          sub: reads(session),
        };
      case "turn":
        return { ...session, sub: clamp(session.sub + action.by, 0, reads(session) + 1) };
      case "sub":
        return { ...session, sub: action.to };
      case "run":
        return {
          ...session,
          run: action.to,
          layer: 0,
          edits: [],
          decay: null,
          sub: world.runs[action.to].network.fast[0].innerSteps,
        };
      case "layer":
        return { ...session, layer: action.to, sub: world.runs[session.run].network.fast[action.to].innerSteps };
      case "edit":
        return { ...session, edits: [...session.edits, action.edit], chosen: action.edit.step ?? session.chosen };
      case "undo":
        return { ...session, edits: [], decay: null };
      case "decay":
        return { ...session, decay: action.to };
      case "choose":
        return { ...session, chosen: action.step };
    }
  };
}

function shown(session: Session, sequence: Sequence): Session {
  const step = sequence.inputs.length - 1;
  return { ...session, text: sequence.text, fault: null, sequence, step, edits: [], chosen: null };
}

export const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));
