"""The backward pass of `cpu_kernels.py`, chunk by chunk from the last; names are those of the formulas there.

    dX = A^T do + k~ dS          dU = (1 + L)^-T dX        P = do X^T    N = -dU X^T (strict)     dS: after the chunk
    dq~ = do S^T + P k~          de~ = N k~ - dU S^T       dk~ = X dS^T + P^T q~ + N^T e~
    dS' = dS + q~^T do - e~^T dU

The gradient of the log decay of token t is all that is read by tokens from t on of what was written before.

A chunk that was cut into parts has one memory kept; those of its other parts are computed again.
"""

import numba
import numpy

from fastweights.ops.cpu.compilation import cached
from fastweights.ops.cpu.lanes import at, fill, integer, lanes_of, load, spread, store
from fastweights.ops.cpu.vectors import ANY, clear, numbers
from fastweights.ops.fast_weights_scan.cpu_decays import add_pairs, cut, sum_flows, sum_pairs, through
from fastweights.ops.fast_weights_scan.cpu_kernels import begin, turn_in, turn_out, weigh
from fastweights.ops.fast_weights_scan.cpu_products import (
    lower_product,
    multiply,
    multiply_lower,
    multiply_upper,
    solve_upper,
    turn,
)
from fastweights.ops.fast_weights_scan.cpu_rows import (
    copy,
    expect,
    inner_rows,
    put,
    scale_rows,
    take,
    totals,
)


