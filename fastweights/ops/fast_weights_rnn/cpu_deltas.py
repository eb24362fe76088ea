"""What the rule `Delta` adds to a step of a tile: keys of unit length, and values that are errors, apart from the keys.

Each array is followed by the index where the vector begins, as in `cpu_tiles.py`.
"""

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import fill, lanes_of, load, rectify, root, spread, store, where_positive
from fastweights.ops.fast_weights_rnn.cpu_directions import inner_product
from fastweights.ops.fast_weights_rnn.cpu_tiles import apart
from fastweights.rules.delta import SHORTEST


@helper
def unit(kind, x, x0, units, out, out0, inverse, i0):
    """out = x / |x|; the inverse length goes into `inverse`."""
    shortest = fill(SHORTEST, kind)
    length = root(inner_product(kind, x, x0, x, x0, units))
    scale = fill(1.0, kind) / (rectify(length - shortest) + shortest)
    store(inverse, i0, scale)
    for k in range(0, units * lanes_of(kind), lanes_of(kind)):
        store(out, out0 + k, load(x, x0 + k, kind) * scale)


@helper
def unit_backward(kind, d, d0, x, x0, inverse, i0, units, out, out0):
    """out += the gradient of what has the unit vector x, from that of x, d."""
    lanes, scale = lanes_of(kind), load(inverse, i0, kind)
    along = where_positive(fill(1.0, kind) / fill(SHORTEST, kind) - scale, inner_product(kind, d, d0, x, x0, units))
    for k in range(0, units * lanes, lanes):
        v = (load(d, d0 + k, kind) - along * load(x, x0 + k, kind)) * scale
        store(out, out0 + k, load(out, out0 + k, kind) + v)


@helper
def error(kind, h, h0, read, r0, units, constants, out, out0):
    """out = rate (h - decay read)"""
    lanes, decay, rate = lanes_of(kind), fill(constants[0], kind), fill(constants[1], kind)
    for k in range(0, units * lanes, lanes):
        store(out, out0 + k, rate * (load(h, h0 + k, kind) - decay * load(read, r0 + k, kind)))


@helper
def error_backward(kind, d, d0, h, h0, read, r0, units, constants, d_h, d_read, d_constants, c0):
    """From d of an error: d_h, at d0 too, and those of rate and decay, at c0, are added to; d_read is set."""
    lanes, decay, rate = lanes_of(kind), fill(constants[0], kind), fill(constants[1], kind)
    along, through, minus = fill(0.0, kind), fill(0.0, kind), fill(-constants[0] * constants[1], kind)
    for k in range(0, units * lanes, lanes):
        v = load(d, d0 + k, kind)
        along = along + v * load(h, h0 + k, kind)
        through = through + v * load(read, r0 + k, kind)
        store(d_h, d0 + k, load(d_h, d0 + k, kind) + rate * v)
        store(d_read, k, minus * v)
    store(d_constants, c0, load(d_constants, c0, kind) + (along - decay * through))
    store(d_constants, c0 + lanes, load(d_constants, c0 + lanes, kind) - rate * through)


@helper
def attend_apart_backward(kind, keys, values, steps, hidden, u, u0, r, scale, d_keys, d_values, d_u, du0, d_scale, s0):
    """As `attend_backward`, of values apart from their keys; what has no index begins at 0."""
    lanes, size, n = lanes_of(kind), hidden * lanes_of(kind), apart(kind, hidden)
    t = 0
    while t < steps:
        o, s = t * n, steps - 1 - t
        if t + 2 <= steps:
            p0, p1, q0, q1 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
            for k in range(0, size, lanes):
                v, w = load(u, u0 + k, kind), load(r, k, kind)
                p0, p1 = p0 + v * load(keys, o + k, kind), p1 + v * load(keys, o + n + k, kind)
                q0, q1 = q0 + w * load(values, o + k, kind), q1 + w * load(values, o + n + k, kind)
            store(d_scale, s0 + s * lanes, load(d_scale, s0 + s * lanes, kind) + p0 * q0)
            store(d_scale, s0 + (s - 1) * lanes, load(d_scale, s0 + (s - 1) * lanes, kind) + p1 * q1)
            c0, c1 = spread(scale, s, kind), spread(scale, s - 1, kind)
            p0, p1, q0, q1 = p0 * c0, p1 * c1, q0 * c0, q1 * c1
            for k in range(0, size, lanes):
                v, w = load(u, u0 + k, kind), load(r, k, kind)
                through = q0 * load(keys, o + k, kind) + q1 * load(keys, o + n + k, kind)
                store(d_u, du0 + k, load(d_u, du0 + k, kind) + through)
                store(d_keys, o + k, load(d_keys, o + k, kind) + q0 * v)
                store(d_keys, o + n + k, load(d_keys, o + n + k, kind) + q1 * v)
                store(d_values, o + k, load(d_values, o + k, kind) + p0 * w)
                store(d_values, o + n + k, load(d_values, o + n + k, kind) + p1 * w)
            t += 2
        else:
            p0, q0 = fill(0.0, kind), fill(0.0, kind)
            for k in range(0, size, lanes):
                p0 = p0 + load(u, u0 + k, kind) * load(keys, o + k, kind)
                q0 = q0 + load(r, k, kind) * load(values, o + k, kind)
            store(d_scale, s0 + s * lanes, load(d_scale, s0 + s * lanes, kind) + p0 * q0)
            p0, q0 = p0 * spread(scale, s, kind), q0 * spread(scale, s, kind)
            for k in range(0, size, lanes):
                store(d_u, du0 + k, load(d_u, du0 + k, kind) + q0 * load(keys, o + k, kind))
                store(d_keys, o + k, load(d_keys, o + k, kind) + q0 * load(u, u0 + k, kind))
                store(d_values, o + k, load(d_values, o + k, kind) + p0 * load(r, k, kind))
            t += 1
