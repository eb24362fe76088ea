"""The state after a sequence in Numba, from the outputs alone: one sample at a time, its matrix in rows.

Tensors come as addresses, 0 where there is none; `kind`, an empty array, carries dtype and lanes.
"""

import numba
import numpy

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import at, fill, lanes_of, load, spread, store
from fastweights.ops.fast_weights_rnn.cpu_samples import attend_rows, direct_row, times_vector, unit_row
from fastweights.ops.fast_weights_rnn.cpu_tiles import fill_powers
from fastweights.ops.fast_weights_rnn.kinds import COSINE, DELTA, HEBBIAN

_ANY = 1 << 40  # the length of an array that is only known as an address


@helper
def gram(kind, scaled, x, x0, steps, units, begun, first, old, out, out0, symmetric):
    """out[i, k] = first old[i, k] + sum_t scaled[t, i] x[t, k], the first term where `begun`; the sum may be symmetric.

    Six rows of one block of lanes at a time; the last rows and columns may overlap those before. `old` lies as `out`.
    """
    lanes, i = lanes_of(kind), 0
    if units < max(lanes, 6):
        for i in range(units):
            for k in range(units):
                value = old[out0 + i * units + k] * first if begun else first * 0
                for t in range(steps):
                    value += scaled[t * units + i] * x[x0 + t * units + k]
                out[out0 + i * units + k] = value
        return
    factor, rest = fill(first, kind), units % lanes
    # these columns are rows where A is symmetric
    mirrored = units - rest if symmetric and not begun and rest <= lanes // 2 else units
    while i < units:
        row, column = min(i, units - 6), 0
        end = units if row + 6 > mirrored else mirrored
        while column < end:
            k = min(column, units - lanes)
            a0, a1, a2 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
            a3, a4, a5 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
            at_x, s = x0 + k, row
            for _ in range(steps):
                v = load(x, at_x, kind)
                a0 = a0 + spread(scaled, s, kind) * v
                a1 = a1 + spread(scaled, s + 1, kind) * v
                a2 = a2 + spread(scaled, s + 2, kind) * v
                a3 = a3 + spread(scaled, s + 3, kind) * v
                a4 = a4 + spread(scaled, s + 4, kind) * v
                a5 = a5 + spread(scaled, s + 5, kind) * v
                at_x, s = at_x + units, s + units
            o = out0 + row * units + k
            if begun:
                a0 = a0 + factor * load(old, o, kind)
                a1 = a1 + factor * load(old, o + units, kind)
                a2 = a2 + factor * load(old, o + 2 * units, kind)
                a3 = a3 + factor * load(old, o + 3 * units, kind)
                a4 = a4 + factor * load(old, o + 4 * units, kind)
                a5 = a5 + factor * load(old, o + 5 * units, kind)
            store(out, o, a0)
            store(out, o + units, a1)
            store(out, o + 2 * units, a2)
            store(out, o + 3 * units, a3)
            store(out, o + 4 * units, a4)
            store(out, o + 5 * units, a5)
            column += lanes
        i += 6
    for k in range(mirrored, units):
        for i in range(mirrored):
            out[out0 + i * units + k] = out[out0 + k * units + i]


@cached
def final_state(kind, samples, sizes, constants, tensors):
    """h and A after the last step of samples [samples[0], samples[1])."""
    batch, time, units, rule = sizes
    outputs, hidden, weights, lengths, new_hidden, new_weights, work = tensors
    y, h_in = numba.carray(at(outputs, kind), (_ANY,)), numba.carray(at(hidden, kind), (_ANY,))
    A, new = numba.carray(at(weights, kind), (_ANY,)), numba.carray(at(new_weights, kind), (_ANY,))
    h, own = numba.carray(at(new_hidden, kind), (_ANY,)), numba.carray(at(work, kind), (_ANY,))
    until = numba.carray(at(lengths, numpy.int64), (batch if lengths else 0,))
    powers, scale, o = own[: time + 1], own[time + 1 : 2 * time + 2], 2 * time + 2
    scaled, kept, o = own[o : o + time * units], own[o + time * units : o + 2 * time * units], o + 2 * time * units
    query, decay, rate = own[o : o + units], kind.dtype.type(constants[0]), kind.dtype.type(constants[1])
    fill_powers(constants[0], constants[1] if rule == HEBBIAN else 1.0, time, powers, scale)
    for b in range(samples[0], samples[1]):
        steps, y0 = until[b] if lengths else time, b * time * units
        for t in range(steps):
            k, end = t * units, (t + 1) * units
            if rule == COSINE:
                direct_row(y[y0 + k : y0 + end], kept[k:end])
                scaled[k:end] = scale[steps - 1 - t] * kept[k:end]
            elif rule == DELTA:  # the errors, scaled once all are there
                key, read = kept[k:end], scaled[k:end]
                unit_row(y[y0 + k : y0 + end], key)
                read[:] = 0
                attend_rows(kept, scaled, t, units, scale, key, read)
                if weights:
                    query[:] = powers[t] * key
                    times_vector(A[b * units * units : (b + 1) * units * units].reshape(units, units), query, read)
                read[:] = rate * (y[y0 + k : y0 + end] - decay * read)
            else:
                scaled[k:end] = scale[steps - 1 - t] * y[y0 + k : y0 + end]
        for t in range(steps if rule == DELTA else 0):
            scaled[t * units : (t + 1) * units] *= scale[steps - 1 - t]
        x, x0 = (y, y0) if rule == HEBBIAN else (kept, 0)
        first, to = powers[steps], b * units * units
        gram(kind, scaled, x, x0, steps, units, weights != 0, first, A, new, to, rule != DELTA)
        for k in range(units):
            if steps:
                h[b * units + k] = y[y0 + (steps - 1) * units + k]
            else:
                h[b * units + k] = h_in[b * units + k] if hidden else 0
