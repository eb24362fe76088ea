"""One symbol of a decoder in one compiled call: a GRU step, a read of its memory, and the answer; without a gradient.

At batch 1 the calls around a step cost more than its arithmetic.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import address, scratch, whole
from fastweights.ops.cpu.launch import launch

_MODULE = "decoder_step.cpu_kernels"
KINDS = ("context", "matrix", "softmax", "additive")
FEATURES = ("itself", "unit", "positive")


class Weights(NamedTuple):
    """Those of a decoder, contiguous, of one dtype, on a CPU.

    table: [symbols, 3 hidden], what the input weights and the biases that can be added to them give for each symbol, in
    the order of `nn.GRU`. query and from_hidden: the rows [key + mixed, hidden] of the query, then of the part of the
    mixing layer that sees the hidden vector.
    """

    table: Tensor  # [symbols, 3 hidden]
    recurrent: Tensor  # [3 hidden, hidden]
    candidate_bias: Tensor  # [hidden], inside the reset gate
    from_hidden: Tensor  # [key + mixed, hidden]
    from_hidden_bias: Tensor  # [key + mixed]
    from_memory: Tensor  # [mixed, value]
    head: Tensor  # [outputs, mixed]
    head_bias: Tensor  # [outputs]
    gain: Tensor | None  # [value], of a layer norm over what was read
    bias: Tensor | None
    score: Tensor | None  # [key], of additive attention


class Reading(NamedTuple):
    """How a memory is read, by the names above; `least` is added to what a sum is divided by."""

    kind: str
    feature: str = "itself"
    least: float = 0.0


def step(
    weights: Weights, reading: Reading, symbols: Tensor, hidden: Tensor, memory: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The answers [batch, outputs] and the next hidden vectors, like `hidden` [1, batch, hidden].

    symbols: [batch], int64. memory, by kind: context [batch, value]; matrix [batch, value, key] and, for positive
    features, their sum [batch, key]; softmax and additive: keys [batch, time, key], values [batch, time, value], valid
    [batch, time]. Raises ValueError where one does not fit, and IndexError where there is no such symbol.
    """
    units, (mixed, values), outputs = weights.recurrent.shape[1], weights.from_memory.shape, len(weights.head)
    batch, keys, time = symbols.numel(), len(weights.from_hidden) - mixed, memory[0].shape[1]
    dtype = weights.recurrent.dtype
    shapes = {
        "context": ((batch, values),),
        "matrix": ((batch, values, keys), (batch, keys))[: 1 + (reading.feature == "positive")],
        "softmax": ((batch, time, keys), (batch, time, values), (batch, time)),
    }["softmax" if reading.kind == "additive" else reading.kind]
    fit = limits.fits(symbols, torch.int64, batch) and limits.fits(hidden, dtype, 1, batch, units)
    fit = fit and len(memory) == len(shapes) and symbols.is_contiguous() and hidden.is_contiguous()
    for place, (tensor, shape) in enumerate(zip(memory, shapes, strict=False)):
        kind = torch.bool if place == 2 else dtype
        fit = fit and limits.fits(tensor, kind, *shape) and tensor.is_contiguous()
    if not fit:
        got = ", ".join(f"{list(tensor.shape)} ({tensor.dtype})" for tensor in (symbols, hidden, *memory))
        wanted = ", ".join(map(str, ([batch], [1, batch, units], *map(list, shapes))))
        raise UserError(
            f"step: got symbols, hidden vectors and memory of {got}; wanted {wanted} of {dtype}, contiguous"
        )
    new, answers = torch.empty_like(hidden), hidden.new_empty(batch, outputs)
    wide = whole(max(units, keys), hidden.dtype)
    work = scratch("decoder step", 5 * wide + keys + mixed + values + time, hidden.dtype)
    kind, feature = KINDS.index(reading.kind), FEATURES.index(reading.feature)
    sizes = (batch, units, wide, keys, values, mixed, outputs, time, kind, feature, len(weights.table))
    held = [tensor.data_ptr() for tensor in memory]
    given = (symbols.data_ptr(), hidden.data_ptr(), *held, *(3 - len(held)) * [0])
    made = (new.data_ptr(), answers.data_ptr(), work.data_ptr())
    addresses = (*[address(tensor) for tensor in weights], *given, *made)
    if not launch(_MODULE, "step", hidden.dtype, sizes, reading.least, addresses):
        raise IndexError(f"symbols: got {symbols.min()} to {symbols.max()}, wanted 0 to {len(weights.table) - 1}")
    return answers, new
