"""The recurrence over whole sequences in Numba, forward and backward: a tile of samples at a time, one a SIMD lane.

Inside a kernel a vector of a tile is [hidden][lane], so that every sum over units is a sum of registers. `kind`, a tuple
of zeros, carries dtype and lanes; tensors come as addresses, 0 where there is none. Sizes are in numbers, not bytes.

    saved, a tile:  h [time]   u [time, inner_steps]   x [time, norms]   rstd [time, norms] (one vector of lanes each)

with u_s = h_s(t), x the normalised argument of the nonlinearity and norms = max(inner_steps, 1), 0 without layer norm.
"""

from typing import Any

import numba
import numpy

from fastweights.ops.fast_weights_rnn.call import EPSILON
from fastweights.ops.fast_weights_rnn.cpu_lanes import (
    at,
    fill,
    hyperbolic_tangent,
    load,
    rectify,
    root,
    spread,
    store,
    where_positive,
)

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_REASSOCIATE = {"contract", "reassoc", "nsz"}  # not nnan, ninf: a diverged sample must stay visible


def _cached(function: Any) -> Any:
    """Compiled at the first call and kept on disk, or in this process alone where no folder can be written."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # "no locator available"
        return numba.njit(**_OPTIONS)(function)


_ANY = 1 << 40  # the length of an array that is only known as an address

_helper = numba.njit(**_OPTIONS)


@_helper
def _product(kind, matrix, m0, row, column, rows, columns, x, x0, x_step, base, base0, out, out0):  # noqa: PLR0913
    """out[i] = base[i] + sum_k matrix[i, k] x[k], six rows at a time in registers; the last six may overlap."""
    lanes, i = len(kind), 0
    while i < rows and rows >= 6:
        first = min(i, rows - 6)
        m = m0 + first * row
        a0, a1, a2 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
        a3, a4, a5 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
        for k in range(columns):
            v, at_k = load(x, x0 + k * x_step, kind), m + k * column
            a0 = a0 + spread(matrix, at_k, kind) * v
            a1 = a1 + spread(matrix, at_k + row, kind) * v
            a2 = a2 + spread(matrix, at_k + 2 * row, kind) * v
            a3 = a3 + spread(matrix, at_k + 3 * row, kind) * v
            a4 = a4 + spread(matrix, at_k + 4 * row, kind) * v
            a5 = a5 + spread(matrix, at_k + 5 * row, kind) * v
        f, b, skip = out0 + first * lanes, base0 + first * lanes, i - first
        if skip < 1:
            store(out, f, load(base, b, kind) + a0)
        if skip < 2:
            store(out, f + lanes, load(base, b + lanes, kind) + a1)
        if skip < 3:
            store(out, f + 2 * lanes, load(base, b + 2 * lanes, kind) + a2)
        if skip < 4:
            store(out, f + 3 * lanes, load(base, b + 3 * lanes, kind) + a3)
        if skip < 5:
            store(out, f + 4 * lanes, load(base, b + 4 * lanes, kind) + a4)
        store(out, f + 5 * lanes, load(base, b + 5 * lanes, kind) + a5)
        i = first + 6
    while i < rows:
        a0 = fill(0.0, kind)
        for k in range(columns):
            a0 = a0 + spread(matrix, m0 + i * row + k * column, kind) * load(x, x0 + k * x_step, kind)
        store(out, out0 + i * lanes, load(base, base0 + i * lanes, kind) + a0)
        i += 1


@_helper
def _gather(kind, source, s0, sample, hidden, ends, t, out, out0):
    """One step of a tile, transposed to lanes; zero where t is not before the end, whatever lies there."""
    lanes = len(kind)
    for lane in range(lanes):
        if t < ends[lane]:
            row = source[s0 + lane * sample : s0 + lane * sample + hidden]
            for k in range(hidden):
                out[out0 + k * lanes + lane] = row[k]
        else:
            for k in range(hidden):
                out[out0 + k * lanes + lane] = 0.0


@_helper
def _scatter(kind, source, s0, hidden, samples, out, out0, sample):
    """Back from lanes to rows, for the lanes that are samples."""
    lanes = len(kind)
    for lane in range(samples):
        row = out[out0 + lane * sample : out0 + lane * sample + hidden]
        for k in range(hidden):
            row[k] = source[s0 + k * lanes + lane]


@_helper
def _clear(kind, x, x0, vectors):
    for k in range(vectors):
        store(x, x0 + k * len(kind), fill(0.0, kind))


@_helper
def _activate(kind, relu, x, x0, hidden, out, out0):
    lanes = len(kind)
    if relu:
        for k in range(hidden):
            store(out, out0 + k * lanes, rectify(load(x, x0 + k * lanes, kind)))
    else:
        for k in range(hidden):
            store(out, out0 + k * lanes, hyperbolic_tangent(load(x, x0 + k * lanes, kind)))


@_helper
def _normalise(kind, x, x0, hidden, gain, bias, rstd, r0, out, out0):
    """x becomes (x - mean) * rstd in place; out = gain x + bias."""
    lanes = len(kind)
    total, count = fill(0.0, kind), fill(1.0 / hidden, kind)
    for k in range(hidden):
        total = total + load(x, x0 + k * lanes, kind)
    mean, squares = total * count, fill(0.0, kind)
    for k in range(hidden):
        v = load(x, x0 + k * lanes, kind) - mean
        squares = squares + v * v
    scale = fill(1.0, kind) / root(squares * count + fill(EPSILON, kind))
    store(rstd, r0, scale)
    for k in range(hidden):
        v = (load(x, x0 + k * lanes, kind) - mean) * scale
        store(x, x0 + k * lanes, v)
        store(out, out0 + k * lanes, v * spread(gain, k, kind) + spread(bias, k, kind))


@_helper
def _attend(kind, past, past0, steps, hidden, u, u0, scale, base, b0, out, out0, scores):
    """out = base + sum_tau scale[steps - 1 - tau] past[tau] <past[tau], u>"""
    lanes, n = len(kind), hidden * len(kind)
    t = 0
    while t < steps:
        four = t + 4 <= steps
        h0 = past0 + t * n
        if four:
            p0, p1, p2, p3 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
            for k in range(0, n, lanes):
                v = load(u, u0 + k, kind)
                p0 = p0 + v * load(past, h0 + k, kind)
                p1 = p1 + v * load(past, h0 + n + k, kind)
                p2 = p2 + v * load(past, h0 + 2 * n + k, kind)
                p3 = p3 + v * load(past, h0 + 3 * n + k, kind)
            store(scores, t * lanes, p0 * spread(scale, steps - 1 - t, kind))
            store(scores, (t + 1) * lanes, p1 * spread(scale, steps - 2 - t, kind))
            store(scores, (t + 2) * lanes, p2 * spread(scale, steps - 3 - t, kind))
            store(scores, (t + 3) * lanes, p3 * spread(scale, steps - 4 - t, kind))
            t += 4
        else:
            p0 = fill(0.0, kind)
            for k in range(0, n, lanes):
                p0 = p0 + load(u, u0 + k, kind) * load(past, h0 + k, kind)
            store(scores, t * lanes, p0 * spread(scale, steps - 1 - t, kind))
            t += 1
    for k in range(0, n, lanes):
        store(out, out0 + k, load(base, b0 + k, kind))
    t = 0
    while t < steps:
        four = t + 4 <= steps
        h0, p0 = past0 + t * n, load(scores, t * lanes, kind)
        if four:
            p1, p2 = load(scores, (t + 1) * lanes, kind), load(scores, (t + 2) * lanes, kind)
            p3 = load(scores, (t + 3) * lanes, kind)
            for k in range(0, n, lanes):
                v = load(out, out0 + k, kind) + p0 * load(past, h0 + k, kind) + p1 * load(past, h0 + n + k, kind)
                v = v + p2 * load(past, h0 + 2 * n + k, kind) + p3 * load(past, h0 + 3 * n + k, kind)
                store(out, out0 + k, v)
            t += 4
        else:
            for k in range(0, n, lanes):
                store(out, out0 + k, load(out, out0 + k, kind) + p0 * load(past, h0 + k, kind))
            t += 1


@numba.njit(fastmath=_REASSOCIATE, **_OPTIONS)
def _recall(weights, b, factor, hidden, x, x0, lanes, vector, out, out0):
    """out += factor A x for sample b of the batch, one lane of x and out; four rows of A at a time."""
    for k in range(hidden):
        vector[k] = x[x0 + k * lanes] * factor
    matrix = weights[b]
    v = vector[:hidden]
    i = 0
    while i < hidden:
        if i + 4 <= hidden:
            r0, r1, r2, r3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
            a0 = a1 = a2 = a3 = v[0] * 0
            for k in range(hidden):
                a0 += r0[k] * v[k]
                a1 += r1[k] * v[k]
                a2 += r2[k] * v[k]
                a3 += r3[k] * v[k]
            out[out0 + i * lanes] += a0
            out[out0 + (i + 1) * lanes] += a1
            out[out0 + (i + 2) * lanes] += a2
            out[out0 + (i + 3) * lanes] += a3
            i += 4
        else:
            r0, a0 = matrix[i], v[0] * 0
            for k in range(hidden):
                a0 += r0[k] * v[k]
            out[out0 + i * lanes] += a0
            i += 1


@numba.njit(fastmath=_REASSOCIATE, **_OPTIONS)
def _recall_transposed(weights, b, hidden, x, x0, lanes, vector, out, out0):
    """out = A^T x for one lane."""
    matrix = weights[b]
    v = vector[:hidden]
    v[:] = 0
    i = 0
    while i < hidden:
        if i + 4 <= hidden:
            r0, r1, r2, r3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
            x_0, x_1 = x[x0 + i * lanes], x[x0 + (i + 1) * lanes]
            x_2, x_3 = x[x0 + (i + 2) * lanes], x[x0 + (i + 3) * lanes]
            for k in range(hidden):
                v[k] += r0[k] * x_0 + r1[k] * x_1 + r2[k] * x_2 + r3[k] * x_3
            i += 4
        else:
            r0, x_0 = matrix[i], x[x0 + i * lanes]
            for k in range(hidden):
                v[k] += r0[k] * x_0
            i += 1
    for k in range(hidden):
        out[out0 + k * lanes] = v[k]


@_helper
def _any(x, x0, count):
    for k in range(count):
        if x[x0 + k] != 0:  # true for NaN
            return True
    return False


@_helper
def _ends(lengths, first, batch, time, ends):
    """The number of valid steps of each lane: 0 past the batch."""
    for lane in range(len(ends)):
        b = first + lane
        ends[lane] = 0 if b >= batch else lengths[b] if len(lengths) else time


@_helper
def _powers(decay, rate, time, powers, scale):
    """decay^0 .. decay^time, and rate times it: float64 until they are stored."""
    p = 1.0
    for t in range(time + 1):
        powers[t], scale[t] = p, rate * p
        p *= decay


@_helper
def _normalise_backward(kind, relu, d, d0, y, y0, x, x0, hidden, gain, rstd, r0, d_norm, n0, out, out0):
    """From d y, through y = f(gain x + bias), to the gradient of what was normalised."""
    lanes = len(kind)
    count, one = fill(1.0 / hidden, kind), fill(1.0, kind)
    m1, m2 = fill(0.0, kind), fill(0.0, kind)
    for i in range(hidden):
        k = i * lanes
        v, h, normal = load(d, d0 + k, kind), load(y, y0 + k, kind), load(x, x0 + k, kind)
        v = where_positive(h, v) if relu else v * (one - h * h)
        store(d_norm, n0 + k, load(d_norm, n0 + k, kind) + v * normal)
        store(d_norm, n0 + hidden * lanes + k, load(d_norm, n0 + hidden * lanes + k, kind) + v)
        v = v * spread(gain, i, kind)
        m1, m2 = m1 + v, m2 + v * normal
        store(out, out0 + k, v)
    m1, m2, scale = m1 * count, m2 * count, load(rstd, r0, kind)
    for i in range(hidden):
        k = i * lanes
        store(out, out0 + k, scale * (load(out, out0 + k, kind) - m1 - load(x, x0 + k, kind) * m2))


@_helper
def _slope(kind, relu, d, d0, y, y0, hidden, out, out0):
    """out = d f'(.), from y = f(.)"""
    lanes, one = len(kind), fill(1.0, kind)
    for k in range(0, hidden * lanes, lanes):
        v, h = load(d, d0 + k, kind), load(y, y0 + k, kind)
        store(out, out0 + k, where_positive(h, v) if relu else v * (one - h * h))


