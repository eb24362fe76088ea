"""The decays of a chunk, and their gradients.

`areas` says where in the scratch memory lie: a row of ones, the decays since the first token of the chunk and their
inverses, a row of each token; a row for what is taken; and the decays before the first token.
"""

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import fill, integer, lanes_of, load, spread, store, where_positive
from fastweights.ops.cpu.vectors import exponential
from fastweights.ops.fast_weights_scan.cpu_rows import take, totals


@helper
def cut(kind, g, g0, step, channels, wide, resets, z0, most, least, own, areas):
    """The number of tokens of the chunk that begins at g0, at most `most`, and their decays.

    The chunk ends where a decay falls below `least`, so that no inverse is large, and where the memory begins anew.
    channels: 0 where nothing decays, 1 where all keys decay as one, else the number of keys.
    """
    ones, decay, inverse, row, start = areas
    lanes, n, product, zero, one = lanes_of(kind), 1, 1.0, integer(0), integer(1)
    if channels == 1:
        for i in range(most):
            own[row + i] = g[g0 + i * step]
        for c in range(row, row + most, lanes):
            store(own, c, exponential(load(own, c, kind)))
        for c in range(start, start + wide, lanes):
            store(own, c, spread(own, row, kind))
    elif channels:
        take(kind, g, g0, zero, one, channels, ones, zero, ones, own, row, wide, zero)
        for c in range(0, wide, lanes):
            store(own, start + c, exponential(load(own, row + c, kind)))
    while n < most and not (len(resets) and resets[z0 + n]):
        place = n * wide
        if channels == 1:
            product *= own[row + n]
            if product < least:
                break
            a, b = fill(product, kind), fill(1.0 / product, kind)
            for c in range(place, place + wide, lanes):
                store(own, decay + c, a)
                store(own, inverse + c, b)
        elif channels:
            take(kind, g, g0 + n * step, zero, one, channels, ones, zero, ones, own, row, wide, zero)
            low = 1.0
            for c in range(0, wide, lanes):
                before = load(own, decay + place - wide + c, kind)
                store(own, decay + place + c, before * exponential(load(own, row + c, kind)))
            for c in range(decay + place, decay + place + channels):
                low = min(low, own[c])
            if low < least:
                break
            for c in range(place, place + wide, lanes):
                store(own, inverse + c, fill(1.0, kind) / load(own, decay + c, kind))
        n += 1
    return n


@helper
def through(kind, own, n, wide, qs, dqs, es, des, late, ks, dks, whole, flow):
    """flow[t, c]: what goes through the decay of token t from and to other chunks.

    That is what tokens from t on read of the memory before the chunk, what the memory after it has of tokens before t,
    and `whole`, what one memory has of the other. late: 0, 1 where a token reads by its erase before it decays, or n
    where nothing is erased. No two of these terms cancel, as sums over all that a token reads would.
    """
    for c in range(0, wide, lanes_of(kind)):
        total = fill(0.0, kind)
        for i in range(n - 1, -1, -1):
            o = i * wide + c
            total = total + load(own, qs + o, kind) * load(own, dqs + o, kind)
            if i + late < n:
                x = load(own, es + o + late * wide, kind)
                total = total + x * load(own, des + o + late * wide, kind)
            store(own, flow + o, total)
        total = load(own, whole + c, kind)
        for i in range(n):
            o = i * wide + c
            store(own, flow + o, load(own, flow + o, kind) + total)
            total = total + load(own, ks + o, kind) * load(own, dks + o, kind)


@helper
def add_pairs(kind, own, n, wide, P, qs, N, es, late, ks, rows, flow):
    """flow[t, c] += what tokens from t on read of those before t, in the same chunk."""
    lanes = lanes_of(kind)
    for c in range(0, wide, lanes):
        for i in range(1, n):
            q, m, erases = load(own, qs + i * wide + c, kind), i + late, i + late < n
            e = load(own, (es + m * wide if erases else qs) + c, kind)
            x, y = fill(0.0, kind), fill(0.0, kind)
            for j in range(i):
                k = load(own, ks + j * wide + c, kind)
                x = x + spread(own, P + i * rows + j, kind) * k
                through_j = q * x
                if erases:
                    y = y + spread(own, N + m * rows + j, kind) * k
                    through_j = through_j + e * y
                o = flow + (j + 1) * wide + c
                store(own, o, load(own, o, kind) + through_j)


@helper
def sum_pairs(kind, own, n, P, A, N, L, late, rows, edge, below, sums):
    """Vector t of `sums`: as `add_pairs`, for all channels together; `below` is a row of zeros."""
    lanes = lanes_of(kind)
    for c in range(0, rows, lanes):
        store(own, below + c, fill(0.0, kind))
    for i in range(n - 1, -1, -1):
        total = fill(0.0, kind)
        for c in range(0, i, lanes):
            o = i * rows + c
            x = load(own, below + c, kind) + load(own, P + o, kind) * load(own, A + o, kind)
            if i + late < n:
                o += late * rows
                x = x + load(own, N + o, kind) * load(own, L + o, kind)
            store(own, below + c, x)
            before = load(own, edge + lanes - min(lanes, i - c), kind)
            total = total + where_positive(before, x)
        store(own, sums + i * lanes, total)


@helper
def sum_flows(kind, own, n, wide, flow, ones, sums, square, out):
    """own[out + t] = the sum over the channels of flow[t], and of vector t of `sums`."""
    lanes = lanes_of(kind)
    for i in range(n):
        total = load(own, sums + i * lanes, kind)
        for c in range(i * wide, (i + 1) * wide, lanes):
            total = total + load(own, flow + c, kind)
        store(own, sums + i * lanes, total)
    totals(kind, own, sums, n, square, own, out, integer(1))
