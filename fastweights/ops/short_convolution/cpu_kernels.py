"""The short convolution in Numba, forward and backward: one token after the other, a head at a time.

    x, d_x       [batch, time, channel]         recent, d_recent    [batch, width - 1, channel]
    weight       [width, channel]               of the token itself first
    parts        three of (heads, size, whether of unit length); where there are fewer, of no heads
    outputs      of each part [batch, time, heads, size]; d_outputs likewise

Tensors come as addresses, 0 where there is none; `kind`, an empty array, carries dtype and lanes. A share is some of
the heads of all parts: no two shares add to the same weight. The backward pass goes back in time, and computes again
what was convolved. It has a ring of as many rows as the convolution is wide, of the gradients before the SiLU.
"""

import math

import numba
import numpy

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import at, fill, lanes_of, load, store
from fastweights.ops.cpu.vectors import ANY, exponential, load_first, numbers, store_first, sum_of
from fastweights.ops.short_convolution.part import EPSILON


@helper
def some(kind, source, place, count):
    """Of a row that ends after `count` numbers, the next vector; what lies behind the end is zero."""
    if count >= lanes_of(kind):
        return load(source, place, kind)
    return load_first(source, place, count, kind)


@helper
def put(kind, out, place, value, count):
    if count >= lanes_of(kind):
        store(out, place, value)
    else:
        store_first(out, place, value, count)


@helper
def before(t, width, resets, z, has_recent):
    """How many tokens one sees, itself and those before it."""
    most = width if has_recent else min(width, t + 1)
    count = 1
    while count < most:
        past = t - count + 1
        if len(resets) and past >= 0 and resets[z + past]:
            break
        count += 1
    return count


@helper
def after(t, width, time, resets, z):
    """By how many tokens one is seen, itself and those after it."""
    most, count = min(width, time - t), 1
    while count < most and not (len(resets) and t + count >= 0 and resets[z + t + count]):
        count += 1
    return count


@helper
def convolve(kind, x, place, old, step, held, seen, weight, w, channels, count):
    """sum_j weight_j x_(t-j) of a vector of channels; of the tokens that are seen, `held` lie in x, the others before
    them at `old`, in steps of a row."""
    total = some(kind, weight, w, count) * some(kind, x, place, count)
    for j in range(1, held):
        total = total + some(kind, weight, w + j * channels, count) * some(kind, x, place - j * step, count)
    for j in range(held, seen):
        total = total + some(kind, weight, w + j * channels, count) * some(kind, x, old - j * step, count)
    return total


@helper
def sigmoid(kind, z):
    one = fill(1.0, kind)
    return one / (one + exponential(fill(0.0, kind) - z))


@cached
def forward(kind, share, sizes, parts, addresses):
    """Of heads [share[0], share[1])."""
    batch, time, channels, width = sizes
    ax, aold, aweight, aresets = addresses[:4]
    x, weight, lanes = numbers(ax, kind), numbers(aweight, kind), lanes_of(kind)
    resets = numba.carray(at(aresets, numpy.uint8), (ANY if aresets else 0,))
    outs = (numbers(addresses[4], kind), numbers(addresses[5], kind), numbers(addresses[6], kind))
    far = (aold - ax) // kind.itemsize if aold else 0
    for b in range(batch):
        for t in range(time):
            seen = before(t, width, resets, b * time, aold != 0)
            held = min(seen, t + 1)
            row, old = (b * time + t) * channels, far + (b * (width - 1) + width - 1 + t) * channels
            base, first = 0, 0
            for p in range(3):
                heads, size, unit = parts[p]
                out = outs[p]
                for head in range(max(0, share[0] - base), min(heads, share[1] - base)):
                    c0, o = first + head * size, ((b * time + t) * heads + head) * size
                    total = fill(0.0, kind)
                    for c in range(0, size, lanes):
                        place, count = c0 + c, size - c
                        z = convolve(
                            kind, x, row + place, old + place, channels, held, seen, weight, place, channels, count
                        )
                        y = z * sigmoid(kind, z)
                        total = total + y * y
                        put(kind, out, o + c, y, count)
                    if unit:
                        scale = fill(1.0 / math.sqrt(sum_of(total) + EPSILON), kind)
                        for c in range(0, size, lanes):
                            put(kind, out, o + c, scale * some(kind, out, o + c, size - c), size - c)
                base, first = base + heads, first + heads * size