@_helper
def _attend_backward(kind, past, past0, steps, hidden, u, u0, r, r0, scale, d_past, dp0, d_u, du0, d_scale, s0):
    """From r = d (A u): d past and d scale are added to, d u is added to."""
    lanes, n = len(kind), hidden * len(kind)
    t = 0
    while t < steps:
        h0, g0 = past0 + t * n, dp0 + t * n
        s = steps - 1 - t
        if t + 2 <= steps:
            p0, p1, q0, q1 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
            for k in range(0, n, lanes):
                v, w = load(u, u0 + k, kind), load(r, r0 + k, kind)
                a, b = load(past, h0 + k, kind), load(past, h0 + n + k, kind)
                p0, p1, q0, q1 = p0 + v * a, p1 + v * b, q0 + w * a, q1 + w * b
            store(d_scale, s0 + s * lanes, load(d_scale, s0 + s * lanes, kind) + p0 * q0)
            store(d_scale, s0 + (s - 1) * lanes, load(d_scale, s0 + (s - 1) * lanes, kind) + p1 * q1)
            c0, c1 = spread(scale, s, kind), spread(scale, s - 1, kind)
            p0, p1, q0, q1 = p0 * c0, p1 * c1, q0 * c0, q1 * c1
            for k in range(0, n, lanes):
                v, w = load(u, u0 + k, kind), load(r, r0 + k, kind)
                a, b = load(past, h0 + k, kind), load(past, h0 + n + k, kind)
                store(d_u, du0 + k, load(d_u, du0 + k, kind) + q0 * a + q1 * b)
                store(d_past, g0 + k, load(d_past, g0 + k, kind) + p0 * w + q0 * v)
                store(d_past, g0 + n + k, load(d_past, g0 + n + k, kind) + p1 * w + q1 * v)
            t += 2
        else:
            p0, q0 = fill(0.0, kind), fill(0.0, kind)
            for k in range(0, n, lanes):
                a = load(past, h0 + k, kind)
                p0, q0 = p0 + load(u, u0 + k, kind) * a, q0 + load(r, r0 + k, kind) * a
            store(d_scale, s0 + s * lanes, load(d_scale, s0 + s * lanes, kind) + p0 * q0)
            p0, q0 = p0 * spread(scale, s, kind), q0 * spread(scale, s, kind)
            for k in range(0, n, lanes):
                a = load(past, h0 + k, kind)
                store(d_u, du0 + k, load(d_u, du0 + k, kind) + q0 * a)
                v = p0 * load(r, r0 + k, kind) + q0 * load(u, u0 + k, kind)
                store(d_past, g0 + k, load(d_past, g0 + k, kind) + v)
            t += 1


