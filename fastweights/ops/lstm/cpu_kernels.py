"""One step of an LSTM in Numba, forward and backward, number by number, a vector of them at a time.

rows      [row, batch]     what the weights give, in the order of `nn.LSTM`; `forward` leaves the gates there
before    [unit, batch]    the cell state; `after` and `d_memory` likewise
"""

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import fill, hyperbolic_tangent, lanes_of, load, store


@helper
def sigmoid(kind, x):
    half = fill(0.5, kind)
    return half + half * hyperbolic_tangent(half * x)


@cached
def forward(kind, n, rows, before, after, hidden):
    for j in range(0, n, lanes_of(kind)):
        enter, forget = sigmoid(kind, load(rows, j, kind)), sigmoid(kind, load(rows, n + j, kind))
        update = hyperbolic_tangent(load(rows, 2 * n + j, kind))
        leave = sigmoid(kind, load(rows, 3 * n + j, kind))
        memory = forget * load(before, j, kind) + enter * update
        store(rows, j, enter)
        store(rows, n + j, forget)
        store(rows, 2 * n + j, update)
        store(rows, 3 * n + j, leave)
        store(after, j, memory)
        store(hidden, j, leave * hyperbolic_tangent(memory))


@cached
def backward(kind, n, rows, before, after, d_hidden, d_memory, d_rows):
    """`d_memory`, the gradient of `after`, becomes that of `before`."""
    one = fill(1.0, kind)
    for j in range(0, n, lanes_of(kind)):
        enter, forget = load(rows, j, kind), load(rows, n + j, kind)
        update, leave = load(rows, 2 * n + j, kind), load(rows, 3 * n + j, kind)
        shown, d = hyperbolic_tangent(load(after, j, kind)), load(d_hidden, j, kind)
        d_after = load(d_memory, j, kind) + d * leave * (one - shown * shown)
        store(d_rows, j, d_after * update * enter * (one - enter))
        store(d_rows, n + j, d_after * load(before, j, kind) * forget * (one - forget))
        store(d_rows, 2 * n + j, d_after * enter * (one - update * update))
        store(d_rows, 3 * n + j, d * shown * leave * (one - leave))
        store(d_memory, j, d_after * forget)
