"""The Triton kernels of `triton.py`: one program runs one sample from its first step to its last, or back.

All arithmetic is in the type of `outputs`. Units beyond HIDDEN are zero everywhere. `inner` holds u_s, the vector the
fast weights are read with, one row for each (step, inner step); `normal` and `spread` the normalised vector and 1/std
of each layer norm. A program reads rows that its other threads have stored: a barrier stands between.

With COSINE, the rule of that name, the history is `directions`, n(h(t)), in place of `outputs`, and `inner` holds
n(u_s). `passed` has two rows for each (step, inner step): what the nonlinearity made u_s of, which is the boundary at
the first, and what was read.
"""

import triton
import triton.language as tl

from fastweights.rules import cosine

SHORT = tl.constexpr(cosine.EPSILON)  # added to squared lengths


@triton.jit
def activate(x, RELU: tl.constexpr):
    if RELU:
        y = tl.where(x <= 0, 0.0, x)  # keeps a NaN
    else:  # by parts, as 1 - 2 / (exp 2x + 1) loses every digit near 0; rational approximation of Cephes
        size, square = tl.abs(x), x * x
        top = (-9.64399179425052238628e-1 * square - 9.92877231001918586564e1) * square - 1.61468768441708447952e3
        low = (square + 1.12811678491632931402e2) * square + 2.23548839060100448583e3
        near = x + x * square * (top / (low * square + 4.84406305325125486048e3))
        far = 1.0 - 2.0 / (tl.exp(2.0 * size) + 1.0)
        y = tl.where(size < 0.625, near, tl.where(x < 0, -far, far))
    return y


@triton.jit
def slope(y, RELU: tl.constexpr):
    """f' where f is y."""
    if RELU:
        derivative = tl.where(y > 0, 1.0, 0.0)
    else:
        derivative = 1.0 - y * y
    return derivative


@triton.jit
def normalise(x, gain, bias, own, HIDDEN: tl.constexpr, EPSILON: tl.constexpr):
    centred = tl.where(own, x - tl.sum(x, axis=0) / HIDDEN, 0.0)
    spread = tl.rsqrt(tl.sum(centred * centred, axis=0) / HIDDEN + EPSILON)
    spread = tl.where(tl.sum(tl.where(own, x * x, 0.0), axis=0) == 0.0, 0.0, spread)  # as `cut_at_zero`
    normal = centred * spread
    return normal * gain + bias, normal, spread


@triton.jit
def normalise_back(d, gain, normal, spread, own, HIDDEN: tl.constexpr):
    d = d * gain
    d = d - tl.sum(d, axis=0) / HIDDEN - normal * (tl.sum(d * normal, axis=0) / HIDDEN)
    return tl.where(own, d * spread, 0.0)


@triton.jit
def centre(x, own, HIDDEN: tl.constexpr):
    """x - mean x, and its squared length."""
    x = tl.where(own, x - tl.sum(x, axis=0) / HIDDEN, 0.0)
    return x, tl.sum(x * x, axis=0) + SHORT


@triton.jit
def direct(x, own, HIDDEN: tl.constexpr):
    """n(x), and 1/length."""
    x, size = centre(x, own, HIDDEN)
    scale = tl.rsqrt(size)
    return x * scale, scale


@triton.jit
def direct_back(d, direction, scale, own, HIDDEN: tl.constexpr):
    d = d - tl.sum(d, axis=0) / HIDDEN - direction * tl.sum(d * direction, axis=0)
    return tl.where(own, d * scale, 0.0)


@triton.jit
def direct_rows(outputs, directions, end, unit, HIDDEN: tl.constexpr, ROWS: tl.constexpr):
    """n(h) of the first `end` rows, ROWS at a time."""
    for begin in range(0, end, ROWS):
        row = begin + tl.arange(0, ROWS)
        place = row[:, None] * HIDDEN + unit[None, :]
        inside = (row < end)[:, None] & (unit < HIDDEN)[None, :]
        x = tl.load(outputs + place, mask=inside, other=0.0)
        x = tl.where(inside, x - tl.sum(x, axis=1)[:, None] / HIDDEN, 0.0)
        tl.store(directions + place, x * tl.rsqrt(tl.sum(x * x, axis=1) + SHORT)[:, None], mask=inside)


@triton.jit
def product(matrix, vector, unit, HIDDEN: tl.constexpr, WIDTH: tl.constexpr, SLICE: tl.constexpr):
    """M v, both in memory, SLICE columns at a time."""
    total = tl.zeros([WIDTH, SLICE], matrix.dtype.element_ty)
    for begin in range(0, HIDDEN, SLICE):
        column = begin + tl.arange(0, SLICE)
        inside = (unit < HIDDEN)[:, None] & (column < HIDDEN)[None, :]
        part = tl.load(matrix + unit[:, None] * HIDDEN + column[None, :], mask=inside, other=0.0)
        total += part * tl.load(vector + column, mask=column < HIDDEN, other=0.0)[None, :]
    return tl.sum(total, axis=1)


