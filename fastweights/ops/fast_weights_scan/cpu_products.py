"""Matrix products in the scratch memory of a kernel: whole, with a triangle, and by the inverse of one.

All operands lie in one array, `own`, each given by the index where it begins and its steps from row to row and from
column to column. A step may be negative: a triangle that is read from its last row is the transposed one.
Columns of a result are padded to the lanes.
"""

from fastweights.ops.cpu.compilation import helper
from fastweights.ops.cpu.lanes import fill, integer, lanes_of, load, spread, store, transpose, where_positive
from fastweights.ops.fast_weights_scan.cpu_lanes import alone, many_registers


@helper
def eight(kind, own, a, ar, ac, inner, x, xr, scale, add, o, orow):
    """As `six`, of eight rows: where there are registers for them."""
    p0, p1, p2, p3 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    p4, p5, p6, p7 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    a1, a2, a3, a4, k = a + ar, a + 2 * ar, a + 3 * ar, a + 4 * ar, integer(0)
    a5, a6, a7 = a + 5 * ar, a + 6 * ar, a + 7 * ar
    for _ in range(inner):
        v = load(own, x, kind)
        p0 = p0 + spread(own, a + k, kind) * v
        p1 = p1 + spread(own, a1 + k, kind) * v
        p2 = p2 + spread(own, a2 + k, kind) * v
        p3 = p3 + spread(own, a3 + k, kind) * v
        p4 = p4 + spread(own, a4 + k, kind) * v
        p5 = p5 + spread(own, a5 + k, kind) * v
        p6 = p6 + spread(own, a6 + k, kind) * v
        p7 = p7 + spread(own, a7 + k, kind) * v
        k, x = alone(k + ac), x + xr
    s = fill(scale, kind)
    p0, p1, p2, p3, p4, p5, p6, p7 = s * p0, s * p1, s * p2, s * p3, s * p4, s * p5, s * p6, s * p7
    if add:
        p0, p1, p2 = p0 + load(own, o, kind), p1 + load(own, o + orow, kind), p2 + load(own, o + 2 * orow, kind)
        p3, p4 = p3 + load(own, o + 3 * orow, kind), p4 + load(own, o + 4 * orow, kind)
        p5, p6 = p5 + load(own, o + 5 * orow, kind), p6 + load(own, o + 6 * orow, kind)
        p7 = p7 + load(own, o + 7 * orow, kind)
    store(own, o, p0)
    store(own, o + orow, p1)
    store(own, o + 2 * orow, p2)
    store(own, o + 3 * orow, p3)
    store(own, o + 4 * orow, p4)
    store(own, o + 5 * orow, p5)
    store(own, o + 6 * orow, p6)
    store(own, o + 7 * orow, p7)


@helper
def six(kind, own, a, ar, ac, inner, x, xr, scale, add, o, orow):
    """Six rows by one vector of columns: o[i] = (o[i] if add) + scale sum_k a[i, k] x[k]"""
    p0, p1, p2 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    p3, p4, p5 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    a1, a2, a3, k = a + ar, a + 2 * ar, a + 3 * ar, integer(0)
    a4, a5 = a + 4 * ar, a + 5 * ar
    for _ in range(inner):
        v = load(own, x, kind)
        p0 = p0 + spread(own, a + k, kind) * v
        p1 = p1 + spread(own, a1 + k, kind) * v
        p2 = p2 + spread(own, a2 + k, kind) * v
        p3 = p3 + spread(own, a3 + k, kind) * v
        p4 = p4 + spread(own, a4 + k, kind) * v
        p5 = p5 + spread(own, a5 + k, kind) * v
        k, x = alone(k + ac), x + xr
    s = fill(scale, kind)
    p0, p1, p2, p3, p4, p5 = s * p0, s * p1, s * p2, s * p3, s * p4, s * p5
    if add:
        p0, p1, p2 = p0 + load(own, o, kind), p1 + load(own, o + orow, kind), p2 + load(own, o + 2 * orow, kind)
        p3, p4 = p3 + load(own, o + 3 * orow, kind), p4 + load(own, o + 4 * orow, kind)
        p5 = p5 + load(own, o + 5 * orow, kind)
    store(own, o, p0)
    store(own, o + orow, p1)
    store(own, o + 2 * orow, p2)
    store(own, o + 3 * orow, p3)
    store(own, o + 4 * orow, p4)
    store(own, o + 5 * orow, p5)


