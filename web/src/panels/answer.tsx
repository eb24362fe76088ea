/** The answer as it stands at this step, and how it came to be. */

import { largest } from "../network/linear";
import { css } from "../colours";
import { number, Panel, percent } from "../parts";
import { answer, type View } from "../view";

const MOST_ROWS = 12;
const MOST_CELLS = 40;

export function AnswerPanel({ view }: { view: View }) {
  const { world, session, steps, plain, changed } = view;
  const { classes } = world.task.data;
  if (!classes) return <NumberPanel view={view} />;
  const now = answer(view, steps[session.step]);
  const before = answer(view, plain[session.step]);
  const right = session.sequence.targets[session.step];
  const best = largest(now);
  const places = [...now.keys()].sort((one, other) => now[other] - now[one]).slice(0, MOST_ROWS);
  if (right !== null && !places.includes(right)) places[places.length - 1] = right;
  const rows = now.length <= MOST_ROWS ? [...now.keys()] : places;
  const all = steps.map((step) => answer(view, step));
  const judged = right === null ? "" : best === right ? ", which is right" : `; right is ${classes[right]}`;
  return (
    <Panel
      id="answer" title="The answer"
      says="Were the sequence over here, this is what the network would say; squares show each step before."
    >
      <p class="verdict" role="status">
        Step {session.step + 1}: <b>{classes[best]}</b> with {percent(now[best])}{judged}
        {changed && `; without your changes ${classes[largest(before)]}, ${percent(before[largest(before)])}`}.
      </p>
      <table class="bars">
        <thead class="hidden">
          <tr><th scope="col">Answer</th><th scope="col">Probability</th><th scope="col">At each step</th></tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row} class={row === right ? "right" : ""}>
              <th scope="row">{classes[row]}{row === right && <span class="tick" title="the right answer"> ✓</span>}</th>
              <td class="bar">
                <span class="track"><span class="fill" style={{ width: `${100 * now[row]}%` }} />
                  {changed && <span class="ghost" style={{ left: `${100 * before[row]}%` }} />}</span>
                <span class="value">{percent(now[row])}</span>
              </td>
              {all.length <= MOST_CELLS && (
                <td class="cells" aria-hidden="true">
                  {all.map((each, step) => (
                    <i class={step === session.step ? "now" : ""} style={{ background: css(each[row], view.dark) }} />
                  ))}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      <p class="quiet">
        {world.task.data.floor !== null && `Guess floor ${percent(world.task.data.floor)}: the accuracy of a model that knows no keys, or only how often each answer is right. `}
        {changed && "The upright mark is the probability without your changes."}
      </p>
    </Panel>
  );
}

/** Of a task whose answer is a number. */
function NumberPanel({ view }: { view: View }) {
  const { session, steps, plain, changed } = view;
  const right = session.sequence.targets[session.step];
  const now = steps[session.step].logits[0];
  return (
    <Panel id="answer" title="The answer" says="Were the sequence over here, this is the number that the network would say.">
      <p class="verdict" role="status">
        Step {session.step + 1}: <b>{number(now)}</b>
        {right !== null && ` where ${number(right)} is right after the last step`}
        {changed && `; without your changes ${number(plain[session.step].logits[0])}`}.
      </p>
    </Panel>
  );
}
