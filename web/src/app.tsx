import { useLayoutEffect, useMemo, useReducer, useState } from "preact/hooks";
import { AnswerPanel } from "./panels/answer";
import { AskPanel } from "./panels/ask";
import { ChangePanel } from "./panels/change";
import { CodesPanel } from "./panels/codes";
import { Controls, Stepper } from "./panels/controls";
import { KnownPanel } from "./panels/known";
import { MemoryPanel } from "./panels/memory";
import { Strip } from "./panels/strip";
import { act, firstSession, type Action, type Session, type World } from "./session";
import { useTheme } from "./theme";
import { Tour } from "./tour";
import { useView } from "./view";

const KEYS: Record<string, Action> = {
  ArrowLeft: { type: "move", by: -1 },
  ArrowRight: { type: "move", by: 1 },
  Home: { type: "step", to: 0 },
  End: { type: "step", to: Infinity },
  ArrowUp: { type: "turn", by: -1 },
  ArrowDown: { type: "turn", by: 1 },
};
const OWN_ARROWS = "input[type=text], input[type=range], input[type=radio], select, textarea, dialog *";

export function App({ world }: { world: World }) {
  const first = useMemo(() => firstSession(world), [world]);
  const reduce = useMemo(() => act(world), [world]);
  const [session, dispatch] = useReducer<Session, Action>(reduce, first);
  const [dark, turn] = useTheme();
  const [touring, tour] = useState(false);
  const view = useView(world, session, dispatch, dark);
  const { task } = world;
  useLayoutEffect(() => {
    const heard = (event: KeyboardEvent) => {
      const from = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || from.matches?.(OWN_ARROWS)) return;
      const action = KEYS[event.key];
      if (!action) return;
      dispatch(action);
      event.preventDefault();
    };
    document.addEventListener("keydown", heard);
    return () => document.removeEventListener("keydown", heard);
  }, []);
  const asks =
    task.data.symbols !== null && !task.data.every && task.data.keys.length > 0 && task.data.classes !== null;
  return (
    <>
      <a class="skip" href="#strip">
        Skip to the sequence
      </a>
      <header>
        <div>
          <p class="brand">
            fastweights <span>look inside</span>
          </p>
          <h1>
            {view.run.name} <span>on {task.data.name}</span>
          </h1>
          <p class="facts">
            {view.run.units} units{view.run.result && `, ${view.run.result}`}
            {task.data.guess && `, guess floor ${task.data.guess}`}. It is computed here, in your browser.
          </p>
        </div>
        <div class="buttons">
          <button type="button" id="tour" onClick={() => tour(true)}>
            Tour in three steps
          </button>
          <button type="button" id="theme" aria-pressed={dark} onClick={turn}>
            Dark
          </button>
        </div>
      </header>
      <main>
        <Controls view={view} />
        <Stepper view={view} />
        <Strip view={view} />
        <div class="panels">
          <div class="stack">
            <AnswerPanel view={view} />
            <KnownPanel view={view} />
          </div>
          <div class="stack">
            <MemoryPanel view={view} />
            {asks && <AskPanel view={view} />}
          </div>
          <div class="stack last">
            <ChangePanel view={view} />
            {task.data.keys.length > 1 && <CodesPanel view={view} />}
          </div>
        </div>
      </main>
      <footer>
        <p>
          A(t) = decay A(t−1) + rate h(t) h(t)ᵀ, after Ba, Hinton, Mnih, Leibo and Ionescu 2016. Rule:{" "}
          {view.layer.rule.name}.
        </p>
      </footer>
      {touring && <Tour letters={task.data.grammar === "associative-retrieval"} close={() => tour(false)} />}
    </>
  );
}
