import { useEffect, useMemo, useReducer, useState } from "preact/hooks";
import { AnswerPanel } from "./panels/answer";
import { AskPanel } from "./panels/ask";
import { ChangePanel } from "./panels/change";
import { CodesPanel } from "./panels/codes";
import { Controls } from "./panels/controls";
import { KnownPanel } from "./panels/known";
import { MemoryPanel } from "./panels/memory";
import { Strip } from "./panels/strip";
import { act, clamp, firstSession, type Action, type Session, type World } from "./session";
import { useTheme } from "./theme";
import { Tour } from "./tour";
import { useView } from "./view";

const OWN_ARROWS = "input[type=text], input[type=range], input[type=radio], select, textarea, dialog *";

export function App({ world }: { world: World }) {
  const first = useMemo(() => firstSession(world), [world]);
  const reduce = useMemo(() => act(world), [world]);
  const [session, dispatch] = useReducer<Session, Action>(reduce, first);
  const [dark, turn] = useTheme();
  const [touring, tour] = useState(false);
  const view = useView(world, session, dispatch, dark);
  const { task } = world;
  useEffect(() => {
    const heard = (event: KeyboardEvent) => {
      const from = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || from.matches?.(OWN_ARROWS)) return;
      const steps: Record<string, number> = { ArrowLeft: session.step - 1, ArrowRight: session.step + 1, Home: 0, End: Infinity };
      const subs: Record<string, number> = { ArrowUp: session.sub - 1, ArrowDown: session.sub + 1 };
      if (event.key in steps) dispatch({ type: "step", to: steps[event.key] });
      else if (event.key in subs) dispatch({ type: "sub", to: clamp(subs[event.key], 0, view.layer.innerSteps + 1) });
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", heard);
    return () => document.removeEventListener("keydown", heard);
  }, [session, view.layer]);
  const asks = task.data.symbols !== null && !task.data.every && task.data.keys.length > 0 && task.data.classes !== null;
  return (
    <>
      <a class="skip" href="#strip">Skip to the sequence</a>
      <header>
        <div>
          <p class="brand">fastweights <span>look inside</span></p>
          <h1>{view.run.name} <span>on {task.data.name}</span></h1>
          <p class="facts">
            {view.run.units} units{view.run.result && `, ${view.run.result}`}
            {task.data.floor !== null && `, guess floor ${(100 * task.data.floor).toFixed(0)}%`}. It is computed here, in your browser.
          </p>
        </div>
        <div class="buttons">
          <button type="button" id="tour" onClick={() => tour(true)}>Tour in three steps</button>
          <button type="button" id="theme" aria-pressed={dark} onClick={turn}>Dark</button>
        </div>
      </header>
      <main>
        <Controls view={view} />
        <Strip view={view} />
        <div class="panels">
          <MemoryPanel view={view} />
          <AnswerPanel view={view} />
          <ChangePanel view={view} />
          <KnownPanel view={view} />
          {asks && <AskPanel view={view} />}
          {task.data.keys.length > 1 && <CodesPanel view={view} />}
        </div>
      </main>
      <footer>
        <p>A(t) = decay A(t−1) + rate h(t) h(t)ᵀ, after Ba, Hinton, Mnih, Leibo and Ionescu 2016. Rule: {view.layer.rule.name}.</p>
      </footer>
      {touring && <Tour letters={task.data.grammar === "associative-retrieval"} close={() => tour(false)} />}
    </>
  );
}
