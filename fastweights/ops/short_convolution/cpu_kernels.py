"""The short convolution in Numba, forward and backward: a few tokens of a head at a time, a vector of its channels.

    tokens       the first, how many, the first of the sample in `resets`; channels; the width
    x, d_x       [batch, time, channel]         recent, d_recent    [batch, width - 1, channel]
    weight       [4, channel]                   of the token itself first; zeros behind those that there are
    parts        three of (heads, size, whether of unit length); where there are fewer, of no heads
    outputs      of each part [batch, time, heads, size]; d_outputs likewise

Tensors come as addresses, 0 where there is none; `kind`, an empty array, carries dtype and lanes. A share is some of
the heads of all parts: no two shares add to the same weight. The backward pass goes back in time, and computes again
what was convolved. What a token does not see is zero in the registers that hold its neighbours, not in the weights:
an infinite number that lies further back stays there.
"""

import math

import numba
import numpy

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import at, fill, integer, lanes_of, load, spread, store
from fastweights.ops.cpu.vectors import ANY, bring, clear, exponential, numbers, put, some, sum_of
from fastweights.ops.short_convolution.part import BLOCK, EPSILON


@helper
def earlier(kind, x, place, back, tokens, before, resets, count):
    """x_(t-back), or zeros where a token t that begins nothing anew does not see it. `place` is that of x_t; where
    there are inputs before the first, they lie `far` behind."""
    (t, _, z, channels, width), (old, far) = tokens, before
    past = t - back
    if back >= width or (past < 0 and old == 0):
        return fill(0.0, kind)
    if len(resets):
        for i in range(max(0, past + 1), t):
            if resets[z + i]:
                return fill(0.0, kind)
    return some(kind, x, place - back * channels + (far if past < 0 else 0), count)


@helper
def convolve(kind, x, place, weight, w, tokens, before, resets, count, out, o, step, own, squares, slopes, ahead):
    """out[o + i step] = silu(sum_j weight_j x_(t+i-j)), of a vector of channels and n tokens from t on.

    Their squares are added to own[squares + i lanes]; where `slopes`, what the SiLU passes on goes to own[slopes +
    i step]. Tokens that are `ahead` are brought near.
    """
    t, n, z, channels, width = tokens
    w0, w1 = some(kind, weight, w, count), some(kind, weight, w + channels, count)
    w2, w3 = some(kind, weight, w + 2 * channels, count), some(kind, weight, w + 3 * channels, count)
    x1 = earlier(kind, x, place, 1, tokens, before, resets, count)
    x2 = earlier(kind, x, place, 2, tokens, before, resets, count)
    x3 = earlier(kind, x, place, 3, tokens, before, resets, count)
    zero, one, lanes = fill(0.0, kind), fill(1.0, kind), lanes_of(kind)
    for i in range(n):
        if len(resets) and resets[z + t + i]:
            x1, x2, x3 = zero, zero, zero
        bring(x, place + (i + ahead) * channels)
        x0 = some(kind, x, place + i * channels, count)
        s = (w0 * x0 + w1 * x1) + (w2 * x2 + w3 * x3)
        open = one / (one + exponential(zero - s))
        y = s * open
        put(kind, out, o + i * step, y, count)
        store(own, squares + i * lanes, load(own, squares + i * lanes, kind) + y * y)
        if slopes:
            store(own, slopes + i * step, open + y * (one - open))
        x3 = x2 if width > 3 else x3
        x2 = x1 if width > 2 else x2
        x1 = x0 if width > 1 else x1


@helper
def inner(kind, source, s, step, n, own, y, y_step, sums, count):
    """own[sums + i lanes] += source[s + i step] own[y + i y_step]"""
    for i in range(n):
        at_sums = sums + i * lanes_of(kind)
        product = some(kind, source, s + i * step, count) * some(kind, own, y + i * y_step, count)
        store(own, at_sums, load(own, at_sums, kind) + product)