@triton.jit
def product_transposed(matrix, vector, unit, HIDDEN: tl.constexpr, WIDTH: tl.constexpr, SLICE: tl.constexpr):
    """M^T v, both in memory, SLICE rows at a time."""
    total = tl.zeros([SLICE, WIDTH], matrix.dtype.element_ty)
    for begin in range(0, HIDDEN, SLICE):
        row = begin + tl.arange(0, SLICE)
        inside = (row < HIDDEN)[:, None] & (unit < HIDDEN)[None, :]
        part = tl.load(matrix + row[:, None] * HIDDEN + unit[None, :], mask=inside, other=0.0)
        total += part * tl.load(vector + row, mask=row < HIDDEN, other=0.0)[:, None]
    return tl.sum(total, axis=0)


@triton.jit
def attend(history, powers, query, t, unit, HIDDEN: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr):
    """The sum over the first t rows of the history of decay^(t-1-row) h <h, query>."""
    total = tl.zeros([ROWS, WIDTH], history.dtype.element_ty)
    for begin in range(0, t, ROWS):
        row = begin + tl.arange(0, ROWS)
        inside = (row < t)[:, None] & (unit < HIDDEN)[None, :]
        h = tl.load(history + row[:, None] * HIDDEN + unit[None, :], mask=inside, other=0.0)
        power = tl.load(powers + (t - 1 - row), mask=row < t, other=0.0)
        total += h * (tl.sum(h * query[None, :], axis=1) * power)[:, None]
    return tl.sum(total, axis=0)


@triton.jit(do_not_specialize=["time"])
def forward(
    inputs, recurrent, gain, bias, start, first, lengths, powers, rate, outputs, inner, normal, spread,
    passed, directions, time, stride_batch, stride_time, stride_unit,
    HIDDEN: tl.constexpr, INNER: tl.constexpr, NORMS: tl.constexpr, LAYER_NORM: tl.constexpr, RELU: tl.constexpr,
    FIRST: tl.constexpr, RAGGED: tl.constexpr, RESIDENT: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    SLICE: tl.constexpr, COSINE: tl.constexpr, TRAIN: tl.constexpr, EPSILON: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0).to(tl.int64)
    kind = outputs.dtype.element_ty
    unit = tl.arange(0, WIDTH)
    own = unit < HIDDEN
    end = time
    if RAGGED:
        end = tl.load(lengths + sample).to(tl.int32)
    eta = tl.load(rate).to(kind)
    x_row = inputs + sample * stride_batch
    before = start + sample * HIDDEN
    outputs += sample * time * HIDDEN
    if FIRST:
        first += sample * HIDDEN * HIDDEN
    if TRAIN:
        inner += sample * time * INNER * HIDDEN
        if LAYER_NORM:
            normal += sample * time * NORMS * HIDDEN
            spread += sample * time * NORMS
        if COSINE:
            passed += sample * time * INNER * 2 * HIDDEN
    elif FIRST:
        inner += sample * HIDDEN
    if COSINE:
        directions += sample * time * HIDDEN
    if LAYER_NORM:
        g = tl.load(gain + unit, mask=own, other=0.0)
        b = tl.load(bias + unit, mask=own, other=0.0)
    if RESIDENT:
        square = unit[:, None] * HIDDEN + unit[None, :]
        slow = tl.load(recurrent + square, mask=own[:, None] & own[None, :], other=0.0)
    h = tl.load(before + unit, mask=own, other=0.0)

    for t in range(0, end):
        x = tl.load(x_row + unit * stride_unit, mask=own, other=0.0).to(kind)
        if RESIDENT:
            boundary = x + tl.sum(slow * h[None, :], axis=1)
        else:
            boundary = x + product(recurrent, before, unit, HIDDEN, WIDTH, SLICE)
        if INNER == 0:
            read = boundary
            if LAYER_NORM:
                read, x_hat, one_over_std = normalise(read, g, b, own, HIDDEN, EPSILON)
                if TRAIN:
                    tl.store(normal + t * HIDDEN + unit, x_hat, mask=own)
                    tl.store(spread + t, one_over_std)
            h = activate(read, RELU)
        else:
            h = activate(boundary, RELU)
            if COSINE:
                argument = boundary
                size = centre(boundary, own, HIDDEN)[1]
            for s in range(0, INNER):
                u = h
                if COSINE:
                    u = direct(h, own, HIDDEN)[0]
                if TRAIN:
                    query = inner + (t * INNER + s) * HIDDEN
                    tl.store(query + unit, u, mask=own)
                elif FIRST:
                    query = inner
                    tl.debug_barrier()  # the row is used again: all must have read it
                    tl.store(query + unit, u, mask=own)
                if COSINE:
                    read = attend(directions, powers, u, t, unit, HIDDEN, WIDTH, ROWS)
                else:
                    read = boundary + eta * attend(outputs, powers, u, t, unit, HIDDEN, WIDTH, ROWS)
                if FIRST:
                    tl.debug_barrier()
                    read += tl.load(powers + t) * product(first, query, unit, HIDDEN, WIDTH, SLICE)
                if COSINE:
                    if TRAIN:
                        tl.store(passed + (t * INNER + s) * 2 * HIDDEN + unit, argument, mask=own)
                        tl.store(passed + ((t * INNER + s) * 2 + 1) * HIDDEN + unit, read, mask=own)
                    read = boundary + read * (eta * tl.sqrt(size / (size + tl.sum(read * read, axis=0))))
                if LAYER_NORM:
                    read, x_hat, one_over_std = normalise(read, g, b, own, HIDDEN, EPSILON)
                    if TRAIN:
                        tl.store(normal + (t * INNER + s) * HIDDEN + unit, x_hat, mask=own)
                        tl.store(spread + t * INNER + s, one_over_std)
                h = activate(read, RELU)
                if COSINE:
                    argument = read
        before = outputs + t * HIDDEN
        tl.store(before + unit, h, mask=own)
        if COSINE:
            key = direct(h, own, HIDDEN)[0]
            tl.store(directions + t * HIDDEN + unit, key, mask=own)
        tl.debug_barrier()
        x_row += stride_time


