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
from fastweights.ops.cpu.vectors import ANY, clear, numbers
from fastweights.ops.fast_weights_scan.cpu_decays import cut
from fastweights.ops.fast_weights_scan.cpu_products import (
    lower_product,
    multiply,
    multiply_lower,
    solve_lower,
    turn,
)
from fastweights.ops.fast_weights_scan.cpu_rows import copy, expect, put, scale_rows, take


@helper
def begin(kind, own, size, ones, most, rows, wide, decay, inverse):
    """Zeros but for ones: a row with a vector of zeros behind it, and the decays of a chunk."""
    lanes = lanes_of(kind)
    clear(kind, own, integer(0), size)
    for c in range(0, most, lanes):
        store(own, ones + c, fill(1.0, kind))
    for c in range(0, rows * wide, lanes):
        store(own, decay + c, fill(1.0, kind))
        store(own, inverse + c, fill(1.0, kind))


@helper
def weigh(strength, s0, step, n, given, own, weights):
    for i in range(n):
        own[weights + i] = strength[s0 + i * step] if given else 1.0


@helper
def turn_in(kind, source, s, keys, values, wide, tall, ones, own, square, o):
    """A memory [value, key] of a tensor as [key, value] in scratch memory; `square` is overwritten."""
    zero = integer(0)
    clear(kind, own, square, tall * wide)
    take(kind, source, s, keys, values, keys, ones, zero, ones, own, square, wide, zero)
    turn(kind, own, square, wide, tall, wide, o, tall)


@helper
def turn_out(kind, own, o, keys, values, wide, tall, square, out, place):
    """The way back."""
    turn(kind, own, o, tall, wide, tall, square, wide)
    put(kind, own, square, wide, values, keys, out, place, keys)


@cached
def forward(kind, heads, sizes, steps, places, least, tensors):
    """Outputs and last memory of heads [heads[0], heads[1]); X and the memory at each chunk are kept where `keep`."""
    time, many, keys, values, wide, tall, most, channels, erased, undecayed, rows, keep, total = sizes
    aq, ak, au, ae, astrength, ag, astate, alengths, aresets, aout, alast, awritten, amemories, aown = tensors
    qb, qt, qh, kb, kt, kh, ub, ut, uh, eb, et, eh, sb, st, sh, gb, gt, gh = steps
    ones, qs, es, ks, kT, A, L, X, read, S, decay, inverse, start, row, weights, square = places
    q, k, u, e = numbers(aq, kind), numbers(ak, kind), numbers(au, kind), numbers(ae, kind)
    strength, g, state = numbers(astrength, kind), numbers(ag, kind), numbers(astate, kind)
    out, last, written = numbers(aout, kind), numbers(alast, kind), numbers(awritten, kind)
    memories, own, lengths = numbers(amemories, kind), numbers(aown, kind), numbers(alengths, numpy.int64)
    resets = numba.carray(at(aresets, numpy.uint8), (ANY if aresets else 0,))
    zero, one, longest, areas = integer(0), integer(1), max(wide, tall, rows), (ones, decay, inverse, row, start)
    begin(kind, own, total, ones, longest, rows, wide, decay, inverse)
    edge = ones + longest - lanes_of(kind)  # the last ones, and the zeros behind them
    size, chunks, late = wide * tall, (time + most - 1) // most, 0 if undecayed else wide
    for head in range(heads[0], heads[1]):
        b, h = head // many, head % many
        end, z0 = lengths[b] if alengths else time, b * time
        if astate:
            turn_in(kind, state, head * values * keys, keys, values, wide, tall, ones, own, square, S)
        else:
            clear(kind, own, S, size)
        t = 0
        while t < end:
            border = min(end, (t // most + 1) * most)
            if keep and t % most == 0:
                copy(kind, own, S, size, memories, (head * chunks + t // most) * size, size)
            n = cut(
                kind, g, b * gb + h * gh + t * gt, gt, channels, wide, resets, z0 + t, border - t, least, own, areas
            )
            if aresets and resets[z0 + t]:
                clear(kind, own, S, size)
            q0, k0, u0, e0 = (
                b * qb + h * qh + t * qt,
                b * kb + h * kh + t * kt,
                b * ub + h * uh + t * ut,
                b * eb + h * eh + t * et,
            )
            o0 = ((z0 + t) * many + h) * values
            expect(kind, out, o0, many * values, n, values)
            weigh(strength, b * sb + h * sh + t * st, st, n, astrength != 0, own, weights)
            take(kind, u, u0, ut, n, values, ones, zero, weights, own, X, tall, most * ut)
            take(kind, q, q0, qt, n, keys, decay, wide, ones, own, qs, wide, most * qt)
            take(kind, k, k0, kt, n, keys, inverse, wide, ones, own, ks, wide, most * kt)
            if erased:
                take(kind, e, e0, et, one, keys, decay, zero, weights, own, es, wide, most * et)
                take(
                    kind, e, e0 + et, et, n - 1, keys, decay + late, wide, weights + 1, own, es + wide, wide, most * et
                )
            if undecayed:
                multiply(kind, own, es, wide, one, one, keys, S, -1.0, True, X, tall)
                clear(kind, own, es, wide)
            if channels:
                scale_rows(kind, own, S, own, start, keys, S, tall)
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
                scale_rows(kind, own, S, own, decay + (n - 1) * wide, keys, S, tall)
            put(kind, own, read, tall, n, values, out, o0, many * values)
            if keep and erased:
                copy(kind, own, X, n * tall, written, (head * time + t) * tall, n * tall)
            t += n
        turn_out(kind, own, S, keys, values, wide, tall, square, last, head * values * keys)
