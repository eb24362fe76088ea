"""One step of the associative LSTM in Numba, forward and backward: a tile of samples at a time, one a SIMD lane.

    rows      [row, batch]             what the weights give: gates and vectors as `AssociativeLSTM` orders them
    before    [copy, 2 units, batch]   the memory; `after` and `d_memory` likewise
    order     [copy, unit]             the permutations
    tile      what one tile of the rows becomes, [row][lane]: sigmoids, bounded vectors, and then the factors that
              bounded the vectors; `d_tile` the gradient of the bounded vectors

The batch is a multiple of the lanes. The backward pass computes again what it needs from rows and memories: that is
cheaper than to keep it.
"""

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import (
    fill,
    hyperbolic_tangent,
    lanes_of,
    load,
    rectify,
    root,
    store,
    where_positive,
)


@helper
def bound(real, imaginary, kind):
    """z / max(1, |z|) and the factor."""
    one = fill(1.0, kind)
    scale = one / root(one + rectify(real * real + imaginary * imaginary - one))
    return real * scale, imaginary * scale, scale


@helper
def bound_backward(real, imaginary, scale, d_real, d_imaginary, product, kind):
    """The gradient of z, from that of its bounded value and the inner product of the two: a number that was brought
    onto the circle can only turn."""
    radial = where_positive(fill(1.0, kind) - scale, product)
    return scale * (d_real - real * radial), scale * (d_imaginary - imaginary * radial)


@helper
def activate(kind, heads, units, width, first, rows, tile):
    lanes, half, n = lanes_of(kind), fill(0.5, kind), heads * units
    vectors, scales = units + 2 * n, units + 8 * n
    for i in range(vectors):
        x = half * load(rows, i * width + first, kind)
        store(tile, i * lanes, half + half * hyperbolic_tangent(x))  # the sigmoid
    for j in range(3):
        for i in range(n):
            r = vectors + 2 * j * n + i
            real, imaginary, scale = bound(
                load(rows, r * width + first, kind), load(rows, (r + n) * width + first, kind), kind
            )
            store(tile, r * lanes, real)
            store(tile, (r + n) * lanes, imaginary)
            store(tile, (scales + j * n + i) * lanes, scale)


@helper
def hear(kind, head, unit, heads, width, first, order, memory, tile):
    """What a head reads in a unit, bounded, and the factor that bounded it."""
    copies, units = order.shape
    lanes, keys, imaginary = lanes_of(kind), units * (1 + 6 * heads + head), heads * units
    a, b = fill(0.0, kind), fill(0.0, kind)
    for s in range(copies):
        key, c = keys + order[s, unit], (2 * s * units + unit) * width + first
        x, y = load(tile, key * lanes, kind), load(tile, (key + imaginary) * lanes, kind)
        real, imag = load(memory, c, kind), load(memory, c + units * width, kind)
        a, b = a + (x * real - y * imag), b + (x * imag + y * real)
    mean = fill(1.0 / copies, kind)
    return bound(mean * a, mean * b, kind)


