"""From symbols to the last hidden vector, in one call: what a classifier of sequences does, without what it discards.

The kernels read each step from the table of projected symbols and gather the gradient there; neither the inputs of all
steps nor the gradients of outputs that nobody looks at are ever formed.
"""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn import cpu, cpu_runtime
from fastweights.rules import Hebbian


def last_hidden(
    table: Tensor,
    symbols: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    rule: Any,
    inner_steps: int,
    nonlinearity: str,
) -> Tensor | None:
    """`fast_weights_rnn(table[symbols], ...)[0][:, -1]`; None where only the op can run it, or say what is wrong.

    table: [number of symbols, hidden], C x of each symbol; symbols: [batch, time] int64. Raises IndexError where one is
    not in the table.
    """
    dtype, units = table.dtype, table.shape[1]
    if type(rule) is not Hebbian or symbols.dtype is not torch.int64 or symbols.dim() != 2 or not symbols.numel():
        return None
    if (
        not cpu.runs(dtype)
        or cpu.cuts(symbols.shape[1], units, inner_steps)
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return None
    for tensor in (table, symbols, recurrent, gain, bias):
        if tensor is not None and (not tensor.is_cpu or (tensor.is_floating_point() and tensor.dtype is not dtype)):
            return None
    settings = (symbols.contiguous(), inner_steps, nonlinearity == "relu")
    if torch.is_grad_enabled():
        return _LastHidden.apply(table, recurrent, gain, bias, rule.decay, rule.rate, *settings)
    return _forward((table, recurrent, gain, bias, rule.decay, rule.rate), *settings, saved=None)


def _forward(arguments: Any, symbols: Tensor, inner_steps: int, relu: bool, saved: Tensor | None) -> Tensor:
    table, recurrent, gain, bias, decay, rate = arguments
    return cpu_runtime.forward(
        table, recurrent, gain, bias, None, None, float(decay), float(rate), None, inner_steps, relu, saved, symbols
    )


class _LastHidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        tensors, settings = arguments[:6], arguments[6:]
        gain, symbols, inner_steps = tensors[2], *settings[:2]
        kept = None
        if any(ctx.needs_input_grad):
            shape = (*symbols.shape, tensors[0].shape[1])
            size = cpu_runtime.saved_size(shape, tensors[0].dtype, inner_steps, gain is not None)
            kept = cpu_runtime.Lent(size, tensors[0].dtype)
        last = _forward(tensors, *settings, saved=None if kept is None else kept.tensor)
        if kept is not None:
            ctx.save_for_backward(*tensors[1:4], symbols)
            ctx.kept, ctx.constants, ctx.settings, ctx.entries = kept, tensors[4:], settings[1:], len(tensors[0])
        return last

    @staticmethod
    @cpu_runtime.first_order
    def backward(ctx: Any, *d: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        recurrent, gain, bias, symbols = ctx.saved_tensors
        needs = ctx.needs_input_grad[:6]
        constants = (float(c) for c in ctx.constants)
        wanted = (*needs[:4], False, False, *needs[4:])
        tensors = (d[0], recurrent, gain, bias, None, None, None, None, ctx.kept.tensor)
        given: Any = (*tensors, *constants, *ctx.settings, wanted)
        found: Any = cpu_runtime.backward(*given, symbols=symbols, entries=ctx.entries)
        d_table, d_recurrent, d_gain, d_bias, _, _, *d_constants = found
        gradients: list[Any] = [d_table, d_recurrent, d_gain, d_bias]
        for gradient, constant, needed in zip(d_constants, ctx.constants, needs[4:], strict=True):
            gradients.append(gradient.to(constant) if needed and gradient is not None else None)
        return *(g if needed else None for g, needed in zip(gradients, needs, strict=True)), None, None, None