@helper
def spread_back(
    kind, x, d_x, place, weight, w, tokens, resets, count, d_out, s, step, own, y, y_step, factors, kept, begin
):  # fmt: skip
    """Gradients of a vector of channels, from token t + n - 1 back to t.

    own[kept + j lanes]: the gradients before the SiLU of the next three tokens, and the sums of four weights. begin:
    there is no next token. factors: what each token's gradient is scaled by, and how much of y is taken off it. The
    rows of y, and behind them those of the slopes, are y_step apart; 0: there are no outputs at these tokens.
    """
    (t, n, z, channels, width), lanes = tokens, lanes_of(kind)
    w0, w1 = some(kind, weight, w, count), some(kind, weight, w + channels, count)
    w2, w3 = some(kind, weight, w + 2 * channels, count), some(kind, weight, w + 3 * channels, count)
    zero = fill(0.0, kind)
    d1, d2, d3 = zero, zero, zero
    if not begin:
        d1, d2, d3 = load(own, kept, kind), load(own, kept + lanes, kind), load(own, kept + 2 * lanes, kind)
    g0, g1 = load(own, kept + 3 * lanes, kind), load(own, kept + 4 * lanes, kind)
    g2, g3 = load(own, kept + 5 * lanes, kind), load(own, kept + 6 * lanes, kind)
    for i in range(n - 1, -1, -1):
        d0 = zero
        if y_step:
            d0 = some(kind, d_out, s + i * step, count) * spread(own, factors + 2 * i, kind)
            d0 = d0 - load(own, y + i * y_step, kind) * spread(own, factors + 2 * i + 1, kind)
            d0 = d0 * load(own, y + (BLOCK + i) * y_step, kind)
        bring(d_out, s + (i - BLOCK) * step)
        bring(d_x, place + (i - BLOCK) * channels)
        now = some(kind, x, place + i * channels, count)
        g0, g1, g2, g3 = g0 + d0 * now, g1 + d1 * now, g2 + d2 * now, g3 + d3 * now
        put(kind, d_x, place + i * channels, (w0 * d0 + w1 * d1) + (w2 * d2 + w3 * d3), count)
        d3 = d2 if width > 3 else d3
        d2 = d1 if width > 2 else d2
        d1 = d0 if width > 1 else d1
        if y_step and len(resets) and resets[z + t + i]:
            d1, d2, d3 = zero, zero, zero
    store(own, kept, d1)
    store(own, kept + lanes, d2)
    store(own, kept + 2 * lanes, d3)
    store(own, kept + 3 * lanes, g0)
    store(own, kept + 4 * lanes, g1)
    store(own, kept + 5 * lanes, g2)
    store(own, kept + 6 * lanes, g3)


@cached
def forward(kind, share, sizes, parts, addresses):
    """Of heads [share[0], share[1])."""
    batch, time, channels, width = sizes
    ax, aold, aweight, aresets = addresses[:4]
    x, weight, own, lanes = numbers(ax, kind), numbers(aweight, kind), numbers(addresses[7], kind), lanes_of(kind)
    resets = numba.carray(at(aresets, numpy.uint8), (ANY if aresets else 0,))
    outs = (numbers(addresses[4], kind), numbers(addresses[5], kind), numbers(addresses[6], kind))
    zero = integer(0)
    for b in range(batch):
        before = aold, (aold - ax) // kind.itemsize + (b * (width - 1) + width - 1 - b * time) * channels
        for t in range(0, time, BLOCK):
            n, row, base, first = min(BLOCK, time - t), (b * time + t) * channels, 0, 0
            tokens = t, n, b * time, channels, width
            for p in range(3):
                heads, size, unit = parts[p]
                out, step = outs[p], heads * size
                for head in range(max(0, share[0] - base), min(heads, share[1] - base)):
                    o = ((b * time + t) * heads + head) * size
                    clear(kind, own, zero, n * lanes)
                    for c in range(0, size, lanes):
                        w = first + head * size + c
                        convolve(
                            kind, x, row + w, weight, w, tokens, before, resets, min(lanes, size - c), out, o + c, step,
                            own, zero, zero, BLOCK,
                        )  # fmt: skip
                    if unit:
                        for i in range(n):
                            scale = fill(1.0 / math.sqrt(sum_of(load(own, i * lanes, kind)) + EPSILON), kind)
                            for c in range(0, size, lanes):
                                place, count = o + i * step + c, min(lanes, size - c)
                                put(kind, out, place, scale * some(kind, out, place, count), count)
                base, first = base + heads, first + heads * size