@helper
def four(kind, own, a, ar, ac, inner, x, xr, scale, add, o, orow):
    """As `six`, of four rows."""
    p0, p1, p2, p3 = fill(0.0, kind), fill(0.0, kind), fill(0.0, kind), fill(0.0, kind)
    a1, a2, a3, k = a + ar, a + 2 * ar, a + 3 * ar, integer(0)
    for _ in range(inner):
        v = load(own, x, kind)
        p0 = p0 + spread(own, a + k, kind) * v
        p1 = p1 + spread(own, a1 + k, kind) * v
        p2 = p2 + spread(own, a2 + k, kind) * v
        p3 = p3 + spread(own, a3 + k, kind) * v
        k, x = alone(k + ac), x + xr
    s = fill(scale, kind)
    p0, p1, p2, p3 = s * p0, s * p1, s * p2, s * p3
    if add:
        p0, p1 = p0 + load(own, o, kind), p1 + load(own, o + orow, kind)
        p2, p3 = p2 + load(own, o + 2 * orow, kind), p3 + load(own, o + 3 * orow, kind)
    store(own, o, p0)
    store(own, o + orow, p1)
    store(own, o + 2 * orow, p2)
    store(own, o + 3 * orow, p3)


@helper
def one(kind, own, a, ac, inner, x, xr, scale, add, o):
    """As `six`, of one row."""
    p, q = fill(0.0, kind), fill(0.0, kind)
    for _ in range(inner // 2):
        p = p + spread(own, a, kind) * load(own, x, kind)
        q = q + spread(own, a + ac, kind) * load(own, x + xr, kind)
        a, x = a + 2 * ac, x + 2 * xr
    if inner % 2:
        p = p + spread(own, a, kind) * load(own, x, kind)
    p = fill(scale, kind) * (p + q)
    store(own, o, p + load(own, o, kind) if add else p)


@helper
def rows_of(left):
    """How many rows are taken at once: the last of them would wait for themselves, were they few."""
    if many_registers() and left >= 8:
        return 8
    if left >= 6 and left != 8:
        return 6
    return 4 if left >= 4 else 1


@helper
def rows_by(kind, many, own, a, ar, ac, inner, x, xr, scale, add, o, orow, columns):
    """`many` rows, 6, 4 or 1, by all columns."""
    for c in range(0, columns, lanes_of(kind)):
        if many == 8:
            eight(kind, own, a, ar, ac, inner, x + c, xr, scale, add, o + c, orow)
        elif many == 6:
            six(kind, own, a, ar, ac, inner, x + c, xr, scale, add, o + c, orow)
        elif many == 4:
            four(kind, own, a, ar, ac, inner, x + c, xr, scale, add, o + c, orow)
        else:
            one(kind, own, a, ac, inner, x + c, xr, scale, add, o + c)


@helper
def block(kind, own, a, ar, ac, rows, inner, x, scale, add, o, step, columns):
    """As `multiply`, with rows of X and O that are `step` apart."""
    i = 0
    while i < rows:
        many = rows_of(rows - i)
        rows_by(kind, many, own, a + i * ar, ar, ac, inner, x, step, scale, add, o + i * step, step, columns)
        i += many


@helper
def multiply(kind, own, a, ar, ac, rows, inner, x, scale, add, o, columns):
    """O = (O if add) + scale A X, with A [rows, inner] and X [inner, columns]."""
    block(kind, own, a, ar, ac, rows, inner, x, scale, add, o, columns, columns)


@helper
def triangle_by(kind, own, m, mr, mc, n, x, o, step, columns):
    i = 0
    while i < n:
        many = rows_of(n - i)
        rows_by(kind, many, own, m + i * mr, mr, mc, i + many, x, step, 1.0, True, o + i * step, step, columns)
        i += many


@helper
def multiply_lower(kind, own, m, rows, n, x, o, columns):
    """O += M X for a lower triangle M [n, n] in rows; what lies above its diagonal is 0, and is read near it."""
    triangle_by(kind, own, m, rows, integer(1), n, x, o, columns, columns)


@helper
def multiply_upper(kind, own, m, rows, n, x, o, columns):
    """O += M^T X for the M of `multiply_lower`: a lower triangle, too, if it is read from its end."""
    last = (n - 1) * columns
    triangle_by(kind, own, m + (n - 1) * (rows + 1), integer(-1), -rows, n, x + last, o + last, -columns, columns)


@helper
def solve_lower(kind, own, m, rows, n, x, columns):
    """X = (1 + M)^-1 X for a strict triangle M [n, n] in rows."""
    solve(kind, own, m, rows, integer(1), n, x, columns, columns)


@helper
def solve_upper(kind, own, m, rows, n, x, columns):
    """X = (1 + M)^-T X"""
    solve(kind, own, m + (n - 1) * (rows + 1), integer(-1), -rows, n, x + (n - 1) * columns, -columns, columns)


@helper
def solved_at_once(left):
    if left >= 6 and left != 8:
        return 6
    return 4 if left >= 4 else 1


@helper
def solve(kind, own, m, mr, mc, n, x, xr, columns):
    lanes, i = lanes_of(kind), 0
    while i < n:
        many = solved_at_once(n - i)
        row, d = x + i * xr, m + i * mr + i * mc  # d: the triangle of these rows
        if i:
            rows_by(kind, many, own, m + i * mr, mr, mc, i, x, xr, -1.0, True, row, xr, columns)
        for c in range(row, row + columns, lanes):
            if many == 1:
                break
            x0 = load(own, c, kind)
            x1 = load(own, c + xr, kind) - spread(own, d + mr, kind) * x0
            x2 = load(own, c + 2 * xr, kind) - spread(own, d + 2 * mr, kind) * x0
            x3 = load(own, c + 3 * xr, kind) - spread(own, d + 3 * mr, kind) * x0
            x2 = x2 - spread(own, d + 2 * mr + mc, kind) * x1
            x3 = x3 - spread(own, d + 3 * mr + mc, kind) * x1
            x3 = x3 - spread(own, d + 3 * mr + 2 * mc, kind) * x2
            store(own, c + xr, x1)
            store(own, c + 2 * xr, x2)
            store(own, c + 3 * xr, x3)
            if many == 6:
                x4 = load(own, c + 4 * xr, kind) - spread(own, d + 4 * mr, kind) * x0
                x5 = load(own, c + 5 * xr, kind) - spread(own, d + 5 * mr, kind) * x0
                x4 = x4 - spread(own, d + 4 * mr + mc, kind) * x1
                x5 = x5 - spread(own, d + 5 * mr + mc, kind) * x1
                x4 = x4 - spread(own, d + 4 * mr + 2 * mc, kind) * x2
                x5 = x5 - spread(own, d + 5 * mr + 2 * mc, kind) * x2
                x4 = x4 - spread(own, d + 4 * mr + 3 * mc, kind) * x3
                x5 = x5 - spread(own, d + 5 * mr + 3 * mc, kind) * x3
                x5 = x5 - spread(own, d + 5 * mr + 4 * mc, kind) * x4
                store(own, c + 4 * xr, x4)
                store(own, c + 5 * xr, x5)
        i += many


@helper
def lower_product(kind, own, a, ar, n, inner, x, rows, scale, strict, edge, o):
    """The triangle of scale A X, with A [n, inner] and X [inner, n]: 0 above the diagonal, as far as it is read.

    Rows of X and O are `rows` apart. edge: lanes times 1 and lanes times 0.
    """
    lanes = lanes_of(kind)
    for c in range(0, n, lanes):
        many = n - c
        first = o + c * rows + c
        block(kind, own, a + c * ar, ar, integer(1), many, inner, x + c, scale, False, first, rows, lanes)
        for i in range(min(lanes, many)):
            place = first + i * rows
            kept = load(own, edge + lanes - i - (0 if strict else 1), kind)
            store(own, place, where_positive(kept, load(own, place, kind)))
        for i in range(max(0, c - 7), c):  # of rows that are taken at once, some may be before this vector of columns
            store(own, o + i * rows + c, fill(0.0, kind))


@helper
def turn(kind, own, a, ar, rows, columns, o, orow):
    """O[c, i] = A[i, c]; rows up to the next multiple of the lanes are read, too."""
    lanes = lanes_of(kind)
    for i in range(0, rows, lanes):
        for c in range(0, columns, lanes):
            transpose(own, a + i * ar + c, ar, own, o + c * orow + i, orow, kind)