@cached
def backward(kind, share, sizes, parts, addresses):
    """Of heads [share[0], share[1]): d_x, d_recent, and what the share has of d_weight."""
    batch, time, channels, width, wide = sizes
    ax, aold, aweight, aresets = addresses[:4]
    ad_x, ad_old, ad_weight, aown = addresses[7:]
    x, weight, lanes = numbers(ax, kind), numbers(aweight, kind), lanes_of(kind)
    resets = numba.carray(at(aresets, numpy.uint8), (ANY if aresets else 0,))
    given = (numbers(addresses[4], kind), numbers(addresses[5], kind), numbers(addresses[6], kind))
    d_x, d_weight, own = numbers(ad_x, kind), numbers(ad_weight, kind), numbers(aown, kind)
    far = (aold - ax) // kind.itemsize if aold else 0
    d_far = (ad_old - ad_x) // kind.itemsize if ad_old else 0
    ring, sums = 0, width * wide  # rows of gradients, and of what the weights get; then y and the slope of a head
    ys, slopes = 2 * width * wide, 2 * width * wide + wide
    for c in range(0, 2 * width * wide, lanes):
        store(own, c, fill(0.0, kind))
    for b in range(batch):
        for back in range(time + (width - 1 if aold else 0)):
            t = time - 1 - back
            later = after(t, width, time, resets, b * time)
            seen = before(t, width, resets, b * time, aold != 0)
            held = min(seen, t + 1)
            row, old = (b * time + t) * channels, (b * (width - 1) + width - 1 + t) * channels
            to, turn = row if t >= 0 else d_far + old, ring + ((t + width) % width) * wide
            old += far
            base, first = 0, 0
            for p in range(3):
                heads, size, unit = parts[p]
                d_out = given[p]
                for head in range(max(0, share[0] - base), min(heads, share[1] - base)):
                    c0, o = first + head * size, ((b * time + t) * heads + head) * size
                    square, inner = fill(0.0, kind), fill(0.0, kind)
                    if t >= 0:
                        for c in range(0, size, lanes):
                            place, count = c0 + c, size - c
                            z = convolve(
                                kind, x, row + place, old + place, channels, held, seen, weight, place, channels, count
                            )
                            s = sigmoid(kind, z)
                            y = z * s
                            store(own, ys + c, y)
                            store(own, slopes + c, s + y * (fill(1.0, kind) - s))
                            square = square + y * y
                            inner = inner + y * some(kind, d_out, o + c, count)
                    scale, along = fill(1.0, kind), fill(0.0, kind)
                    if unit:
                        by = 1.0 / math.sqrt(sum_of(square) + EPSILON)
                        scale, along = fill(by, kind), fill(by * by * by * sum_of(inner), kind)
                    for c in range(0, size, lanes):
                        place, count = c0 + c, size - c
                        d = fill(0.0, kind)
                        if t >= 0:
                            d = scale * some(kind, d_out, o + c, count) - along * load(own, ys + c, kind)
                            d = d * load(own, slopes + c, kind)
                            for j in range(held):
                                got = load(own, sums + j * wide + place, kind)
                                got = got + d * some(kind, x, row + place - j * channels, count)
                                put(kind, own, sums + j * wide + place, got, count)
                            for j in range(held, seen):
                                got = load(own, sums + j * wide + place, kind)
                                got = got + d * some(kind, x, old + place - j * channels, count)
                                put(kind, own, sums + j * wide + place, got, count)
                        store(own, turn + place, d)
                        total = some(kind, weight, place, count) * d
                        for j in range(1, later):
                            following = load(own, ring + ((t + j + width) % width) * wide + place, kind)
                            total = total + some(kind, weight, place + j * channels, count) * following
                        put(kind, d_x, to + place, total, count)
                base, first = base + heads, first + heads * size
    base, first = 0, 0
    for p in range(3):
        heads, size, _ = parts[p]
        for c in range(first + max(0, share[0] - base) * size, first + min(heads, share[1] - base) * size):
            for j in range(width):
                d_weight[j * channels + c] = own[sums + j * wide + c]
        base, first = base + heads, first + heads * size
