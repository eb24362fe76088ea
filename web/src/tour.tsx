/** Three things to see, one after the other. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Stop {
  id: string;
  title: string;
  says: string;
  other: string; // of a task that does not ask for the digit of a letter
}

const STOPS: Stop[] = [
  {
    id: "strip",
    title: "1. The network reads",
    says: "Letters are keys, digits their values. After ?? comes a question: which digit followed this letter? Step with the arrow keys, and watch which earlier steps each step attends to.",
    other:
      "It reads one step after the other. Step with the arrow keys, and watch which earlier steps each step attends to: the thicker the arc, the more.",
  },
  {
    id: "memory",
    title: "2. It keeps what it read in a matrix",
    says: "Each step adds its hidden vector times itself to A, the fast weights, and what is old decays. Reading A with a new vector brings back what was stored with vectors like it.",
    other:
      "Each step adds its hidden vector times itself to A, the fast weights, and what is old decays. Reading A with a new vector brings back what was stored with vectors like it.",
  },
  {
    id: "change",
    title: "3. You may change the memory",
    says: "Overwrite the digit that was asked for with another one, or erase it: the answer changes at once. That is how one sees that it came from the memory.",
    other:
      "Erase what this step attends to most, or overwrite it: the answer changes at once. That is how one sees what came from the memory.",
  },
];

export function Tour({ letters, close }: { letters: boolean; close: () => void }) {
  const [stop, go] = useState(0);
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
    const panel = document.getElementById(STOPS[stop].id);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    panel?.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
    panel?.classList.add("toured");
    return () => panel?.classList.remove("toured");
  }, [stop]);
  return (
    <dialog ref={dialog} class="tour" aria-labelledby="tour-title" onClose={close}>
      <h2 id="tour-title">{STOPS[stop].title}</h2>
      <p>{letters ? STOPS[stop].says : STOPS[stop].other}</p>
      <div class="buttons">
        <button type="button" disabled={stop === 0} onClick={() => go(stop - 1)}>
          Back
        </button>
        {stop < STOPS.length - 1 && (
          <button type="button" class="primary" onClick={() => go(stop + 1)}>
            Next
          </button>
        )}
        <button type="button" onClick={() => dialog.current?.close()}>
          {stop < STOPS.length - 1 ? "Leave" : "Begin"}
        </button>
      </div>
    </dialog>
  );
}
