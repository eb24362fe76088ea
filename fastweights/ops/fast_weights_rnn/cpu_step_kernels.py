"""One step of a few samples in Numba, as a stream has it: tensors come as in `cpu_kernels.py`."""

import numba

from fastweights.ops.cpu.compilation import cached
from fastweights.ops.cpu.lanes import at
from fastweights.ops.cpu.rows import times_vector
from fastweights.ops.fast_weights_rnn.cpu_samples import add_bounded_row, direct_row, settle, unit_row
from fastweights.ops.fast_weights_rnn.kinds import COSINE, DELTA


@cached
def step(kind, sizes, constants, tensors):
    """One step of a few samples and the fast weights after it: rows of a matrix at a time, for no tile is full."""
    batch, features, units, inner, relu, rule = sizes
    inputs, projection, projection_bias, recurrent, gain, bias, hidden, weights, outputs, new_weights, work = tensors
    C, c = numba.carray(at(projection, kind), (units, features)), numba.carray(at(projection_bias, kind), (units,))
    W, A = numba.carray(at(recurrent, kind), (units, units)), numba.carray(at(weights, kind), (batch, units, units))
    x, h = numba.carray(at(inputs, kind), (batch, features)), numba.carray(at(hidden, kind), (batch, units))
    y, new = numba.carray(at(outputs, kind), (batch, units)), numba.carray(at(new_weights, kind), (batch, units, units))
    gains, biases = numba.carray(at(gain, kind), (units,)), numba.carray(at(bias, kind), (units,))
    own = numba.carray(at(work, kind), (3, units))
    boundary, before, key = own[0], own[1], own[2]
    cosine, delta = rule == COSINE, rule == DELTA
    decay, rate = kind.dtype.type(constants[0]), kind.dtype.type(constants[1])
    for b in range(batch):
        u = y[b]
        if not projection:
            boundary[:] = x[b]
        else:
            if projection_bias:
                boundary[:] = c
            else:
                boundary[:] = 0
            times_vector(C, x[b], boundary)
        if hidden:
            times_vector(W, h[b], boundary)
        settle(boundary, gains, biases, gain != 0 and inner == 0, relu, u)
        for _ in range(inner):
            before[:] = boundary
            if weights and cosine:
                before[:] = 0
                direct_row(u, key)
                times_vector(A[b], key, before)
                add_bounded_row(boundary, before, constants[1])
            elif weights:
                times_vector(A[b], u, before)
            settle(before, gains, biases, gain != 0, relu, u)
        if cosine:
            direct_row(u, key)
        elif delta:
            unit_row(u, key)
        else:
            key[:] = u
        before[:] = 0
        if delta and weights:
            times_vector(A[b], key, before)
        for i in range(units):
            value, row = key[i] if cosine else rate * (u[i] - decay * before[i]), new[b, i]
            if weights:
                old = A[b, i]
                for k in range(units):
                    row[k] = decay * old[k] + value * key[k]
            else:
                for k in range(units):
                    row[k] = value * key[k]
