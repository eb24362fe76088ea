"""Rows of tensors to the scratch memory of a kernel and back, and sums over the lanes of vectors."""

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import fill, integer, lanes_of, load, spread, store, transpose
from fastweights.ops.cpu.vectors import bring


@helper
def take(kind, source, s, step, n, count, factor, jump, weights, own, o, width, ahead):
    """own[o + i width + c] = own[weights + i] own[factor + i jump + c] source[s + i step + c] for n rows of `count`.

    What lies `ahead` of the source is brought near: rows are too far apart for the processor to see what comes next.
    """
    lanes, rest = lanes_of(kind), count % lanes_of(kind)
    for i in range(n):
        by = spread(own, weights + i, kind)
        for c in range(0, count - rest, lanes):
            bring(source, s + ahead + c)
            store(own, o + c, by * load(own, factor + c, kind) * load(source, s + c, kind))
        for c in range(count - rest, count):
            own[o + c] = own[weights + i] * own[factor + c] * source[s + c]
        s, o, factor = s + step, o + width, factor + jump


@helper
def put(kind, own, o, width, n, count, out, place, step):
    """out[place + i step + c] = own[o + i width + c] for n rows of `count`."""
    lanes, rest = lanes_of(kind), count % lanes_of(kind)
    for _ in range(n):
        for c in range(0, count - rest, lanes):
            store(out, place + c, load(own, o + c, kind))
        for c in range(count - rest, count):
            out[place + c] = own[o + c]
        o, place = o + width, place + step


@helper
def expect(kind, out, place, step, n, count):
    """Bring rows near that will be written."""
    for i in range(n):
        for c in range(place + i * step, place + i * step + count, lanes_of(kind)):
            bring(out, c)


@helper
def copy(kind, source, s, count, out, o, ahead):
    """As many numbers, whole vectors; in the tensor of the two what lies `ahead` is brought near."""
    for c in range(0, count, lanes_of(kind)):
        bring(source, s + ahead + c)
        bring(out, o + ahead + c)
        store(out, o + c, load(source, s + c, kind))


@helper
def scale_rows(kind, source, s, own, factor, rows, o, columns):
    """O[i] = own[factor + i] source[i]"""
    for i in range(rows):
        by = spread(own, factor + i, kind)
        for c in range(i * columns, (i + 1) * columns, lanes_of(kind)):
            store(own, o + c, by * load(source, s + c, kind))


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