@cached
def forward(kind, width, order, rows, before, after, hidden, tile):
    copies, units = order.shape
    heads = (len(rows) // (width * units) - 1) // 8
    lanes, n, mean = lanes_of(kind), heads * units, fill(1.0 / heads, kind)
    enter, leave, updates, keys = units, units + n, units + 2 * n, units + 4 * n
    for first in range(0, width, lanes):
        activate(kind, heads, units, width, first, rows, tile)
        for u in range(units):
            forget = load(tile, u * lanes, kind)
            for s in range(copies):
                p, c = order[s, u], (2 * s * units + u) * width + first
                real = forget * load(before, c, kind)
                imaginary = forget * load(before, c + units * width, kind)
                for k in range(0, n, units):
                    gate = load(tile, (enter + k + u) * lanes, kind)
                    a = gate * load(tile, (updates + k + u) * lanes, kind)
                    b = gate * load(tile, (updates + n + k + u) * lanes, kind)
                    x, y = load(tile, (keys + k + p) * lanes, kind), load(tile, (keys + n + k + p) * lanes, kind)
                    real, imaginary = real + (x * a - y * b), imaginary + (x * b + y * a)
                store(after, c, real)
                store(after, c + units * width, imaginary)
            real, imaginary = fill(0.0, kind), fill(0.0, kind)
            for k in range(heads):
                a, b, _ = hear(kind, k, u, heads, width, first, order, after, tile)
                gate = load(tile, (leave + k * units + u) * lanes, kind)
                real, imaginary = real + gate * a, imaginary + gate * b
            store(hidden, u * width + first, mean * real)
            store(hidden, (units + u) * width + first, mean * imaginary)


@cached
def backward(kind, width, order, rows, before, after, d_hidden, d_memory, d_rows, tile, d_tile):
    """`d_memory`, the gradient of `after`, becomes that of `before`."""
    copies, units = order.shape
    heads = (len(rows) // (width * units) - 1) // 8
    lanes, n, zero, one = lanes_of(kind), heads * units, fill(0.0, kind), fill(1.0, kind)
    enter, leave, updates, keys, end = units, units + n, units + 2 * n, units + 4 * n, units + 8 * n
    by_heads, by_copies = fill(1.0 / heads, kind), fill(1.0 / copies, kind)
    for first in range(0, width, lanes):
        activate(kind, heads, units, width, first, rows, tile)
        for i in range(updates, end):
            store(d_tile, i * lanes, zero)
        for u in range(units):
            d_real = by_heads * load(d_hidden, u * width + first, kind)
            d_imaginary = by_heads * load(d_hidden, (units + u) * width + first, kind)
            for k in range(heads):
                a, b, scale = hear(kind, k, u, heads, width, first, order, after, tile)
                gate, product = load(tile, (leave + k * units + u) * lanes, kind), a * d_real + b * d_imaginary
                store(d_rows, (leave + k * units + u) * width + first, product * gate * (one - gate))
                d_a, d_b = bound_backward(a, b, scale, d_real, d_imaginary, product, kind)
                # in the rows of the gates, which have no use for them: the gradient of the sum over the copies
                store(d_tile, 2 * k * lanes, by_copies * gate * d_a)
                store(d_tile, (2 * k + 1) * lanes, by_copies * gate * d_b)
            forget, d_forget = load(tile, u * lanes, kind), zero
            for s in range(copies):
                p, c = order[s, u], (2 * s * units + u) * width + first
                real, imaginary = load(after, c, kind), load(after, c + units * width, kind)
                g, h = load(d_memory, c, kind), load(d_memory, c + units * width, kind)
                for k in range(heads):
                    d_a, d_b = load(d_tile, 2 * k * lanes, kind), load(d_tile, (2 * k + 1) * lanes, kind)
                    i = (keys + 2 * n + k * units + p) * lanes
                    j = i + n * lanes
                    x, y = load(tile, i, kind), load(tile, j, kind)
                    g, h = g + (d_a * x + d_b * y), h + (d_b * x - d_a * y)
                    store(d_tile, i, load(d_tile, i, kind) + (d_a * real + d_b * imaginary))
                    store(d_tile, j, load(d_tile, j, kind) + (d_b * real - d_a * imaginary))
                d_forget = d_forget + (g * load(before, c, kind) + h * load(before, c + units * width, kind))
                store(d_memory, c, forget * g)
                store(d_memory, c + units * width, forget * h)
                for k in range(0, n, units):
                    i, v = (keys + k + p) * lanes, (updates + k + u) * lanes
                    j, w = i + n * lanes, v + n * lanes
                    x, y, gate = load(tile, i, kind), load(tile, j, kind), load(tile, (enter + k + u) * lanes, kind)
                    a, b = gate * load(tile, v, kind), gate * load(tile, w, kind)
                    store(d_tile, v, load(d_tile, v, kind) + (g * x + h * y))
                    store(d_tile, w, load(d_tile, w, kind) + (h * x - g * y))
                    store(d_tile, i, load(d_tile, i, kind) + (g * a + h * b))
                    store(d_tile, j, load(d_tile, j, kind) + (h * a - g * b))
            store(d_rows, u * width + first, d_forget * forget * (one - forget))
        for j in range(3):
            for i in range(n):
                r = updates + 2 * j * n + i
                a, b = load(tile, r * lanes, kind), load(tile, (r + n) * lanes, kind)
                d_a, d_b = load(d_tile, r * lanes, kind), load(d_tile, (r + n) * lanes, kind)
                product, scale = a * d_a + b * d_b, load(tile, (end + j * n + i) * lanes, kind)
                d_a, d_b = bound_backward(a, b, scale, d_a, d_b, product, kind)
                if j == 0:
                    gate = load(tile, (enter + i) * lanes, kind)
                    store(d_rows, (enter + i) * width + first, product * gate * (one - gate))
                    d_a, d_b = gate * d_a, gate * d_b
                store(d_rows, r * width + first, d_a)
                store(d_rows, (r + n) * width + first, d_b)
