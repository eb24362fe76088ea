"""What the kernels of `cpu_kernels.py` are made of: each helper treats one step of one tile.

A vector of a tile is [hidden][lane], so that every sum over units is a sum of registers. `kind`, an empty array,
carries dtype and lanes; an array is followed by the index where the vector begins. Sizes are in numbers, not bytes.
"""

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import (
    fill,
    fused,
    hyperbolic_tangent,
    integer,
    lanes_of,
    load,
    rectify,
    root,
    spread,
    store,
    transpose,
    where_positive,
)
from fastweights.ops.layer_norm import EPSILON


@helper
def product(kind, matrix, m0, row, column, rows, columns, x, x0, x_step, base, base0, out, out0):
    """out[i] = base[i] + sum_k matrix[i, k] x[k]"""
    zero, one = integer(0), integer(1)
    products(kind, matrix, m0, row, column, zero, rows, columns, one, x, x0, x_step, zero, base, base0, out, out0)


@helper
def products(kind, matrix, m0, row, column, m_jump, rows, columns, many, x, x0, x_step, x_jump, base, base0, out, out0):
    """out[i] = base[i] + sum_jk matrix_j[i, k] x_j[k], of `many` matrices and x, a jump apart.

    Six rows at a time in registers; the last six may overlap those before.
    """
    lanes, i = lanes_of(kind), 0
    while i < rows and rows >= 6:
        first = min(i, rows - 6)
        m = m0 + first * row
        a0, a1, a2 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
        a3, a4, a5 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
        for j in range(many):
            at_k, at_x = m + j * m_jump, x0 + j * x_jump
            for _ in range(columns):
                v = load(x, at_x, kind)
                a0 = a0 + spread(matrix, at_k, kind) * v
                a1 = a1 + spread(matrix, at_k + row, kind) * v
                a2 = a2 + spread(matrix, at_k + 2 * row, kind) * v
                a3 = a3 + spread(matrix, at_k + 3 * row, kind) * v
                a4 = a4 + spread(matrix, at_k + 4 * row, kind) * v
                a5 = a5 + spread(matrix, at_k + 5 * row, kind) * v
                at_k, at_x = at_k + column, at_x + x_step
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
        for j in range(many):
            for k in range(columns):
                v = load(x, x0 + j * x_jump + k * x_step, kind)
                a0 = a0 + spread(matrix, m0 + i * row + j * m_jump + k * column, kind) * v
        store(out, out0 + i * lanes, load(base, base0 + i * lanes, kind) + a0)
        i += 1


@helper
def gather(kind, source, s0, sample, hidden, ends, t, out, out0):
    """One step of a tile, transposed to lanes; zero where t is not before the end, whatever lies there."""
    lanes, whole = lanes_of(kind), hidden >= lanes_of(kind)
    for lane in range(lanes):
        whole = whole and t < ends[lane]
    if whole:
        k = 0
        while k < hidden:  # the last block may overlap the one before
            first = min(k, hidden - lanes)
            transpose(source, s0 + first, sample, out, out0 + first * lanes, lanes, kind)
            k += lanes
        return
    for lane in range(lanes):
        if t < ends[lane]:
            row = source[s0 + lane * sample : s0 + lane * sample + hidden]
            for k in range(hidden):
                out[out0 + k * lanes + lane] = row[k]
        else:
            for k in range(hidden):
                out[out0 + k * lanes + lane] = 0.0


@helper
def look_up(kind, table, symbols, s0, sample, hidden, ends, t, rows, out, out0):
    """One step of a tile as `gather`, whose rows are those of a table that the symbols name."""
    lanes = lanes_of(kind)
    for lane in range(lanes):
        if t < ends[lane]:
            row, to = symbols[s0 + lane * sample] * hidden, lane * hidden
            for k in range(0, hidden - lanes + 1, lanes):
                store(rows, to + k, load(table, row + k, kind))
            for k in range(hidden - hidden % lanes, hidden):
                rows[to + k] = table[row + k]
    gather(kind, rows, integer(0), hidden, hidden, ends, t, out, out0)