@_helper
def _outer(kind, d, d0, d_step, rows, x, x0, x_step, units, out, out0):
    """out += d^T x, [units, units] as column blocks of one vector; the last block may overlap the one before."""
    lanes = len(kind)
    if units < lanes:
        for i in range(units):
            for r in range(rows):
                v = d[d0 + r * d_step + i]
                for k in range(units):
                    out[out0 + i * lanes + k] += v * x[x0 + r * x_step + k]
        return
    block = 0
    while block * lanes < units:
        column, o = min(block * lanes, units - lanes), out0 + block * units * lanes
        _product(kind, d, d0, 1, d_step, units, rows, x, x0 + column, x_step, out, o, out, o)
        block += 1


@_cached
def forward(kind, tiles, sizes, strides, constants, tensors):
    """Run tiles [tiles[0], tiles[1]); `work` is laid out as `cpu.py` sizes it."""
    batch, time, units, inner, relu, keep = sizes
    inputs, recurrent, gain, bias, hidden, weights, lengths, outputs, saved, work = tensors
    lanes = len(kind)
    n, norms = units * lanes, max(inner, 1) if gain else 0
    x_in, W = numba.carray(at(inputs, kind), (_ANY,)), numba.carray(at(recurrent, kind), (_ANY,))
    gains, biases = numba.carray(at(gain, kind), (_ANY,)), numba.carray(at(bias, kind), (_ANY,))
    h_in, A = numba.carray(at(hidden, kind), (_ANY,)), numba.carray(at(weights, kind), (batch, units, units))
    until = numba.carray(at(lengths, (0,)), (batch if lengths else 0,))
    y, own = numba.carray(at(outputs, kind), (_ANY,)), numba.carray(at(work, kind), (_ANY,))
    boundary, x, rstd, x0, r0 = own[:n], own[n : 2 * n], own[2 * n : 2 * n + lanes], 0, 0
    o = 2 * n + lanes
    scores = own[o : o + time * lanes]
    o += time * lanes
    past = numba.carray(at(saved, kind), (_ANY,)) if keep else own[o : o + (time + 1) * n]
    o += (0 if keep else time + 1) * n
    powers, scale, vector = own[o : o + time + 1], own[o + time + 1 : o + 2 * time + 2], own[o + 2 * time + 2 :]
    _powers(constants[0], constants[1], time, powers, scale)
    ends = numpy.empty(lanes, numpy.int64)
    tile_size = time * (n * (1 + inner + norms) + norms * lanes)
    for tile in range(tiles[0], tiles[1]):
        first = tile * lanes
        samples = min(lanes, batch - first)
        _ends(until, first, batch, time, ends)
        h0 = tile * tile_size if keep else 0
        u_base = h0 + time * n
        for t in range(time):
            ht, u0 = h0 + t * n, u_base + t * inner * n if keep else u_base
            _gather(kind, x_in, first * strides[0] + t * strides[1], strides[0], units, ends, t, boundary, 0)
            if t > 0:
                _product(kind, W, 0, units, 1, units, units, past, ht - n, lanes, boundary, 0, boundary, 0)
            elif hidden:
                _gather(kind, h_in, first * units, units, units, ends, t, past, ht)
                if _any(past, ht, n):
                    _product(kind, W, 0, units, 1, units, units, past, ht, lanes, boundary, 0, boundary, 0)
            if inner > 0:
                _activate(kind, relu, boundary, 0, units, past, u0)
            for s in range(max(inner, 1)):
                if keep and norms:
                    x, x0 = past, u_base + time * inner * n + (t * norms + s) * n
                    rstd, r0 = past, u_base + time * (inner + norms) * n + (t * norms + s) * lanes
                us = u0 + s * n if keep else u0
                _attend(kind, past, h0, t if inner else 0, units, past, us, scale, boundary, 0, x, x0, scores)
                if weights and inner:
                    for lane in range(samples):
                        if t < ends[lane]:
                            b = first + lane
                            _recall(A, b, powers[t], units, past, us + lane, lanes, vector, x, x0 + lane)
                to = ht if s + 1 >= inner else us + n if keep else us
                if norms:
                    _normalise(kind, x, x0, units, gains, biases, rstd, r0, past, to)
                    _activate(kind, relu, past, to, units, past, to)
                else:
                    _activate(kind, relu, x, x0, units, past, to)
            for lane in range(lanes):
                if t >= ends[lane]:
                    for k in range(lane, n, lanes):
                        past[ht + k] = 0.0
            _scatter(kind, past, ht, units, samples, y, (first * time + t) * units, time * units)