@triton.jit(do_not_specialize=["time"])
def backward(
    d_outputs, recurrent, gain, first, lengths, powers, slopes, rate, outputs, inner, normal, spread,
    passed, directions, d_inputs, d_inner, d_start, d_gain, d_bias, d_constants,
    time, stride_batch, stride_time, stride_unit,
    HIDDEN: tl.constexpr, INNER: tl.constexpr, NORMS: tl.constexpr, LAYER_NORM: tl.constexpr, RELU: tl.constexpr,
    FIRST: tl.constexpr, RAGGED: tl.constexpr, RESIDENT: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    SLICE: tl.constexpr, COSINE: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0).to(tl.int64)
    kind = outputs.dtype.element_ty
    unit = tl.arange(0, WIDTH)
    own = unit < HIDDEN
    end = time
    if RAGGED:
        end = tl.load(lengths + sample).to(tl.int32)
    eta = tl.load(rate).to(kind)
    outputs += sample * time * HIDDEN
    d_inputs += sample * time * HIDDEN
    d_row = d_outputs + sample * stride_batch + tl.cast(end - 1, tl.int64) * stride_time
    inner += sample * time * INNER * HIDDEN
    d_inner += sample * time * INNER * HIDDEN
    if FIRST:
        first += sample * HIDDEN * HIDDEN
    if LAYER_NORM:
        normal += sample * time * NORMS * HIDDEN
        spread += sample * time * NORMS
        g = tl.load(gain + unit, mask=own, other=0.0)
        sum_gain = tl.zeros([WIDTH], kind)
        sum_bias = tl.zeros([WIDTH], kind)
    if RESIDENT:
        square = unit[:, None] * HIDDEN + unit[None, :]
        slow = tl.load(recurrent + square, mask=own[:, None] & own[None, :], other=0.0)
    if COSINE:
        passed += sample * time * INNER * 2 * HIDDEN
        directions += sample * time * HIDDEN
        direct_rows(outputs, directions, end, unit, HIDDEN, ROWS)
        tl.debug_barrier()
    sum_rate = tl.zeros([WIDTH if COSINE else ROWS], kind)
    sum_decay = tl.zeros([ROWS], kind)
    sum_first = tl.zeros([WIDTH], kind)
    carried = tl.zeros([WIDTH], kind)  # to h(t) through W, from the step after

    for i in range(0, end):
        t = end - 1 - i
        h = tl.load(outputs + t * HIDDEN + unit, mask=own, other=0.0)
        d = tl.load(d_row + unit * stride_unit, mask=own, other=0.0).to(kind) + carried
        if INNER > 0:  # what later reads of the fast weights want of h(t), which is written in them
            key = h
            if COSINE:
                key, key_scale = direct(h, own, HIDDEN)
            total = tl.zeros([ROWS, WIDTH], kind)
            for begin in range((t + 1) * INNER, end * INNER, ROWS):
                row = begin + tl.arange(0, ROWS)
                later = row < end * INNER
                place = row[:, None] * HIDDEN + unit[None, :]
                u = tl.load(inner + place, mask=later[:, None] & own[None, :], other=0.0)
                d_read = tl.load(d_inner + place, mask=later[:, None] & own[None, :], other=0.0)
                with_u = tl.sum(u * key[None, :], axis=1)
                with_d = tl.sum(d_read * key[None, :], axis=1)
                age = row // INNER - t - 1
                power = tl.load(powers + age, mask=later, other=0.0)
                total += d_read * (power * with_u)[:, None] + u * (power * with_d)[:, None]
                if not COSINE:
                    sum_rate += power * (with_u * with_d)
                sum_decay += tl.load(slopes + age, mask=later, other=0.0) * (with_u * with_d)
            if COSINE:
                d += direct_back(tl.sum(total, axis=0), key, key_scale, own, HIDDEN)
            else:
                d += eta * tl.sum(total, axis=0)

        out = h
        d_boundary = tl.zeros([WIDTH], kind)
        if INNER == 0:
            d = d * slope(out, RELU)
            if LAYER_NORM:
                x_hat = tl.load(normal + t * HIDDEN + unit, mask=own, other=0.0)
                sum_gain += d * x_hat
                sum_bias += d
                d = normalise_back(d, g, x_hat, tl.load(spread + t), own, HIDDEN)
            d_boundary = d
        else:
            if COSINE:
                boundary = tl.load(passed + t * INNER * 2 * HIDDEN + unit, mask=own, other=0.0)
                around, size = centre(boundary, own, HIDDEN)
            for k in range(0, INNER):
                s = t * INNER + INNER - 1 - k
                d = d * slope(out, RELU)
                if LAYER_NORM:
                    x_hat = tl.load(normal + s * HIDDEN + unit, mask=own, other=0.0)
                    sum_gain += d * x_hat
                    sum_bias += d
                    d = normalise_back(d, g, x_hat, tl.load(spread + s), own, HIDDEN)
                d_boundary += d
                if COSINE:
                    read = tl.load(passed + (s * 2 + 1) * HIDDEN + unit, mask=own, other=0.0)
                    length = tl.sum(read * read, axis=0)
                    part = tl.sqrt(size / (size + length))
                    sum_rate += part * (d * read)
                    along = eta * part * tl.sum(d * read, axis=0) / (size + length)
                    d_boundary += along * (length / size) * around
                    d = eta * part * d - along * read
                    out = activate(tl.load(passed + s * 2 * HIDDEN + unit, mask=own, other=0.0), RELU)
                    query, scale = direct(out, own, HIDDEN)
                else:
                    out = tl.load(inner + s * HIDDEN + unit, mask=own, other=0.0)
                    query = out
                tl.store(d_inner + s * HIDDEN + unit, d, mask=own)
                if COSINE:
                    d = attend(directions, powers, d, t, unit, HIDDEN, WIDTH, ROWS)
                else:
                    d = eta * attend(outputs, powers, d, t, unit, HIDDEN, WIDTH, ROWS)
                if FIRST:
                    tl.debug_barrier()
                    d_first = product_transposed(first, d_inner + s * HIDDEN, unit, HIDDEN, WIDTH, SLICE)
                    d += tl.load(powers + t) * d_first
                    sum_first += tl.load(slopes + t) * (d_first * query)
                if COSINE:
                    d = direct_back(d, query, scale, own, HIDDEN)
            d_boundary += d * slope(out, RELU)

        tl.store(d_inputs + t * HIDDEN + unit, d_boundary, mask=own)
        tl.debug_barrier()
        if RESIDENT:
            carried = tl.sum(slow * d_boundary[:, None], axis=0)
        else:
            carried = product_transposed(recurrent, d_inputs + t * HIDDEN, unit, HIDDEN, WIDTH, SLICE)
        d_row -= stride_time

    tl.store(d_start + sample * HIDDEN + unit, carried, mask=own)
    if COSINE:
        tl.store(d_constants + sample * 2, tl.sum(sum_decay, axis=0) + tl.sum(sum_first, axis=0))
    else:
        tl.store(d_constants + sample * 2, eta * tl.sum(sum_decay, axis=0) + tl.sum(sum_first, axis=0))
    tl.store(d_constants + sample * 2 + 1, tl.sum(sum_rate, axis=0))
    if LAYER_NORM:
        tl.store(d_gain + sample * HIDDEN + unit, sum_gain, mask=own)
        tl.store(d_bias + sample * HIDDEN + unit, sum_bias, mask=own)
