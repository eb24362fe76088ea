"""The canonical step over whole sequences in Numba, forward and backward: one head of one sample at a time.

A chunk begins at each multiple of `most` tokens, and where the decay since its first token falls below `least`. In it
all is scaled to the first token: q~ = q a, e~ = strength e a, k~ = k / a, with a the decay since then, and S the memory
after the first decay. With L and A the triangles of e~ k~^T (strict) and q~ k~^T:

    X = (1 + L)^-1 (strength u - e~ S)        o = q~ S + A X        S' = a_last (S + k~^T X)

The memory is [key, value] here. Tensors come as addresses, 0 where there is none, and with their steps from sample to
sample, token to token and head to head; `kind`, an empty array, carries dtype and lanes; `places` says where each part
of the scratch memory begins, `cpu_passes.py` lays it out.
"""

import numba
import numpy

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import at, fill, integer, lanes_of, store
from fastweights.ops.fast_weights_scan.cpu_decays import cut, first_decay
from fastweights.ops.fast_weights_scan.cpu_products import (
    lower_product,
    multiply,
    multiply_lower,
    solve_lower,
    turn,
)
from fastweights.ops.fast_weights_scan.cpu_rows import _ANY, clear, numbers, put, scale_rows, take


@helper
def begin(kind, own, size, ones, wide, tall, rows, decay, inverse):
    """Zeros but for ones: a row with a vector of zeros behind it, and the decays of a chunk."""
    lanes = lanes_of(kind)
    clear(kind, own, integer(0), size)
    for c in range(0, max(wide, tall), lanes):
        store(own, ones + c, fill(1.0, kind))
    for c in range(0, rows * wide, lanes):
        store(own, decay + c, fill(1.0, kind))
        store(own, inverse + c, fill(1.0, kind))


@helper
def turn_in(kind, source, s, keys, values, wide, tall, ones, own, square, o):
    """A memory [value, key] of a tensor as [key, value] in scratch memory; `square` is overwritten."""
    clear(kind, own, square, tall * wide)
    for i in range(values):
        take(kind, source, s + i * keys, keys, ones, 1.0, own, square + i * wide)
    turn(kind, own, square, wide, tall, wide, o, tall)


@helper
def turn_out(kind, own, o, keys, values, wide, tall, square, out, place):
    """The way back."""
    turn(kind, own, o, tall, wide, tall, square, wide)
    for i in range(values):
        put(kind, own, square + i * wide, keys, out, place + i * keys)


@cached
def forward(kind, heads, sizes, steps, places, least, tensors):
    """Outputs and last memory of heads [heads[0], heads[1]); X and the memory at each chunk are kept where `keep`."""
    time, many, keys, values, wide, tall, most, channels, erased, undecayed, rows, keep, total = sizes
    aq, ak, au, ae, astrength, ag, astate, alengths, aresets, aout, alast, awritten, amemories, aown = tensors
    qb, qt, qh, kb, kt, kh, ub, ut, uh, eb, et, eh, sb, st, sh, gb, gt, gh = steps
    ones, qs, es, ks, kT, A, L, X, read, S, decay, inverse, start, row, square = places
    one, areas = integer(1), (ones, decay, inverse, row, start)
    edge = ones + max(wide, tall) - lanes_of(kind)  # the last ones, and the zeros behind them
    q, k, u, e = numbers(aq, kind), numbers(ak, kind), numbers(au, kind), numbers(ae, kind)
    strength, g, state = numbers(astrength, kind), numbers(ag, kind), numbers(astate, kind)
    out, last, written = numbers(aout, kind), numbers(alast, kind), numbers(awritten, kind)
    memories, own, lengths = numbers(amemories, kind), numbers(aown, kind), numbers(alengths, numpy.int64)
    resets = numba.carray(at(aresets, numpy.uint8), (_ANY if aresets else 0,))
    begin(kind, own, total, ones, wide, tall, rows, decay, inverse)
    size, chunks = wide * tall, (time + most - 1) // most
    for head in range(heads[0], heads[1]):
        b, h = head // many, head % many
        end = lengths[b] if alengths else time
        if astate:
            turn_in(kind, state, head * values * keys, keys, values, wide, tall, ones, own, square, S)
        else:
            clear(kind, own, S, size)
        q0, k0, u0, e0 = b * qb + h * qh, b * kb + h * kh, b * ub + h * uh, b * eb + h * eh
        s0, g0, o0 = b * sb + h * sh, b * gb + h * gh, (b * time * many + h) * values
        t = 0
        while t < end:
            border = min(end, (t // most + 1) * most)
            if keep and t % most == 0:
                put(kind, own, S, size, memories, (head * chunks + t // most) * size)
            n = cut(kind, g, g0 + t * gt, gt, channels, wide, resets, b * time + t, border - t, least, own, areas)
            if aresets and resets[b * time + t]:
                clear(kind, own, S, size)
            for i in range(n):
                j, place = t + i, i * wide
                weight = strength[s0 + j * st] if astrength else 1.0
                take(kind, u, u0 + j * ut, values, ones, weight, own, X + i * tall)
                take(kind, q, q0 + j * qt, keys, decay + place, 1.0, own, qs + place)
                take(kind, k, k0 + j * kt, keys, inverse + place, 1.0, own, ks + place)
                if erased:
                    seen = decay + (place - wide if undecayed and i else place)
                    take(kind, e, e0 + j * et, keys, seen, weight, own, es + place)
            if undecayed:
                multiply(kind, own, es, wide, one, one, keys, S, -1.0, True, X, tall)
                clear(kind, own, es, wide)
            if channels:
                first_decay(kind, g, g0 + t * gt, channels, wide, own, areas)
                scale_rows(kind, own, start, keys, S, tall)
            turn(kind, own, ks, wide, n, wide, kT, rows)
            if erased:
                multiply(kind, own, es, wide, one, n, keys, S, -1.0, True, X, tall)
                lower_product(kind, own, es, wide, n, keys, kT, rows, 1.0, True, edge, L)
                solve_lower(kind, own, L, rows, n, X, tall)
            lower_product(kind, own, qs, wide, n, keys, kT, rows, 1.0, False, edge, A)
            multiply(kind, own, qs, wide, one, n, keys, S, 1.0, False, read, tall)
            multiply_lower(kind, own, A, rows, n, X, read, tall)
            multiply(kind, own, ks, one, wide, keys, n, X, 1.0, True, S, tall)
            if channels:
                scale_rows(kind, own, decay + (n - 1) * wide, keys, S, tall)
            for i in range(n):
                put(kind, own, read + i * tall, values, out, o0 + (t + i) * many * values)
            if keep and erased:
                put(kind, own, X, n * tall, written, (head * time + t) * tall)
            t += n
        turn_out(kind, own, S, keys, values, wide, tall, square, last, head * values * keys)