@helper
def scatter(kind, source, s0, hidden, samples, out, out0, sample):
    """Back from lanes to rows, for the lanes that are samples."""
    lanes = lanes_of(kind)
    if samples == lanes and hidden >= lanes:
        k = 0
        while k < hidden:
            first = min(k, hidden - lanes)
            transpose(source, s0 + first * lanes, lanes, out, out0 + first, sample, kind)
            k += lanes
        return
    for lane in range(samples):
        row = out[out0 + lane * sample : out0 + lane * sample + hidden]
        for k in range(hidden):
            row[k] = source[s0 + k * lanes + lane]


@helper
def add_row(kind, x, x0, hidden, out, out0):
    lanes = lanes_of(kind)
    whole = hidden - hidden % lanes
    for k in range(0, whole, lanes):
        store(out, out0 + k, load(out, out0 + k, kind) + load(x, x0 + k, kind))
    for k in range(whole, hidden):
        out[out0 + k] += x[x0 + k]


@helper
def total(kind, x, x0, step, count):
    """The sum of `count` vectors and of their lanes."""
    each, number = fill(0.0, kind), 0.0
    for k in range(count):
        each = each + load(x, x0 + k * step, kind)
    store(x, x0, each)
    for lane in range(lanes_of(kind)):
        number += x[x0 + lane]
    return number


@helper
def clear(kind, x, x0, vectors):
    for k in range(vectors):
        store(x, x0 + k * lanes_of(kind), fill(0.0, kind))


@helper
def activate(kind, relu, x, x0, hidden, out, out0):
    lanes = lanes_of(kind)
    if relu:
        for k in range(hidden):
            store(out, out0 + k * lanes, rectify(load(x, x0 + k * lanes, kind)))
    else:
        for k in range(hidden):
            store(out, out0 + k * lanes, hyperbolic_tangent(load(x, x0 + k * lanes, kind)))


@helper
def normalise(kind, relu, x, x0, hidden, gain, bias, rstd, r0, out, out0):
    """x becomes (x - mean) * rstd in place; out = f(gain x + bias). Four sums at a time: one would wait for itself.

    The rstd that is kept for the gradient is 0 where x is zero, as `cut_at_zero` has it.
    """
    lanes, count, odd = lanes_of(kind), fill(1.0 / hidden, kind), hidden % 4
    a, b, c, d = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    for k in range(x0, x0 + odd * lanes, lanes):
        a = a + load(x, k, kind)
    for k in range(x0 + odd * lanes, x0 + hidden * lanes, 4 * lanes):
        a, b = a + load(x, k, kind), b + load(x, k + lanes, kind)
        c, d = c + load(x, k + 2 * lanes, kind), d + load(x, k + 3 * lanes, kind)
    mean = (a + b + (c + d)) * count
    a, b, c, d = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    for k in range(x0, x0 + odd * lanes, lanes):
        v = load(x, k, kind) - mean
        a = a + v * v
    for k in range(x0 + odd * lanes, x0 + hidden * lanes, 4 * lanes):
        v, w = load(x, k, kind) - mean, load(x, k + lanes, kind) - mean
        a, b = a + v * v, b + w * w
        v, w = load(x, k + 2 * lanes, kind) - mean, load(x, k + 3 * lanes, kind) - mean
        c, d = c + v * v, d + w * w
    squares = a + b + (c + d)
    scale = fill(1.0, kind) / root(squares * count + fill(EPSILON, kind))
    store(rstd, r0, where_positive(squares + mean * mean, scale))
    for k in range(hidden):
        v = (load(x, x0 + k * lanes, kind) - mean) * scale
        store(x, x0 + k * lanes, v)
        v = v * spread(gain, k, kind) + spread(bias, k, kind)
        store(out, out0 + k * lanes, rectify(v) if relu else hyperbolic_tangent(v))


@helper
def apart(kind, hidden):
    """From one vector of a tile to the next: an odd number of cache lines, for powers of two share few sets."""
    return (hidden | 1) * lanes_of(kind)