@cached
def backward(kind, heads, sizes, steps, places, least, tensors, gradients):
    """The gradients of heads [heads[0], heads[1]); tied: what is erased is the key."""
    time, many, keys, values, wide, tall, most, channels, erased, undecayed, rows, tied, total = sizes
    aq, ak, au, ae, astrength, ag, _, alengths, aresets, awritten, amemories, ado, adlast, aown = tensors
    adq, adk, adu, ade, adstrength, adg, adstate = gradients
    qb, qt, qh, kb, kt, kh, ub, ut, uh, eb, et, eh, sb, st, sh, gb, gt, gh, ob, ot, oh = steps
    ones, qs, es, ks, kT, dqs, des, dks, A, L, P, N, X, XT, dX, dO, S, ST, dS, dST, decay, inverse = places[:22]
    start, row, weights, square, whole, below, sums, diagonal, flow, first, raw_e, raw_u, parts = places[22:]
    q, k, u, e = numbers(aq, kind), numbers(ak, kind), numbers(au, kind), numbers(ae, kind)
    strength, g, do = numbers(astrength, kind), numbers(ag, kind), numbers(ado, kind)
    written, memories, dlast = numbers(awritten, kind), numbers(amemories, kind), numbers(adlast, kind)
    dq, dk, du, de = numbers(adq, kind), numbers(adk, kind), numbers(adu, kind), numbers(ade, kind)
    dstrength, dg, dstate = numbers(adstrength, kind), numbers(adg, kind), numbers(adstate, kind)
    own, lengths = numbers(aown, kind), numbers(alengths, numpy.int64)
    resets = numba.carray(at(aresets, numpy.uint8), (ANY if aresets else 0,))
    zero, one, longest, areas = integer(0), integer(1), max(wide, tall, rows), (ones, decay, inverse, row, start)
    begin(kind, own, total, ones, longest, rows, wide, decay, inverse)
    lanes, starts = lanes_of(kind), numpy.empty(most + 1, numpy.int64)
    edge = ones + longest - lanes  # the last ones, and the zeros behind them
    size, chunks, late = wide * tall, (time + most - 1) // most, 0 if undecayed else wide
    for head in range(heads[0], heads[1]):
        b, h = head // many, head % many
        end, z0 = lengths[b] if alengths else time, b * time
        clear(kind, own, dS, size)
        if adlast:
            turn_in(kind, dlast, head * values * keys, keys, values, wide, tall, ones, own, square, dS)
        for chunk in range((end + most - 1) // most - 1, -1, -1):
            t, stop, count, n = chunk * most, min(end, (chunk + 1) * most), 0, 0
            memory = (head * chunks + chunk) * size
            while t < stop:
                starts[count] = t
                n = cut(
                    kind, g, b * gb + h * gh + t * gt, gt, channels, wide, resets, z0 + t, stop - t, least, own, areas
                )
                if count == 0 and channels and (undecayed or n < stop - t):
                    copy(kind, memories, memory, size, own, parts, zero)
                if t + n < stop and not (aresets and resets[z0 + t + n]):
                    after = parts + (count + 1) * size  # the memory after this part
                    clear(kind, own, after, size)
                    if not (aresets and resets[z0 + t]):
                        scale_rows(kind, own, after - size, own, start, keys, after, tall)
                    take(kind, k, b * kb + h * kh + t * kt, kt, n, keys, inverse, wide, ones, own, ks, wide, zero)
                    if erased:
                        copy(kind, written, (head * time + t) * tall, n * tall, own, X, zero)
                    else:
                        weigh(strength, b * sb + h * sh + t * st, st, n, astrength != 0, own, weights)
                        take(kind, u, b * ub + h * uh + t * ut, ut, n, values, ones, zero, weights, own, X, tall, zero)
                    multiply(kind, own, ks, one, wide, keys, n, X, 1.0, True, after, tall)
                    scale_rows(kind, own, after, own, decay + (n - 1) * wide, keys, after, tall)
                t, count = t + n, count + 1
            for part in range(count - 1, -1, -1):
                t, before = starts[part], parts + part * size
                anew = aresets != 0 and resets[z0 + t] != 0
                if part < count - 1:
                    n = cut(
                        kind,
                        g,
                        b * gb + h * gh + t * gt,
                        gt,
                        channels,
                        wide,
                        resets,
                        z0 + t,
                        stop - t,
                        least,
                        own,
                        areas,
                    )
                o, q0, k0, u0 = (
                    (z0 + t) * many + h,
                    b * qb + h * qh + t * qt,
                    b * kb + h * kh + t * kt,
                    b * ub + h * uh + t * ut,
                )
                expect(kind, dq, o * keys, many * keys, n, keys)
                expect(kind, dk, o * keys, many * keys, n, keys)
                expect(kind, du, o * values, many * values, n, values)
                weigh(strength, b * sb + h * sh + t * st, st, n, astrength != 0, own, weights)
                take(kind, q, q0, qt, n, keys, decay, wide, ones, own, qs, wide, -most * qt)
                take(kind, k, k0, kt, n, keys, inverse, wide, ones, own, ks, wide, -most * kt)
                take(kind, u, u0, ut, n, values, ones, zero, ones, own, raw_u, tall, -most * ut)
                take(kind, do, b * ob + h * oh + t * ot, ot, n, values, ones, zero, ones, own, dO, tall, -most * ot)
                if erased:
                    e0 = b * eb + h * eh + t * et
                    take(kind, e, e0, et, n, keys, ones, zero, ones, own, raw_e, wide, -most * et)
                    take(kind, own, raw_e, wide, one, keys, decay, zero, weights, own, es, wide, zero)
                    take(
                        kind,
                        own,
                        raw_e + wide,
                        wide,
                        n - 1,
                        keys,
                        decay + late,
                        wide,
                        weights + 1,
                        own,
                        es + wide,
                        wide,
                        zero,
                    )
                    copy(kind, written, (head * time + t) * tall, n * tall, own, X, -n * tall)
                else:
                    take(kind, own, raw_u, tall, n, values, ones, zero, weights, own, X, tall, zero)
                if anew:
                    clear(kind, own, S, size)
                    if undecayed:
                        clear(kind, own, before, size)
                elif part:
                    scale_rows(kind, own, before, own, start, keys, S, tall)
                elif channels:
                    scale_rows(kind, memories, memory, own, start, keys, S, tall)
                else:
                    copy(kind, memories, memory, size, own, S, -size)
                if channels:
                    scale_rows(kind, own, dS, own, decay + (n - 1) * wide, keys, dS, tall)
                turn(kind, own, ks, wide, n, wide, kT, rows)
                turn(kind, own, X, tall, n, tall, XT, rows)
                turn(kind, own, S, tall, wide, tall, ST, wide)
                turn(kind, own, dS, tall, wide, tall, dST, wide)
                lower_product(kind, own, qs, wide, n, keys, kT, rows, 1.0, False, edge, A)
                lower_product(kind, own, dO, tall, n, values, XT, rows, 1.0, False, edge, P)
                for i in range(n):
                    own[diagonal + i] = own[P + i * rows + i]
                    own[P + i * rows + i] = 0.0
                multiply(kind, own, ks, wide, one, n, keys, dS, 1.0, False, dX, tall)
                multiply_upper(kind, own, A, rows, n, dO, dX, tall)
                multiply(kind, own, dO, tall, one, n, values, ST, 1.0, False, dqs, wide)
                multiply(kind, own, X, tall, one, n, values, dST, 1.0, False, dks, wide)
                if undecayed:
                    copy(kind, own, es, wide, own, first, zero)  # what reads the memory before it fades
                    clear(kind, own, es, wide)
                if erased:
                    lower_product(kind, own, es, wide, n, keys, kT, rows, 1.0, True, edge, L)
                    solve_upper(kind, own, L, rows, n, dX, tall)
                    lower_product(kind, own, dX, tall, n, values, XT, rows, -1.0, True, edge, N)
                    multiply(kind, own, dX, tall, one, n, values, ST, -1.0, False, des, wide)
                if channels:
                    inner_rows(kind, own, dS, S, tall, wide, tall, sums, square, whole)
                    through(kind, own, n, wide, qs, dqs, es, des, undecayed if erased else n, ks, dks, whole, flow)
                if channels > 1:
                    add_pairs(kind, own, n, wide, P, qs, N, es, undecayed if erased else n, ks, rows, flow)
                    put(kind, own, flow, wide, n, keys, dg, o * keys, many * keys)
                elif channels:
                    sum_pairs(kind, own, n, P, A, N, L, undecayed if erased else n, rows, edge, below, sums)
                    sum_flows(kind, own, n, wide, flow, ones, sums, square, below)
                    for i in range(n):
                        dg[o + i * many] = own[below + i]
                multiply_lower(kind, own, P, rows, n, ks, dqs, wide)
                multiply_upper(kind, own, P, rows, n, qs, dks, wide)
                multiply(kind, own, qs, one, wide, keys, n, dO, 1.0, True, dS, tall)
                if erased:
                    multiply_lower(kind, own, N, rows, n, ks, des, wide)
                    multiply_upper(kind, own, N, rows, n, es, dks, wide)
                    multiply(kind, own, es, one, wide, keys, n, dX, -1.0, True, dS, tall)
                if channels:
                    scale_rows(kind, own, dS, own, start, keys, dS, tall)
                if undecayed:
                    inner_rows(kind, own, before, dX, zero, wide, tall, sums, square, des)
                    for c in range(des, des + wide, lanes):
                        store(own, c, fill(0.0, kind) - load(own, c, kind))
                    multiply(kind, own, first, one, one, keys, one, dX, -1.0, True, dS, tall)
                for i in range(n):
                    place, seen = i * wide, decay + (i * wide - wide if undecayed and i else i * wide)
                    by, itself = spread(own, weights + i, kind), spread(own, diagonal + i, kind)
                    of_strength = fill(0.0, kind)
                    for c in range(place, place + wide, lanes):
                        a, r = load(own, decay + c, kind), load(own, inverse + c, kind)
                        y = load(own, dks + c, kind) * r + itself * (load(own, qs + c, kind) * r)
                        if erased:
                            w = load(own, des + c, kind) * load(own, seen + c - place, kind)
                            of_strength = of_strength + w * load(own, raw_e + c, kind)
                            if tied:
                                y = y + by * w
                            else:
                                store(own, es + c, by * w)
                        store(own, dqs + c, load(own, dqs + c, kind) * a + itself * (load(own, ks + c, kind) * a))
                        store(own, dks + c, y)
                    for c in range(i * tall, (i + 1) * tall, lanes):
                        x = load(own, dX + c, kind)
                        of_strength = of_strength + x * load(own, raw_u + c, kind)
                        store(own, dX + c, by * x)
                    store(own, sums + i * lanes, of_strength)
                put(kind, own, dqs, wide, n, keys, dq, o * keys, many * keys)
                put(kind, own, dks, wide, n, keys, dk, o * keys, many * keys)
                put(kind, own, dX, tall, n, values, du, o * values, many * values)
                if erased and not tied:
                    put(kind, own, es, wide, n, keys, de, o * keys, many * keys)
                if astrength:
                    totals(kind, own, sums, n, square, dstrength, o, many)
                if anew:
                    clear(kind, own, dS, size)
        turn_out(kind, own, dS, keys, values, wide, tall, square, dstate, head * values * keys)
