"""RMSNorm in Numba, forward and backward, row by row. Tensors come as addresses; `kind` carries dtype and lanes."""

import math

from fastweights.ops.cpu.compilation import cached
from fastweights.ops.cpu.lanes import fill, integer, lanes_of, load, store
from fastweights.ops.cpu.vectors import clear, numbers, put, some, sum_of
from fastweights.ops.rms_norm.epsilon import EPSILON


@cached
def forward(kind, share, size, addresses):
    """Of rows [share[0], share[1])."""
    x, gain, y = numbers(addresses[0], kind), numbers(addresses[1], kind), numbers(addresses[2], kind)
    lanes = lanes_of(kind)
    for row in range(share[0] * size, share[1] * size, size):
        squares = fill(0.0, kind)
        for c in range(0, size, lanes):
            now = some(kind, x, row + c, size - c)
            squares = squares + now * now
        scale = fill(1.0 / math.sqrt(sum_of(squares) / size + EPSILON), kind)
        for c in range(0, size, lanes):
            now = some(kind, x, row + c, size - c) * some(kind, gain, c, size - c)
            put(kind, y, row + c, scale * now, size - c)


@cached
def backward(kind, share, size, addresses):
    """Gradients of rows [share[0], share[1]), and what these have of the gain's: whole vectors, and one more."""
    x, gain, d = numbers(addresses[0], kind), numbers(addresses[1], kind), numbers(addresses[2], kind)
    d_x, d_gain, lanes = numbers(addresses[3], kind), numbers(addresses[4], kind), lanes_of(kind)
    clear(kind, d_gain, integer(0), size)
    for row in range(share[0] * size, share[1] * size, size):
        squares, inner = fill(0.0, kind), fill(0.0, kind)
        for c in range(0, size, lanes):
            now = some(kind, x, row + c, size - c)
            squares = squares + now * now
            inner = inner + now * some(kind, gain, c, size - c) * some(kind, d, row + c, size - c)
        by = 1.0 / math.sqrt(sum_of(squares) / size + EPSILON)
        scale, along = fill(by, kind), fill(by * by * by * sum_of(inner) / size, kind)
        for c in range(0, size, lanes):
            now, given = some(kind, x, row + c, size - c), scale * some(kind, d, row + c, size - c)
            put(kind, d_x, row + c, given * some(kind, gain, c, size - c) - along * now, size - c)
            store(d_gain, c, load(d_gain, c, kind) + given * now)