@helper
def attend(kind, past, past0, values, v0, steps, hidden, u, u0, scale, base, b0, out, out0):
    """out = base + sum_tau scale[steps - 1 - tau] values[tau] <past[tau], u>, four steps at a time, read once."""
    lanes, size, n = lanes_of(kind), hidden * lanes_of(kind), apart(kind, hidden)
    for k in range(0, size, lanes):
        store(out, out0 + k, load(base, b0 + k, kind))
    t = 0
    while t + 4 <= steps:
        h, c, s = past0 + t * n, v0 + t * n, steps - 1 - t
        p0, p1, p2, p3 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
        for k in range(0, size, lanes):
            v = load(u, u0 + k, kind)
            p0, p1 = p0 + v * load(past, h + k, kind), p1 + v * load(past, h + n + k, kind)
            p2, p3 = p2 + v * load(past, h + 2 * n + k, kind), p3 + v * load(past, h + 3 * n + k, kind)
        p0, p1 = p0 * spread(scale, s, kind), p1 * spread(scale, s - 1, kind)
        p2, p3 = p2 * spread(scale, s - 2, kind), p3 * spread(scale, s - 3, kind)
        for k in range(0, size, lanes):
            v = load(out, out0 + k, kind) + p0 * load(values, c + k, kind) + p1 * load(values, c + n + k, kind)
            v = v + p2 * load(values, c + 2 * n + k, kind) + p3 * load(values, c + 3 * n + k, kind)
            store(out, out0 + k, v)
        t += 4
    while t < steps:
        h, c, p0 = past0 + t * n, v0 + t * n, fill(0.0, kind)
        for k in range(0, size, lanes):
            p0 = p0 + load(u, u0 + k, kind) * load(past, h + k, kind)
        p0 = p0 * spread(scale, steps - 1 - t, kind)
        for k in range(0, size, lanes):
            store(out, out0 + k, load(out, out0 + k, kind) + p0 * load(values, c + k, kind))
        t += 1


@helper
def any_nonzero(x, x0, count):
    for k in range(count):
        if x[x0 + k] != 0:  # true for NaN
            return True
    return False


@helper
def find_ends(lengths, first, batch, time, ends):
    """The number of valid steps of each lane: 0 past the batch."""
    for lane in range(len(ends)):
        b = first + lane
        ends[lane] = 0 if b >= batch else lengths[b] if len(lengths) else time


@helper
def fill_powers(decay, rate, time, powers, scale):
    """decay^0 .. decay^time, and rate times it: float64 until they are stored."""
    p = 1.0
    for t in range(time + 1):
        powers[t], scale[t] = p, rate * p
        p *= decay


@helper
def normalise_backward(kind, relu, d, d0, y, y0, x, x0, hidden, gain, rstd, r0, d_norm, n0, out, out0):
    """From d y, through y = f(gain x + bias), to the gradient of what was normalised."""
    lanes, below = lanes_of(kind), hidden * lanes_of(kind)
    count, one = fill(1.0 / hidden, kind), fill(1.0, kind)
    m1, m2, l1, l2 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    for i in range(hidden):
        k = i * lanes
        v, h, normal = load(d, d0 + k, kind), load(y, y0 + k, kind), load(x, x0 + k, kind)
        v = where_positive(h, v) if relu else v * (one - h * h)
        store(d_norm, n0 + k, load(d_norm, n0 + k, kind) + v * normal)
        store(d_norm, n0 + below + k, load(d_norm, n0 + below + k, kind) + v)
        v = v * spread(gain, i, kind)
        m1, m2, l1, l2 = l1 + v, l2 + v * normal, m1, m2  # two sums in turn: one would wait for itself
        store(out, out0 + k, v)
    m1, m2 = m1 + l1, m2 + l2
    m1, m2, scale = m1 * count, m2 * count, load(rstd, r0, kind)
    for i in range(hidden):
        k = i * lanes
        store(out, out0 + k, scale * (load(out, out0 + k, kind) - m1 - load(x, x0 + k, kind) * m2))


@helper
def slope(kind, relu, d, d0, y, y0, hidden, out, out0):
    """out = d f'(.), from y = f(.)"""
    lanes, one = lanes_of(kind), fill(1.0, kind)
    for k in range(0, hidden * lanes, lanes):
        v, h = load(d, d0 + k, kind), load(y, y0 + k, kind)
        store(out, out0 + k, where_positive(h, v) if relu else v * (one - h * h))


