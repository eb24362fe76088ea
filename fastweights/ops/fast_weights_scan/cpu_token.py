"""One token of each sequence in Numba, without a gradient: the memory is read once and written once, as it lies.

S' = S Diag(decay)        x = strength (u - S' e)        o = S' q + x <k, q>        S = S' + x k^T
"""

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import fill, integer, lanes_of, load, spread, store
from fastweights.ops.cpu.vectors import clear, exponential, numbers
from fastweights.ops.fast_weights_scan.cpu_rows import take, totals


@helper
def read_rows(kind, state, s, rows, keys, q, e, decay, late, own, sums, square, reads, erased):
    """<S'_i, q> and <S'_i, e> of at most as many rows as there are lanes; what erases reads S_i where it is late."""
    lanes, rest = lanes_of(kind), keys % lanes_of(kind)
    other = sums + lanes * lanes
    for i in range(rows):
        row, x, y = s + i * keys, fill(0.0, kind), fill(0.0, kind)
        for c in range(0, keys - rest, lanes):
            old = load(state, row + c, kind)
            new = old * load(own, decay + c, kind)
            x = x + new * load(own, q + c, kind)
            y = y + (old if late else new) * load(own, e + c, kind)
        store(own, sums + i * lanes, x)
        store(own, other + i * lanes, y)
        for c in range(keys - rest, keys):
            new = state[row + c] * own[decay + c]
            own[sums + i * lanes] += new * own[q + c]
            own[other + i * lanes] += (state[row + c] if late else new) * own[e + c]
    totals(kind, own, sums, rows, square, own, reads, integer(1))
    totals(kind, own, other, rows, square, own, erased, integer(1))


@cached
def token(kind, heads, sizes, steps, tensors):
    """Outputs and new memories of heads [heads[0], heads[1])."""
    many, keys, values, channels, erases, late = sizes
    aq, ak, au, ae, astrength, ag, astate, aout, anew, aown = tensors
    qb, qh, kb, kh, ub, uh, eb, eh, sb, sh, gb, gh = steps
    q, k, u, e = numbers(aq, kind), numbers(ak, kind), numbers(au, kind), numbers(ae, kind)
    strength, g, state = numbers(astrength, kind), numbers(ag, kind), numbers(astate, kind)
    out, new, own = numbers(aout, kind), numbers(anew, kind), numbers(aown, kind)
    lanes, zero, one, rest = lanes_of(kind), integer(0), integer(1), keys % lanes_of(kind)
    wide = keys - rest + (lanes if rest else 0)
    ones, q_, k_, e_ = zero, wide, 2 * wide, 3 * wide
    decay, reads, erased = 4 * wide, 5 * wide, 5 * wide + lanes
    square = 5 * wide + 2 * lanes
    sums = square + lanes * lanes
    clear(kind, own, zero, sums + 2 * lanes * lanes)
    for c in range(0, wide, lanes):
        store(own, ones + c, fill(1.0, kind))
        store(own, decay + c, fill(1.0, kind))
    for head in range(heads[0], heads[1]):
        b, h = head // many, head % many
        take(kind, q, b * qb + h * qh, zero, one, keys, ones, zero, ones, own, q_, wide, zero)
        take(kind, k, b * kb + h * kh, zero, one, keys, ones, zero, ones, own, k_, wide, zero)
        if erases:
            take(kind, e, b * eb + h * eh, zero, one, keys, ones, zero, ones, own, e_, wide, zero)
        if channels == 1:
            kept = exponential(spread(g, b * gb + h * gh, kind))
            for c in range(0, wide, lanes):
                store(own, decay + c, kept)
        elif channels:
            take(kind, g, b * gb + h * gh, zero, one, keys, ones, zero, ones, own, decay, wide, zero)
            for c in range(0, wide, lanes):
                store(own, decay + c, exponential(load(own, decay + c, kind)))
        weight, alike = strength[b * sb + h * sh] if astrength else 1.0, 0.0
        for c in range(keys):
            alike += own[k_ + c] * own[q_ + c]
        for first in range(0, values, lanes):
            rows, s = min(lanes, values - first), (head * values + first) * keys
            read_rows(kind, state, s, rows, keys, q_, e_, decay, late, own, sums, square, reads, erased)
            for i in range(rows):
                row, place = s + i * keys, first + i
                x = weight * (u[b * ub + h * uh + place] - own[erased + i])
                out[head * values + place] = own[reads + i] + x * alike
                by = fill(x, kind)
                for c in range(0, keys - rest, lanes):
                    faded = load(state, row + c, kind) * load(own, decay + c, kind)
                    store(new, row + c, faded + by * load(own, k_ + c, kind))
                for c in range(keys - rest, keys):
                    new[row + c] = state[row + c] * own[decay + c] + x * own[k_ + c]
