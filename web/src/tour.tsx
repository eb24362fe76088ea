/** Three things to see, one after the other. */

import { useEffect, useRef, useState } from "preact/hooks";

const STOPS = [
  { id: "strip", title: "1. The network reads", says: "Letters are keys, digits their values. After ?? comes a question: which digit followed this letter? Step with the arrow keys, and watch which earlier steps each step attends to." },
  { id: "memory", title: "2. It keeps what it read in a matrix", says: "Each step adds its hidden vector times itself to A, the fast weights, and what is old decays. Reading A with a new vector brings back what was stored with vectors like it." },
  { id: "change", title: "3. You may change the memory", says: "Erase the digit that was asked for, or overwrite it with another one: the answer changes at once. That is how one sees that it came from the memory." },
];
const ELSEWHERE = "This network reads the steps of another task, one after the other. Step with the arrow keys, and watch which earlier steps each step attends to.";

export function Tour({ letters, close }: { letters: boolean; close: () => void }) {
  const [stop, go] = useState(0);
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
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
      <p>{stop === 0 && !letters ? ELSEWHERE : STOPS[stop].says}</p>
      <div class="buttons">
        <button type="button" disabled={stop === 0} onClick={() => go(stop - 1)}>Back</button>
        {stop < STOPS.length - 1 && <button type="button" class="primary" onClick={() => go(stop + 1)}>Next</button>}
        <button type="button" onClick={() => dialog.current?.close()}>{stop < STOPS.length - 1 ? "Leave" : "Begin"}</button>
      </div>
    </dialog>
  );
}
