"""What the kernels of `cpu_kernels.py` do to one sample at a time: its own matrix, and a streamed step."""

import math

from fastweights.ops.cpu.compilation import helper, summing_helper
from fastweights.ops.cpu.rows import times_vector
from fastweights.ops.layer_norm import EPSILON
from fastweights.rules.cosine import EPSILON as SMALL
from fastweights.rules.delta import SHORTEST


@helper
def recall(weights, b, factor, hidden, x, x0, lanes, vector, result, out, out0):
    """out += factor A x for sample b of the batch: one lane of x and of out."""
    for k in range(hidden):
        vector[k], result[k] = x[x0 + k * lanes] * factor, 0
    times_vector(weights[b], vector, result)
    for k in range(hidden):
        out[out0 + k * lanes] += result[k]


@summing_helper
def recall_transposed(weights, b, hidden, x, x0, lanes, vector, out, out0):
    """out = A^T x for one lane."""
    matrix = weights[b]
    v = vector[:hidden]
    v[:] = 0
    i = 0
    while i < hidden:
        if i + 4 <= hidden:
            r0, r1, r2, r3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
            x_0, x_1 = x[x0 + i * lanes], x[x0 + (i + 1) * lanes]
            x_2, x_3 = x[x0 + (i + 2) * lanes], x[x0 + (i + 3) * lanes]
            for k in range(hidden):
                v[k] += r0[k] * x_0 + r1[k] * x_1 + r2[k] * x_2 + r3[k] * x_3
            i += 4
        else:
            r0, x_0 = matrix[i], x[x0 + i * lanes]
            for k in range(hidden):
                v[k] += r0[k] * x_0
            i += 1
    for k in range(hidden):
        out[out0 + k * lanes] = v[k]


@summing_helper
def settle(x, gain, bias, norm, relu, out):
    """out = f(LN[x]) of one sample."""
    units = len(x)
    mean = square = x[0] * 0
    if norm:
        for k in range(units):
            mean += x[k]
        mean /= units
        for k in range(units):
            square += (x[k] - mean) * (x[k] - mean)
        scale = 1 / math.sqrt(square / units + EPSILON)
        for k in range(units):
            out[k] = (x[k] - mean) * scale * gain[k] + bias[k]
    else:
        for k in range(units):
            out[k] = x[k]
    if relu:
        for k in range(units):
            out[k] = 0 if out[k] < 0 else out[k]  # NaN stays
    else:
        for k in range(units):
            out[k] = math.tanh(out[k])


@summing_helper
def direct_row(x, out):
    """out = (x - mean) / |x - mean| of one sample."""
    units = len(x)
    mean = square = x[0] * 0
    for k in range(units):
        mean += x[k]
    mean /= units
    for k in range(units):
        square += (x[k] - mean) * (x[k] - mean)
    scale = 1 / math.sqrt(square + SMALL)
    for k in range(units):
        out[k] = (x[k] - mean) * scale


@summing_helper
def add_bounded_row(boundary, read, rate):
    """read = b + rate read sqrt(B / (B + |read|^2)), B = |b - mean b|^2 + epsilon."""
    units = len(read)
    mean = square = length = read[0] * 0
    for k in range(units):
        mean += boundary[k]
        length += read[k] * read[k]
    mean /= units
    for k in range(units):
        square += (boundary[k] - mean) * (boundary[k] - mean)
    square += SMALL
    scale = rate * math.sqrt(square / (square + length))
    for k in range(units):
        read[k] = boundary[k] + read[k] * scale


@summing_helper
def unit_row(x, out):
    """out = x / |x| of one sample, the key of `Delta`."""
    square = x[0] * 0
    for k in range(len(x)):
        square += x[k] * x[k]
    length = math.sqrt(square)
    scale = 1 / (SHORTEST if length < SHORTEST else length)
    for k in range(len(x)):
        out[k] = x[k] * scale


@summing_helper
def attend_rows(keys, values, steps, units, scale, key, out):
    """out += sum_tau scale[steps - 1 - tau] values[tau] <keys[tau], key> of one sample."""
    for t in range(steps):
        score, o = key[0] * 0, t * units
        for k in range(units):
            score += keys[o + k] * key[k]
        score *= scale[steps - 1 - t]
        for k in range(units):
            out[k] += score * values[o + k]