@cached
def backward(kind, share, sizes, parts, addresses):
    """Of heads [share[0], share[1]): d_x, d_recent, and what the share has of d_weight."""
    batch, time, channels, width, wide, held = sizes
    ax, aold, aweight, aresets = addresses[:4]
    ad_x, ad_old, ad_weight, aown = addresses[7:]
    x, weight, lanes = numbers(ax, kind), numbers(aweight, kind), lanes_of(kind)
    resets = numba.carray(at(aresets, numpy.uint8), (ANY if aresets else 0,))
    given = (numbers(addresses[4], kind), numbers(addresses[5], kind), numbers(addresses[6], kind))
    d_x, d_old, d_weight = numbers(ad_x, kind), numbers(ad_old, kind), numbers(ad_weight, kind)
    own, recent, zero = numbers(aown, kind), numbers(aold, kind), integer(0)
    sums, factors, ys = BLOCK * lanes, 2 * BLOCK * lanes, 2 * BLOCK * (lanes + 1)
    slopes, kept, many, blocks = ys + BLOCK * wide, ys + 2 * BLOCK * wide, 7 * lanes, (time + BLOCK - 1) // BLOCK
    clear(kind, own, kept, held)
    for b in range(batch):
        before = aold, (aold - ax) // kind.itemsize + (b * (width - 1) + width - 1 - b * time) * channels
        for back in range(blocks):
            t = (blocks - 1 - back) * BLOCK
            n, row, base, first, area = min(BLOCK, time - t), (b * time + t) * channels, 0, 0, kept
            tokens, earliest = (t, n, b * time, channels, width), (zero, width - 1, zero, channels, width)
            for p in range(3):
                heads, size, unit = parts[p]
                d_out, step = given[p], heads * size
                for head in range(max(0, share[0] - base), min(heads, share[1] - base)):
                    o, w0 = ((b * time + t) * heads + head) * size, first + head * size
                    clear(kind, own, zero, factors)
                    for c in range(0, size, lanes):
                        w, count = w0 + c, min(lanes, size - c)
                        convolve(
                            kind, x, row + w, weight, w, tokens, before, resets, count, own, ys + c, wide,
                            own, zero, slopes + c, -BLOCK,
                        )  # fmt: skip
                        if unit:
                            inner(kind, d_out, o + c, step, n, own, ys + c, wide, sums, count)
                    for i in range(n):
                        scale, along = 1.0, 0.0
                        if unit:
                            scale = 1.0 / math.sqrt(sum_of(load(own, i * lanes, kind)) + EPSILON)
                            along = scale * scale * scale * sum_of(load(own, sums + i * lanes, kind))
                        own[factors + 2 * i], own[factors + 2 * i + 1] = scale, along
                    for c in range(0, size, lanes):
                        w, count = w0 + c, min(lanes, size - c)
                        spread_back(
                            kind, x, d_x, row + w, weight, w, tokens, resets, count, d_out, o + c, step,
                            own, ys + c, wide, factors, area, back == 0,
                        )  # fmt: skip
                        if aold and t == 0:
                            spread_back(
                                kind, recent, d_old, b * (width - 1) * channels + w, weight, w, earliest, resets, count,
                                d_out, zero, zero, own, zero, zero, factors, area, False,
                            )  # fmt: skip
                        area += many
                base, first = base + heads, first + heads * size
    base, first, area = 0, 0, kept + 3 * lanes
    for p in range(3):
        heads, size, _ = parts[p]
        for head in range(max(0, share[0] - base), min(heads, share[1] - base)):
            for c in range(0, size, lanes):
                for j in range(width):
                    place = j * channels + first + head * size + c
                    put(kind, d_weight, place, load(own, area + j * lanes, kind), min(lanes, size - c))
                area += many
        base, first = base + heads, first + heads * size
