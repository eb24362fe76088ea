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
from fastweights.ops.cpu.lanes import at, fill, integer, lanes_of, load, store
from fastweights.ops.fast_weights_scan.cpu_decays import add_pairs, cut, first_decay, sum_flows, sum_pairs, through
from fastweights.ops.fast_weights_scan.cpu_kernels import begin, turn_in, turn_out
from fastweights.ops.fast_weights_scan.cpu_products import (
    lower_product,
    multiply,
    multiply_lower,
    multiply_upper,
    solve_upper,
    turn,
)
from fastweights.ops.fast_weights_scan.cpu_rows import (
    _ANY,
    clear,
    inner_rows,
    numbers,
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
    ones, qs, es, ks, kT, dqs, des, dks, A, L, P, N, X, XT, dX, dO, S, ST, dS, dST = places[:20]
    decay, inverse, start, row, square, whole, below, sums, diagonal, flow, first, xq, xk, xe, xu, parts = places[20:]
    q, k, u, e = numbers(aq, kind), numbers(ak, kind), numbers(au, kind), numbers(ae, kind)
    strength, g, do = numbers(astrength, kind), numbers(ag, kind), numbers(ado, kind)
    written, memories, dlast = numbers(awritten, kind), numbers(amemories, kind), numbers(adlast, kind)
    dq, dk, du, de = numbers(adq, kind), numbers(adk, kind), numbers(adu, kind), numbers(ade, kind)
    dstrength, dg, dstate = numbers(adstrength, kind), numbers(adg, kind), numbers(adstate, kind)
    own, lengths = numbers(aown, kind), numbers(alengths, numpy.int64)
    resets = numba.carray(at(aresets, numpy.uint8), (_ANY if aresets else 0,))
    lanes, one, areas = lanes_of(kind), integer(1), (ones, decay, inverse, row, start)
    edge = ones + max(wide, tall) - lanes  # the last ones, and the zeros behind them
    begin(kind, own, total, ones, wide, tall, rows, decay, inverse)
    starts = numpy.empty(most + 1, numpy.int64)
    size, chunks, erases = wide * tall, (time + most - 1) // most, xk if tied else xe
    for head in range(heads[0], heads[1]):
        b, h = head // many, head % many
        end, z0, place = lengths[b] if alengths else time, b * time, head * values * keys
        q0, k0, u0, e0 = b * qb + h * qh, b * kb + h * kh, b * ub + h * uh, b * eb + h * eh
        s0, g0, o0 = b * sb + h * sh, b * gb + h * gh, b * ob + h * oh
        clear(kind, own, dS, size)
        if adlast:
            turn_in(kind, dlast, place, keys, values, wide, tall, ones, own, square, dS)
        for chunk in range((end + most - 1) // most - 1, -1, -1):
            t, stop, count, n = chunk * most, min(end, (chunk + 1) * most), 0, 0
            put(kind, memories, (head * chunks + chunk) * size, size, own, parts)
            while t < stop:
                starts[count] = t
                n = cut(kind, g, g0 + t * gt, gt, channels, wide, resets, z0 + t, stop - t, least, own, areas)
                if t + n < stop and not (aresets and resets[z0 + t + n]):
                    after = parts + (count + 1) * size  # the memory after this part
                    clear(kind, own, after, size)
                    if not (aresets and resets[z0 + t]):
                        put(kind, own, after - size, size, own, after)
                    for i in range(n):
                        weight = strength[s0 + (t + i) * st] if astrength else 1.0
                        take(kind, k, k0 + (t + i) * kt, keys, inverse + i * wide, 1.0, own, ks + i * wide)
                        if not erased:
                            take(kind, u, u0 + (t + i) * ut, values, ones, weight, own, X + i * tall)
                    if erased:
                        put(kind, written, (head * time + t) * tall, n * tall, own, X)
                    first_decay(kind, g, g0 + t * gt, channels, wide, own, areas)
                    scale_rows(kind, own, start, keys, after, tall)
                    multiply(kind, own, ks, one, wide, keys, n, X, 1.0, True, after, tall)
                    scale_rows(kind, own, decay + (n - 1) * wide, keys, after, tall)
                t, count = t + n, count + 1
            for part in range(count - 1, -1, -1):
                t, before = starts[part], parts + part * size
                anew = aresets != 0 and resets[z0 + t] != 0
                if part < count - 1:
                    n = cut(kind, g, g0 + t * gt, gt, channels, wide, resets, z0 + t, stop - t, least, own, areas)
                if anew and channels:
                    clear(kind, own, before, size)
                if anew:
                    clear(kind, own, S, size)
                else:
                    put(kind, own, before, size, own, S)
                if channels:
                    first_decay(kind, g, g0 + t * gt, channels, wide, own, areas)
                    scale_rows(kind, own, start, keys, S, tall)
                    scale_rows(kind, own, decay + (n - 1) * wide, keys, dS, tall)
                for i in range(n):
                    j, place = t + i, i * wide
                    weight = strength[s0 + j * st] if astrength else 1.0
                    take(kind, q, q0 + j * qt, keys, decay + place, 1.0, own, qs + place)
                    take(kind, k, k0 + j * kt, keys, inverse + place, 1.0, own, ks + place)
                    take(kind, do, o0 + j * ot, values, ones, 1.0, own, dO + i * tall)
                    if erased:
                        seen = decay + (place - wide if undecayed and i else place)
                        take(kind, e, e0 + j * et, keys, seen, weight, own, es + place)
                    else:
                        take(kind, u, u0 + j * ut, values, ones, weight, own, X + i * tall)
                if erased:
                    put(kind, written, (head * time + t) * tall, n * tall, own, X)
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
                    put(kind, own, es, wide, own, first)  # what reads the memory before it fades
                    clear(kind, own, es, wide)
                if erased:
                    lower_product(kind, own, es, wide, n, keys, kT, rows, 1.0, True, edge, L)
                    solve_upper(kind, own, L, rows, n, dX, tall)
                    lower_product(kind, own, dX, tall, n, values, XT, rows, -1.0, True, edge, N)
                    multiply(kind, own, dX, tall, one, n, values, ST, -1.0, False, des, wide)
                if channels:
                    inner_rows(kind, own, dS, S, tall, wide, tall, sums, square, whole)
                    late = n if not erased else undecayed
                    through(kind, own, n, wide, qs, dqs, es, des, late, ks, dks, whole, flow)
                    o = (z0 + t) * many + h
                    if channels > 1:
                        add_pairs(kind, own, n, wide, P, qs, N, es, late, ks, rows, flow)
                        for i in range(n):
                            put(kind, own, flow + i * wide, keys, dg, (o + i * many) * keys)
                    else:
                        sum_pairs(kind, own, n, P, A, N, L, late, rows, edge, below, sums)
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
                    scale_rows(kind, own, start, keys, dS, tall)
                if undecayed:
                    inner_rows(kind, own, before, dX, integer(0), wide, tall, sums, square, des)
                    for c in range(0, wide, lanes):
                        store(own, des + c, fill(0.0, kind) - load(own, des + c, kind))
                    multiply(kind, own, first, one, one, keys, one, dX, -1.0, True, dS, tall)
                for i in range(n):
                    j, place, o = t + i, i * wide, (z0 + t + i) * many + h
                    weight = strength[s0 + j * st] if astrength else 1.0
                    take(kind, q, q0 + j * qt, keys, ones, 1.0, own, xq)
                    take(kind, k, k0 + j * kt, keys, ones, 1.0, own, xk)
                    take(kind, u, u0 + j * ut, values, ones, 1.0, own, xu)
                    if erased and not tied:
                        take(kind, e, e0 + j * et, keys, ones, 1.0, own, xe)
                    seen = decay + (place - wide if undecayed and i else place)
                    by, itself, of_strength = fill(weight, kind), fill(own[diagonal + i], kind), fill(0.0, kind)
                    for c in range(0, wide, lanes):
                        x = load(own, dqs + place + c, kind) * load(own, decay + place + c, kind)
                        y = load(own, dks + place + c, kind) * load(own, inverse + place + c, kind)
                        qc, kc = load(own, xq + c, kind), load(own, xk + c, kind)
                        y = y + itself * qc
                        if erased:
                            w = load(own, des + place + c, kind) * load(own, seen + c, kind)
                            ec = load(own, erases + c, kind)
                            of_strength = of_strength + w * ec
                            w = by * w
                            if tied:
                                y = y + w
                            else:
                                store(own, es + place + c, w)
                        store(own, qs + place + c, x + itself * kc)
                        store(own, ks + place + c, y)
                    for c in range(0, tall, lanes):
                        x = load(own, dX + i * tall + c, kind)
                        of_strength = of_strength + x * load(own, xu + c, kind)
                        store(own, dX + i * tall + c, by * x)
                    store(own, sums + i * lanes, of_strength)
                    put(kind, own, qs + place, keys, dq, o * keys)
                    put(kind, own, ks + place, keys, dk, o * keys)
                    put(kind, own, dX + i * tall, values, du, o * values)
                    if erased and not tied:
                        put(kind, own, es + place, keys, de, o * keys)
                if astrength:
                    totals(kind, own, sums, n, square, dstrength, (z0 + t) * many + h, many)
                if anew:
                    clear(kind, own, dS, size)
        turn_out(kind, own, dS, keys, values, wide, tall, square, dstate, head * values * keys)
