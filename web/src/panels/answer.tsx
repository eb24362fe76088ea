/** The answer as it stands at this step, and how it came to be. */

import { largest } from "../network/linear";
import { css } from "../colours";
import { number, Panel, percent } from "../parts";
import { answer, type View } from "../view";

const MOST_ROWS = 12;
const MOST_CELLS = 32;
const SEEN = 0.005; // by how much a probability differs that has a mark

export function AnswerPanel({ view }: { view: View }) {
  const { world, session, steps, plain, changed } = view;
  const { classes, floor } = world.task.data;
  if (!classes) return <NumberPanel view={view} />;
  const { step, sub, sequence } = session;
  const now = answer(view, steps[step], sub);
  const before = answer(view, plain[step], sub);
  const right = sequence.targets[step];
  const best = largest(now);
  const all = steps.map((each, at) => (at === step ? now : answer(view, each)));
  const rows = shownRows(now, right);
  const judged = right === null ? "" : best === right ? ", which is right" : `; right is ${classes[right]}`;
  const was = `without your changes ${classes[largest(before)]}, ${percent(before[largest(before)])}`;
  const cells = all.length <= MOST_CELLS;
  return (
    <Panel
      id="answer"
      title="The answer"
      says="What the network would say, were the sequence over here; the squares show it for every step."
    >
      <p class="verdict" role="status">
        {moment(view)}: <b class="say">{classes[best]}</b> with {percent(now[best])}
        {judged}
        {changed && `; ${was}`}.
      </p>
      <table class="bars">
        <thead>
          <tr>
            <th scope="col">
              <span class="hidden">Answer</span>
            </th>
            <th scope="col">
              <span class="hidden">Probability</span>
            </th>
            {cells && (
              <th scope="col" class="cells">
                <span class="hidden">After each step</span>
                <span aria-hidden="true">
                  {sequence.tokens.map((token, at) => (
                    <i class={at === step ? "now" : ""}>{token.length === 1 ? token : ""}</i>
                  ))}
                </span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row} class={row === right ? "right" : ""}>
              <th scope="row">
                {classes[row]}
                {row === right && <span title="the right answer"> ✓</span>}
              </th>
              <td>
                <span class="bar">
                  <span class="track">
                    <span class="fill" style={{ width: `${100 * now[row]}%` }} />
                    {changed && Math.abs(before[row] - now[row]) > SEEN && (
                      <span class="ghost" style={{ left: `${100 * before[row]}%` }} />
                    )}
                  </span>
                  <span class="value">{percent(now[row])}</span>
                </span>
              </td>
              {cells && (
                <td class="cells" aria-hidden="true">
                  {all.map((each, at) => (
                    <i class={at === step ? "now" : ""} style={{ background: css(each[row], view.dark) }} />
                  ))}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      <p class="quiet note">
        {floor !== null && `Guess floor: ${percent(floor)} right without knowing what was asked. `}
        {changed && "The upright marks are the probabilities without your changes."}
      </p>
    </Panel>
  );
}

/** All classes, or the likeliest and the right one. */
function shownRows(now: Float64Array, right: number | null): number[] {
  if (now.length <= MOST_ROWS) return [...now.keys()];
  const likeliest = [...now.keys()].sort((one, other) => now[other] - now[one]).slice(0, MOST_ROWS);
  if (right !== null && !likeliest.includes(right)) likeliest[MOST_ROWS - 1] = right;
  return likeliest;
}

function moment({ session, layer }: View): string {
  const { step, sub } = session;
  if (!layer.innerSteps || sub >= layer.innerSteps) return `Step ${step + 1}`;
  return sub === 0 ? `Step ${step + 1}, before it has read` : `Step ${step + 1}, after read ${sub}`;
}

/** Of a task whose answer is a number. */
function NumberPanel({ view }: { view: View }) {
  const { session, steps, plain, changed } = view;
  const right = session.sequence.targets[session.step];
  const now = answer(view, steps[session.step], session.sub)[0];
  return (
    <Panel id="answer" title="The answer" says="The number that the network would say, were the sequence over here.">
      <p class="verdict" role="status">
        {moment(view)}: <b class="say">{number(now)}</b>
        {right !== null && ` where ${number(right)} is right after the last step`}
        {changed && `; without your changes ${number(plain[session.step].logits[0])}`}.
      </p>
    </Panel>
  );
}
