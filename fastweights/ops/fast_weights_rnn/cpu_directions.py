"""What the rule `Cosine` adds to a step of a tile: directions of vectors, and a read that is bounded by the boundary.

Each array is followed by the index where the vector begins, as in `cpu_tiles.py`.
"""

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import fill, lanes_of, load, root, store
from fastweights.rules.cosine import EPSILON


@helper
def mean_of(kind, x, x0, units):
    lanes = lanes_of(kind)
    a, b = fill(0.0, kind), fill(0.0, kind)
    for k in range(x0, x0 + units % 2 * lanes, lanes):
        a = a + load(x, k, kind)
    for k in range(x0 + units % 2 * lanes, x0 + units * lanes, 2 * lanes):
        a, b = a + load(x, k, kind), b + load(x, k + lanes, kind)
    return (a + b) * fill(1.0 / units, kind)


@helper
def squares_around(kind, x, x0, units, mean):
    lanes = lanes_of(kind)
    a, b = fill(0.0, kind), fill(0.0, kind)
    for k in range(x0, x0 + units % 2 * lanes, lanes):
        v = load(x, k, kind) - mean
        a = a + v * v
    for k in range(x0 + units % 2 * lanes, x0 + units * lanes, 2 * lanes):
        v, w = load(x, k, kind) - mean, load(x, k + lanes, kind) - mean
        a, b = a + v * v, b + w * w
    return a + b


@helper
def inner_product(kind, x, x0, y, y0, units):
    lanes = lanes_of(kind)
    a, b = fill(0.0, kind), fill(0.0, kind)
    for k in range(0, units % 2 * lanes, lanes):
        a = a + load(x, x0 + k, kind) * load(y, y0 + k, kind)
    for k in range(units % 2 * lanes, units * lanes, 2 * lanes):
        a = a + load(x, x0 + k, kind) * load(y, y0 + k, kind)
        b = b + load(x, x0 + k + lanes, kind) * load(y, y0 + k + lanes, kind)
    return a + b


@helper
def direct(kind, x, x0, units, out, out0, inverse, i0):
    """out = (x - mean) / |x - mean|; the inverse length goes into `inverse`."""
    lanes = lanes_of(kind)
    mean = mean_of(kind, x, x0, units)
    scale = fill(1.0, kind) / root(squares_around(kind, x, x0, units, mean) + fill(EPSILON, kind))
    store(inverse, i0, scale)
    for k in range(0, units * lanes, lanes):
        store(out, out0 + k, (load(x, x0 + k, kind) - mean) * scale)


@helper
def direct_backward(kind, d, d0, x, x0, inverse, i0, units, out, out0):
    """out += the gradient of what has the direction x, from that of x, d."""
    lanes = lanes_of(kind)
    mean, along = mean_of(kind, d, d0, units), inner_product(kind, d, d0, x, x0, units)
    scale = load(inverse, i0, kind)
    for k in range(0, units * lanes, lanes):
        v = (load(d, d0 + k, kind) - mean - along * load(x, x0 + k, kind)) * scale
        store(out, out0 + k, load(out, out0 + k, kind) + v)


@helper
def add_bounded(kind, b, b0, read, r0, units, rate, out, out0):
    """out = b + rate read sqrt(B / (B + |read|^2)), B = |b - mean b|^2 + epsilon."""
    lanes = lanes_of(kind)
    size = squares_around(kind, b, b0, units, mean_of(kind, b, b0, units)) + fill(EPSILON, kind)
    scale = fill(rate, kind) * root(size / (size + inner_product(kind, read, r0, read, r0, units)))
    for k in range(0, units * lanes, lanes):
        store(out, out0 + k, load(b, b0 + k, kind) + scale * load(read, r0 + k, kind))


@helper
def add_bounded_backward(kind, d, d0, b, b0, read, r0, units, rate, d_b, db0, d_rate, dr0):
    """From d of what `add_bounded` adds to b: d becomes that of the read, d_b and d_rate are added to."""
    lanes, strength = lanes_of(kind), fill(rate, kind)
    mean = mean_of(kind, b, b0, units)
    size = squares_around(kind, b, b0, units, mean) + fill(EPSILON, kind)
    length, along = inner_product(kind, read, r0, read, r0, units), inner_product(kind, d, d0, read, r0, units)
    both = size + length
    part = root(size / both)
    store(d_rate, dr0, load(d_rate, dr0, kind) + along * part)
    per_read = strength * along * part / both
    per_boundary = per_read * length / size
    for k in range(0, units * lanes, lanes):
        v = load(b, b0 + k, kind) - mean
        store(d_b, db0 + k, load(d_b, db0 + k, kind) + per_boundary * v)
        store(d, d0 + k, strength * part * load(d, d0 + k, kind) - per_read * load(read, r0 + k, kind))
