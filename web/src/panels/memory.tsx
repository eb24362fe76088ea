/** The hidden vector and the fast weights A(t). */

import { useMemo, useState } from "preact/hooks";
import { matrix } from "../network/memory";
import { HeatMap, largestOf, Legend, number, Panel, strongest } from "../parts";
import type { View } from "../view";

export function MemoryPanel({ view }: { view: View }) {
  const { session, look, layer, dark, written, network } = view;
  const [at, point] = useState<{ row: number; column: number } | null>(null);
  const size = layer.recurrent.rows;
  const terms = written ? look.after : look.before;
  const weights = useMemo(() => matrix(terms, size), [terms, size]);
  const most = useMemo(() => strongest(weights), [weights]);
  const reads = layer.innerSteps;
  const hidden = look.hidden[Math.min(session.sub, reads)];
  const high = Math.max(...look.hidden.map(largestOf)) || 1;
  const place = (unit: number) => layer.order.indexOf(unit) + 1;
  const when = written ? `after step ${session.step + 1} has written` : `as step ${session.step + 1} reads it`;
  return (
    <Panel
      id="memory"
      title="The memory A(t)"
      says="Every step adds its hidden vector times itself to the matrix A; units that are active together stand together."
    >
      {network.fast.length > 1 && (
        <label class="field">
          Layer{" "}
          <select
            value={session.layer}
            onChange={(event) => view.dispatch({ type: "layer", to: Number(event.currentTarget.value) })}
          >
            {network.fast.map((_, place) => (
              <option value={place}>{place + 1}</option>
            ))}
          </select>
        </label>
      )}
      <div class="matrix">
        <HeatMap
          values={hidden}
          rows={1}
          columns={size}
          columnOrder={layer.order}
          most={high}
          dark={dark}
          shape="row"
          label={`The hidden vector of step ${session.step + 1}: ${size} units, the largest ${number(largestOf(hidden), 2)}`}
        />
        <HeatMap
          values={weights}
          rows={size}
          columns={size}
          rowOrder={layer.order}
          columnOrder={layer.order}
          most={most}
          dark={dark}
          shape="square"
          onPoint={point}
          label={`The fast weights ${when}: ${size} by ${size} numbers, from ${terms.length} steps, the largest ${number(largestOf(weights), 2)}`}
        />
      </div>
      <Legend most={most} dark={dark} beyond />
      <p class="quiet readout">
        {at
          ? `unit ${place(at.row)} from unit ${place(at.column)}: ${number(weights[at.row * size + at.column])}`
          : `Above: the hidden vector h${session.sub < reads ? `, inner step ${session.sub}` : ""}. Square: A, ${when}.`}
      </p>
    </Panel>
  );
}