@helper
def attend_backward(kind, past, past0, steps, hidden, u, u0, r, r0, scale, d_past, dp0, d_u, du0, d_scale, s0):
    """From r = d (A u): d past and d scale are added to, d u is added to."""
    lanes, size, n = lanes_of(kind), hidden * lanes_of(kind), apart(kind, hidden)
    t = 0
    while t < steps:
        h0, g0 = past0 + t * n, dp0 + t * n
        s = steps - 1 - t
        if t + 2 <= steps:
            p0, p1, q0, q1 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
            for k in range(0, size, lanes):
                v, w = load(u, u0 + k, kind), load(r, r0 + k, kind)
                a, b = load(past, h0 + k, kind), load(past, h0 + n + k, kind)
                p0, p1, q0, q1 = fused(v, a, p0), fused(v, b, p1), fused(w, a, q0), fused(w, b, q1)
            store(d_scale, s0 + s * lanes, load(d_scale, s0 + s * lanes, kind) + p0 * q0)
            store(d_scale, s0 + (s - 1) * lanes, load(d_scale, s0 + (s - 1) * lanes, kind) + p1 * q1)
            c0, c1 = spread(scale, s, kind), spread(scale, s - 1, kind)
            p0, p1, q0, q1 = p0 * c0, p1 * c1, q0 * c0, q1 * c1
            for k in range(0, size, lanes):
                v, w = load(u, u0 + k, kind), load(r, r0 + k, kind)
                a, b = load(past, h0 + k, kind), load(past, h0 + n + k, kind)
                store(d_u, du0 + k, load(d_u, du0 + k, kind) + q0 * a + q1 * b)
                store(d_past, g0 + k, load(d_past, g0 + k, kind) + p0 * w + q0 * v)
                store(d_past, g0 + n + k, load(d_past, g0 + n + k, kind) + p1 * w + q1 * v)
            t += 2
        else:
            p0, q0 = fill(0.0, kind), fill(0.0, kind)
            for k in range(0, size, lanes):
                a = load(past, h0 + k, kind)
                p0, q0 = fused(load(u, u0 + k, kind), a, p0), fused(load(r, r0 + k, kind), a, q0)
            store(d_scale, s0 + s * lanes, load(d_scale, s0 + s * lanes, kind) + p0 * q0)
            p0, q0 = p0 * spread(scale, s, kind), q0 * spread(scale, s, kind)
            for k in range(0, size, lanes):
                a = load(past, h0 + k, kind)
                store(d_u, du0 + k, load(d_u, du0 + k, kind) + q0 * a)
                v = fused(p0, load(r, r0 + k, kind), q0 * load(u, u0 + k, kind))
                store(d_past, g0 + k, load(d_past, g0 + k, kind) + v)
            t += 1


@helper
def outer(kind, d, d0, d_step, d_jump, rows, times, x, x0, x_step, x_jump, units, out, out0):
    """out += sum_j d_j^T x_j, [units, units] as column blocks of one vector; the last block may overlap another."""
    lanes = lanes_of(kind)
    if units < lanes:
        for j in range(times):
            for i in range(units):
                for r in range(rows):
                    v = d[d0 + j * d_jump + r * d_step + i]
                    for k in range(units):
                        out[out0 + i * lanes + k] += v * x[x0 + j * x_jump + r * x_step + k]
        return
    column, o = 0, out0
    while column < units:
        first = x0 + min(column, units - lanes)
        products(kind, d, d0, integer(1), d_step, d_jump, units, rows, times, x, first, x_step, x_jump, out, o, out, o)
        column, o = column + lanes, o + units * lanes


@helper
def add_groups(kind, source, s0, jump, groups, units, out, out0):
    """One column block of `outer`, the sum over groups: out[i, :] = sum_g source_g[i]"""
    lanes = lanes_of(kind)
    for i in range(units):
        each = load(source, s0 + i * lanes, kind)
        for group in range(1, groups):
            each = each + load(source, group * jump + s0 + i * lanes, kind)
        store(out, out0 + i * units, each)