@_cached
def backward(kind, groups, sizes, strides, constants, tensors):
    """Run groups of tiles [groups[0], groups[1]); a group has its own sums of the gradients that samples share."""
    batch, time, units, inner, relu, group_tiles = sizes
    recurrent, gain, hidden, weights, lengths, outputs, saved = tensors[:7]
    d_outputs, d_inputs, d_hidden, d_recurrent, d_norm, d_scale, reads, d_reads, work = tensors[7:]
    lanes = len(kind)
    n, norms = units * lanes, max(inner, 1) if gain else 0
    W, gains = numba.carray(at(recurrent, kind), (_ANY,)), numba.carray(at(gain, kind), (_ANY,))
    h_in, A = numba.carray(at(hidden, kind), (_ANY,)), numba.carray(at(weights, kind), (batch, units, units))
    until = numba.carray(at(lengths, (0,)), (batch if lengths else 0,))
    y, past = numba.carray(at(outputs, kind), (_ANY,)), numba.carray(at(saved, kind), (_ANY,))
    d_y, d_x = numba.carray(at(d_outputs, kind), (_ANY,)), numba.carray(at(d_inputs, kind), (_ANY,))
    d_h, d_W = numba.carray(at(d_hidden, kind), (_ANY,)), numba.carray(at(d_recurrent, kind), (_ANY,))
    d_n, d_s = numba.carray(at(d_norm, kind), (_ANY,)), numba.carray(at(d_scale, kind), (_ANY,))
    read, d_read = numba.carray(at(reads, kind), (_ANY,)), numba.carray(at(d_reads, kind), (_ANY,))
    own = numba.carray(at(work, kind), (_ANY,))
    d_b, r, d_u, d_past = own[:n], own[n : 2 * n], own[2 * n : 3 * n], own[3 * n : (3 + time) * n]
    o = (3 + time) * n
    powers, scale, vector = own[o : o + time + 1], own[o + time + 1 : o + 2 * time + 2], own[o + 2 * time + 2 :]
    _powers(constants[0], constants[1], time, powers, scale)
    ends = numpy.empty(lanes, numpy.int64)
    blocks = (units + lanes - 1) // lanes
    tile_size = time * (n * (1 + inner + norms) + norms * lanes)
    all_tiles = (batch + lanes - 1) // lanes
    for group in range(groups[0], groups[1]):
        W0, n0, s0, f0 = group * blocks * n, group * 2 * n, group * 2 * time * lanes, (group * 2 + 1) * time * lanes
        if d_recurrent:
            _clear(kind, d_W, W0, blocks * units)
        _clear(kind, d_n, n0, 2 * units if norms else 0)
        _clear(kind, d_s, s0, 2 * time)
        for tile in range(group * group_tiles, min((group + 1) * group_tiles, all_tiles)):
            first = tile * lanes
            samples = min(lanes, batch - first)
            rows = first * time * units
            _ends(until, first, batch, time, ends)
            h0 = tile * tile_size
            u_base, x_base = h0 + time * n, h0 + time * (1 + inner) * n
            for t in range(time):
                _gather(kind, d_y, first * strides[0] + t * strides[1], strides[0], units, ends, t, d_past, t * n)
            for t in range(time - 1, -1, -1):
                d, d0 = d_past, t * n
                _clear(kind, d_b, 0, units)
                for s in range(max(inner, 1) - 1, -1, -1):
                    us = u_base + (t * inner + s) * n
                    to = h0 + t * n if s + 1 >= inner else us + n
                    if norms:
                        xs = x_base + (t * norms + s) * n
                        rs = x_base + time * norms * n + (t * norms + s) * lanes
                        _normalise_backward(
                            kind, relu, d, d0, past, to, past, xs, units, gains, past, rs, d_n, n0, r, 0
                        )
                    else:
                        _slope(kind, relu, d, d0, past, to, units, r, 0)
                    for k in range(0, n, lanes):
                        store(d_b, k, load(d_b, k, kind) + load(r, k, kind))
                    if inner == 0:
                        break
                    d, d0 = d_u, 0
                    _clear(kind, d_u, 0, units)
                    if weights:
                        for lane in range(samples):
                            if t < ends[lane]:
                                b = first + lane
                                _recall_transposed(A, b, units, r, lane, lanes, vector, d_u, lane)
                        if reads:
                            o = ((first * time + t) * inner + s) * units
                            _scatter(kind, past, us, units, samples, read, o, time * inner * units)
                            _scatter(kind, r, 0, units, samples, d_read, o, time * inner * units)
                        total = fill(0.0, kind)
                        for k in range(0, n, lanes):
                            v = load(d_u, k, kind)
                            total = total + v * load(past, us + k, kind)
                            store(d_u, k, v * spread(powers, t, kind))
                        store(d_s, f0 + t * lanes, load(d_s, f0 + t * lanes, kind) + total)
                    _attend_backward(
                        kind, past, h0, t, units, past, us, r, 0, scale, d_past, 0, d_u, 0, d_s, s0
                    )
                if inner > 0:
                    _slope(kind, relu, d_u, 0, past, u_base + t * inner * n, units, r, 0)
                    for k in range(0, n, lanes):
                        store(d_b, k, load(d_b, k, kind) + load(r, k, kind))
                for lane in range(lanes):
                    if t >= ends[lane]:
                        for k in range(lane, n, lanes):
                            d_b[k] = 0.0
                if t > 0:
                    o = (t - 1) * n
                    _product(kind, W, 0, 1, units, units, units, d_b, 0, lanes, d_past, o, d_past, o)
                    _scatter(kind, d_b, 0, units, samples, d_x, rows + t * units, time * units)
                elif d_hidden:
                    _clear(kind, d_u, 0, units)
                    _product(kind, W, 0, 1, units, units, units, d_b, 0, lanes, d_u, 0, d_u, 0)
                    _scatter(kind, d_u, 0, units, samples, d_h, first * units, units)
            if d_recurrent and time > 1:
                # one product over all rows (sample, time): a row is paired with the output before it, and the first row
                # of a sample, whose neighbour is another sample, counts as zero until its own numbers are written
                _clear(kind, r, 0, units)
                _scatter(kind, r, 0, units, samples, d_x, rows, time * units)
                pairs = samples * time - 1
                _outer(kind, d_x, rows + units, units, pairs, y, rows, units, units, d_W, W0)
            _scatter(kind, d_b, 0, units, samples, d_x, rows, time * units)
            if d_recurrent and hidden and _any(h_in, first * units, samples * units):
                _outer(kind, d_x, rows, time * units, samples, h_in, first * units, units, units, d_W, W0)


