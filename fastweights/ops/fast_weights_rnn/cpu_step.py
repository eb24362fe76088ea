"""One streamed step in one compiled kernel: input projection, slow recurrence, inner loop and the write into A(t).

For tokens that come one at a time and want no gradient. At batch 1 the calls around a step cost more than its
arithmetic: this is one call, with two buffers for what it returns.
"""

import math

import numba
import numpy
import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn.call import EPSILON
from fastweights.ops.fast_weights_rnn.cpu_kernels import _cached
from fastweights.ops.fast_weights_rnn.cpu_lanes import at


def step(
    x: Tensor,
    projection: Tensor | None,
    projection_bias: Tensor | None,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor | None,
    weights: Tensor | None,
    constants: tuple[float, float],
    inner_steps: int,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    """h(t+1) [batch, hidden] and A(t+1) from x(t+1), h(t) and A(t); None where there is none.

    x: [batch, input_size] with its projection C [hidden, input_size]; [batch, hidden], projected already, without.
    """
    batch, features = x.shape
    tensors = [
        t if t is None or t.is_contiguous() else t.contiguous()
        for t in (x, projection, projection_bias, recurrent, gain, bias, hidden, weights)
    ]
    units = recurrent.shape[0]
    new_hidden, new_weights = x.new_empty(batch, units), x.new_empty(batch, units, units)
    scratch = x.new_empty(4 * units)
    kind = _FLOAT if x.dtype == torch.float32 else _DOUBLE
    _step(
        kind,
        (batch, features, units, inner_steps, relu),
        constants,
        (
            *[0 if t is None else t.data_ptr() for t in tensors],
            new_hidden.data_ptr(),
            new_weights.data_ptr(),
            scratch.data_ptr(),
        ),
    )
    return new_hidden, new_weights


_FLOAT, _DOUBLE = (numpy.float32(0),), (0.0,)
_helper = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


@_helper
def _add_product(matrix, vector, out):
    """out += matrix @ vector, four rows at a time."""
    rows, columns = matrix.shape
    i = 0
    while i + 4 <= rows:
        r0, r1, r2, r3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        a0 = a1 = a2 = a3 = vector[0] * 0
        for k in range(columns):
            a0 += r0[k] * vector[k]
            a1 += r1[k] * vector[k]
            a2 += r2[k] * vector[k]
            a3 += r3[k] * vector[k]
        out[i] += a0
        out[i + 1] += a1
        out[i + 2] += a2
        out[i + 3] += a3
        i += 4
    while i < rows:
        row, a0 = matrix[i], vector[0] * 0
        for k in range(columns):
            a0 += row[k] * vector[k]
        out[i] += a0
        i += 1


@_helper
def _settle(x, gain, bias, norm, relu, out):
    """out = f(LN[x])"""
    units = len(x)
    if norm:
        mean, squares = x[0] * 0, x[0] * 0
        for k in range(units):
            mean += x[k]
        mean /= units
        for k in range(units):
            squares += (x[k] - mean) * (x[k] - mean)
        scale = 1 / (squares / units + EPSILON) ** 0.5
        for k in range(units):
            out[k] = (x[k] - mean) * scale * gain[k] + bias[k]
    else:
        out[:] = x
    for k in range(units):
        if not relu:
            out[k] = math.tanh(out[k])
        elif out[k] < 0:
            out[k] = 0


@_cached
def _step(kind, sizes, constants, tensors):
    batch, features, units, inner, relu = sizes
    decay, rate = constants
    x_in, projection, projection_bias, recurrent, gain, bias, hidden, weights, out, out_weights, scratch = tensors
    zero = kind[0]
    x = numba.carray(at(x_in, kind), (batch, features))
    C, c = numba.carray(at(projection, kind), (units, features)), numba.carray(at(projection_bias, kind), (units,))
    W, h_in = numba.carray(at(recurrent, kind), (units, units)), numba.carray(at(hidden, kind), (batch, units))
    gains, biases = numba.carray(at(gain, kind), (units,)), numba.carray(at(bias, kind), (units,))
    A, h = numba.carray(at(weights, kind), (batch, units, units)), numba.carray(at(out, kind), (batch, units))
    new, own = numba.carray(at(out_weights, kind), (batch, units, units)), numba.carray(at(scratch, kind), (4, units))
    boundary, u, z = own[0], own[1], own[2]
    lam, eta = zero + decay, zero + rate
    for b in range(batch):
        if projection:
            if projection_bias:
                boundary[:] = c
            else:
                boundary[:] = zero
            _add_product(C, x[b], boundary)
        else:
            boundary[:] = x[b]
        if hidden:
            _add_product(W, h_in[b], boundary)
        if inner == 0:
            _settle(boundary, gains, biases, gain != 0, relu, h[b])
        else:
            _settle(boundary, gains, biases, False, relu, u)
        for s in range(inner):
            z[:] = boundary
            if weights:
                _add_product(A[b], u, z)
            _settle(z, gains, biases, gain != 0, relu, h[b] if s + 1 == inner else u)
        for i in range(units):
            scaled, row = eta * h[b, i], new[b, i]
            if weights:
                old = A[b, i]
                for k in range(units):
                    row[k] = lam * old[k] + scaled * h[b, k]
            else:
                for k in range(units):
                    row[k] = scaled * h[b, k]
