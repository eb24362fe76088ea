"""Rows of tensors to the scratch memory of a kernel and back, and sums over the lanes of vectors."""

import numba

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import at, fill, integer, lanes_of, load, store, transpose

_ANY = 1 << 40  # the length of an array that is only known as an address


@helper
def numbers(address, kind):
    return numba.carray(at(address, kind), (_ANY,))


@helper
def clear(kind, own, o, count):
    for c in range(o, o + count, lanes_of(kind)):
        store(own, c, fill(0.0, kind))


@helper
def take(kind, source, s, count, factor, scale, own, o):
    """own[o + c] = scale own[factor + c] source[s + c]"""
    lanes = lanes_of(kind)
    by, rest = fill(scale, kind), count % lanes
    for c in range(0, count - rest, lanes):
        store(own, o + c, by * load(own, factor + c, kind) * load(source, s + c, kind))
    for c in range(count - rest, count):
        own[o + c] = scale * own[factor + c] * source[s + c]


@helper
def put(kind, own, o, count, out, place):
    lanes = lanes_of(kind)
    rest = count % lanes
    for c in range(0, count - rest, lanes):
        store(out, place + c, load(own, o + c, kind))
    for c in range(count - rest, count):
        out[place + c] = own[o + c]


@helper
def scale_rows(kind, own, factor, rows, o, columns):
    """O[i] = own[factor + i] O[i]"""
    for i in range(rows):
        by, row = fill(own[factor + i], kind), o + i * columns
        for c in range(row, row + columns, lanes_of(kind)):
            store(own, c, by * load(own, c, kind))


@helper
def totals(kind, own, w, n, square, out, o, step):
    """out[o + i step] = the sum of the lanes of vector i at w, by turning squares of them."""
    lanes = lanes_of(kind)
    for i in range(0, n, lanes):
        transpose(own, w + i * lanes, lanes, own, square, lanes, kind)
        a, b = load(own, square, kind), load(own, square + lanes, kind)
        for j in range(2, lanes, 2):
            a = a + load(own, square + j * lanes, kind)
            b = b + load(own, square + (j + 1) * lanes, kind)
        store(own, square, a + b)
        for j in range(min(lanes, n - i)):
            out[o + (i + j) * step] = own[square + j]


@helper
def inner_rows(kind, own, a, b, b_step, rows, columns, sums, square, o):
    """own[o + i] = <A[i], B[i]>, of rows that are `columns` apart; those of B are a step apart, which may be 0."""
    lanes = lanes_of(kind)
    for i in range(rows):
        total = fill(0.0, kind)
        for c in range(0, columns, lanes):
            total = total + load(own, a + i * columns + c, kind) * load(own, b + i * b_step + c, kind)
        store(own, sums + i * lanes, total)
    totals(kind, own, sums, rows, square, own, o, integer(1))