@_cached
def collect(kind, sizes, tensors):
    """Sum over groups, then lanes, in an order that does not depend on who computed them."""
    units, time, groups, norms, want = sizes
    d_recurrent, d_norm, d_scale, W_out, norm_out, scale_out = tensors
    lanes = len(kind)
    n, blocks = units * lanes, (units + lanes - 1) // lanes
    d_W, W = numba.carray(at(d_recurrent, kind), (_ANY,)), numba.carray(at(W_out, kind), (_ANY,))
    d_n, norm = numba.carray(at(d_norm, kind), (_ANY,)), numba.carray(at(norm_out, kind), (_ANY,))
    d_s, scale = numba.carray(at(d_scale, kind), (_ANY,)), numba.carray(at(scale_out, (0.0,)), (_ANY,))
    for block in range(blocks if want else 0):
        column = max(0, min(block * lanes, units - lanes))
        width = min(lanes, units)
        for i in range(units):
            o = (block * units + i) * lanes
            total = load(d_W, o, kind)
            for group in range(1, groups):
                total = total + load(d_W, group * blocks * n + o, kind)
            store(d_W, o, total)
            for k in range(width):
                W[i * units + column + k] = d_W[o + k]
    for i in range(2 * units if norms else 0):
        total64 = 0.0
        for group in range(groups):
            for lane in range(lanes):
                total64 += d_n[group * 2 * n + i * lanes + lane]
        norm[i] = total64
    for i in range(2 * time):
        total64 = 0.0
        for group in range(groups):
            for lane in range(lanes):
                total64 += d_s[(group * 2 * time + i) * lanes + lane]
        scale[i] = total64
