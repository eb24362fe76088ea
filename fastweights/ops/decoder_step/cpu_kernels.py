"""A decoder's step in Numba, one stream after the other: products row by row, gates a vector at a time."""

import math

import numba
import numpy

from fastweights.ops.cpu.compilation import cached, helper, summing_helper
from fastweights.ops.cpu.lanes import at, fill, hyperbolic_tangent, lanes_of, load, store
from fastweights.ops.cpu.rows import times_vector
from fastweights.ops.layer_norm import EPSILON

MATRIX, SOFTMAX, ADDITIVE = 1, 2, 3  # of KINDS
UNIT, POSITIVE = 1, 2  # of FEATURES
SHORTEST = 1e-6  # a key shorter than this is divided by it


@helper
def gates(kind, reset, update, candidate, inner, wide):
    """candidate = tanh(candidate + sigmoid(reset) inner), update = sigmoid(update)"""
    half = fill(0.5, kind)
    for j in range(0, wide, lanes_of(kind)):
        opened = half + half * hyperbolic_tangent(half * load(reset, j, kind))
        store(update, j, half + half * hyperbolic_tangent(half * load(update, j, kind)))
        store(candidate, j, hyperbolic_tangent(load(candidate, j, kind) + opened * load(inner, j, kind)))


@summing_helper
def featured(query, feature):
    """The query as the memory is addressed with it, in place."""
    if feature == UNIT:
        square = query[0] * 0
        for k in range(len(query)):
            query[k] = query[k] / (1 + math.exp(-query[k]))
            square += query[k] * query[k]
        length = math.sqrt(square)
        scale = 1 / (SHORTEST if length < SHORTEST else length)
        for k in range(len(query)):
            query[k] *= scale
    elif feature == POSITIVE:
        for k in range(len(query)):
            query[k] = 1 + query[k] if query[k] > 0 else math.exp(query[k])


@summing_helper
def normalise(x, gain, bias):
    """LN[x], in place."""
    mean = square = x[0] * 0
    for k in range(len(x)):
        mean += x[k]
    mean /= len(x)
    for k in range(len(x)):
        square += (x[k] - mean) * (x[k] - mean)
    scale = 1 / math.sqrt(square / len(x) + EPSILON)
    for k in range(len(x)):
        x[k] = (x[k] - mean) * scale * gain[k] + bias[k]


@summing_helper
def inner_product(x, y):
    total = x[0] * 0
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@summing_helper
def add_scaled(scale, x, out):
    for k in range(len(x)):
        out[k] += scale * x[k]


@helper
def additive_score(kind, key, query, score, work):
    """<score, tanh(key + query)>; work: as long, to whole vectors."""
    for k in range(len(query)):
        work[k] = key[k] + query[k]
    for k in range(0, len(query), lanes_of(kind)):
        store(work, k, hyperbolic_tangent(load(work, k, kind)))
    return inner_product(score, work)


@helper
def attend(kind, keys, values, valid, query, score, additive, weights, work, out):
    """out = sum_t softmax_t(score) values[t], over the steps that are valid."""
    most, total = -math.inf, query[0] * 0
    for t in range(len(keys)):
        if valid[t]:
            if additive:
                weights[t] = additive_score(kind, keys[t], query, score, work)
            else:
                weights[t] = inner_product(keys[t], query)
            most = max(most, weights[t])
    out[:] = 0
    for t in range(len(keys)):
        if valid[t]:
            share = math.exp(weights[t] - most)
            total += share
            add_scaled(share, values[t], out)
    if total > 0:
        for k in range(len(out)):
            out[k] /= total


@cached
def step(kind, sizes, least, addresses):
    """False where there is no such symbol."""
    batch, units, wide, keys, values, mixed, outputs, time, how, feature, entries = sizes
    table, recurrent, inside, from_hidden, from_bias, from_memory, head, head_bias, gain, bias, score = addresses[:11]
    symbols, hidden, first, second, third, new, answers, work = addresses[11:]
    names = numba.carray(at(symbols, numpy.int64), (batch,))
    rows, W = numba.carray(at(table, kind), (entries, 3, units)), numba.carray(at(recurrent, kind), (3, units, units))
    b_n, F = numba.carray(at(inside, kind), (units,)), numba.carray(at(from_hidden, kind), (keys + mixed, units))
    b_F, M = numba.carray(at(from_bias, kind), (keys + mixed,)), numba.carray(at(from_memory, kind), (mixed, values))
    out_of, b_out = numba.carray(at(head, kind), (outputs, mixed)), numba.carray(at(head_bias, kind), (outputs,))
    gains, biases = numba.carray(at(gain, kind), (values,)), numba.carray(at(bias, kind), (values,))
    scores, h = numba.carray(at(score, kind), (keys,)), numba.carray(at(hidden, kind), (batch, units))
    y, out = numba.carray(at(new, kind), (batch, units)), numba.carray(at(answers, kind), (batch, outputs))
    context, A = numba.carray(at(first, kind), (batch, values)), numba.carray(at(first, kind), (batch, values, keys))
    K, V = numba.carray(at(first, kind), (batch, time, keys)), numba.carray(at(second, kind), (batch, time, values))
    totals, valid = (
        numba.carray(at(second, kind), (batch, keys)),
        numba.carray(at(third, numpy.uint8), (batch, time)),
    )
    lanes = numba.carray(at(work, kind), (5, wide))
    reset, update, candidate, inner, together = lanes[0], lanes[1], lanes[2], lanes[3], lanes[4]
    own = numba.carray(at(work, kind), (5 * wide + keys + mixed + values + time,))[5 * wide :]
    asked, read, weights = own[: keys + mixed], own[keys + mixed : keys + mixed + values], own[keys + mixed + values :]
    query, mix = asked[:keys], asked[keys:]
    for b in range(batch):
        if names[b] < 0 or names[b] >= entries:
            return False
        row = rows[names[b]]
        reset[units:], update[units:], candidate[units:], inner[units:] = 0, 0, 0, 0
        reset[:units], update[:units], candidate[:units], inner[:units] = row[0], row[1], row[2], b_n
        times_vector(W[0], h[b], reset[:units])
        times_vector(W[1], h[b], update[:units])
        times_vector(W[2], h[b], inner[:units])
        gates(kind, reset, update, candidate, inner, wide)
        state = y[b]
        for k in range(units):
            state[k] = candidate[k] + update[k] * (h[b, k] - candidate[k])
        asked[:] = b_F
        times_vector(F, state, asked)
        if how == MATRIX:
            featured(query, feature)
            read[:] = 0
            times_vector(A[b], query, read)
            if feature == POSITIVE:
                share = 1 / (inner_product(totals[b], query) + kind.dtype.type(least))
                for k in range(values):
                    read[k] *= share
        elif how == SOFTMAX or how == ADDITIVE:
            attend(kind, K[b], V[b], valid[b], query, scores, how == ADDITIVE, weights, together, read)
        else:
            read[:] = context[b]
        if gain:
            normalise(read, gains, biases)
        times_vector(M, read, mix)
        for k in range(mixed):
            mix[k] = 0 if mix[k] < 0 else mix[k]  # NaN stays
        out[b] = b_out
        times_vector(out_of, mix, out[b])
    return True
