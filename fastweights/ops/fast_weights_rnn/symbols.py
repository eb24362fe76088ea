"""From symbols to the last hidden vector, in one call: what a classifier of sequences does, without what it discards.

The kernels read each step from the table of projected symbols and gather the gradient there; neither the inputs of all
steps nor the gradients of outputs that nobody looks at are ever formed. The projection is part of the call: a node of
autograd costs as much as its product.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import lend
from fastweights.ops.fast_weights_rnn import cpu, cpu_passes, second_order
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory
from fastweights.ops.fast_weights_rnn.kinds import kind_of


def last_hidden(
    features: Tensor,
    projection: Tensor,
    projection_bias: Tensor | None,
    symbols: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    rule: Any,
    inner_steps: int,
    nonlinearity: str,
) -> Tensor | None:
    """`fast_weights_rnn(C features[symbols], ...)[0][:, -1]`; None where the op has to run it, or to say what is wrong.

    features: [number of symbols, input_size]; projection: C, [hidden, input_size]; symbols: [batch, time] int64. Raises
    IndexError where features has no such symbol.
    """
    dtype, kind = features.dtype, kind_of(rule)
    if kind is None or symbols.dtype is not torch.int64 or symbols.dim() != 2 or not symbols.numel():
        return None
    if (
        not limits.runs(dtype)
        or features.dim() != 2
        or projection.dim() != 2
        or features.shape[1] != projection.shape[1]
        or cpu.cuts(symbols.shape[1], projection.shape[0], inner_steps)
        or torch.is_autocast_enabled("cpu")
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return None
    units = projection.shape[0]  # kernels do not look where they read
    if (
        (gain is None) != (bias is None)
        or recurrent.shape != (units, units)
        or any(v is not None and v.shape != (units,) for v in (gain, bias))
    ):
        return None
    for tensor in (features, projection, projection_bias, recurrent, gain, bias):
        if tensor is not None and not limits.readable(tensor, dtype):
            return None
    if type(symbols) is not Tensor or not limits.readable(symbols, torch.int64):
        return None
    tensors = (features, projection, projection_bias, recurrent, gain, bias, rule.decay, rule.rate)
    settings = (inner_steps, nonlinearity == "relu", kind)
    if torch.is_grad_enabled():  # NumPy may write into the symbols before the backward pass, which does not look again
        return _LastHidden.apply(*tensors, symbols.clone(memory_format=torch.contiguous_format), *settings)
    return _forward(tensors, symbols.contiguous(), *settings, saved=None)


def _forward(arguments: Any, symbols: Tensor, inner_steps: int, relu: bool, kind: int, saved: Tensor | None) -> Tensor:
    features, projection, projection_bias, recurrent, gain, bias, decay, rate = arguments
    table = functional.linear(features, projection, projection_bias)
    memory = Memory(float(decay), float(rate), kind)
    return cpu_passes.forward(table, recurrent, gain, bias, None, None, memory, None, inner_steps, relu, saved, symbols)


class _LastHidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        tensors, settings = arguments[:8], arguments[8:]
        if not any(ctx.needs_input_grad):
            return _forward(tensors, *settings, saved=None)
        features, projection, projection_bias, recurrent, gain, bias, *constants = tensors
        symbols = settings[0]
        shape, dtype = (*symbols.shape, len(projection)), features.dtype
        kept = lend((cpu_passes.saved_size(shape, dtype, settings[1], gain is not None, settings[3]),), dtype)
        last = _forward(tensors, *settings, saved=kept)
        tensor_constants = [c if isinstance(c, Tensor) else None for c in constants]
        slow = recurrent, gain, bias, symbols, kept, *tensor_constants
        table = (features, projection, projection_bias) if any(ctx.needs_input_grad[:3]) else (None, None, None)
        ctx.save_for_backward(*table, *slow)  # what is not read may change before the backward pass
        ctx.constants = [None if isinstance(c, Tensor) else c for c in constants]
        ctx.settings, ctx.kind, ctx.entries = settings[1:3], settings[3], len(features)
        return last

    @staticmethod
    @limits.first_order(second_order.of_last_hidden)
    def backward(ctx: Any, *d: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        features, projection, _, recurrent, gain, bias, symbols, kept, *learned = ctx.saved_tensors
        decay, rate = (c if fixed is None else fixed for c, fixed in zip(learned, ctx.constants, strict=True))
        needs = ctx.needs_input_grad
        wanted = (True, *needs[3:6], False, False, *needs[6:8])
        tensors = (d[0], recurrent, gain, bias, None, None, None, kept)
        memory = Memory(float(decay), float(rate), ctx.kind)
        given: Any = (*tensors, memory, *ctx.settings, wanted, symbols, ctx.entries)
        found: Any = cpu_passes.backward(*given)
        d_table, d_recurrent, d_gain, d_bias, _, _, d_decay, d_rate = found
        return (
            d_table @ projection if needs[0] else None,
            d_table.t() @ features if needs[1] else None,
            d_table.sum(0) if needs[2] else None,
            d_recurrent,
            d_gain if needs[4] else None,
            d_bias if needs[5] else None,
            d_decay.to(decay).view_as(decay) if needs[6] else None,
            d_rate.to(rate).view_as(rate) if needs[7] else None,
            *(None, None, None, None),
        )
