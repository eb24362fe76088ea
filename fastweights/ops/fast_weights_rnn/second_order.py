"""Gradients that the kernels cannot give: the attention form runs the call again, as operations of autograd."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.cpu.limits import ELSEWHERE
from fastweights.ops.fast_weights_rnn import attention
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.fast_weights_rnn.kinds import RULES


def of_recurrence(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
    """What `cpu._Recurrence.backward` returns."""
    *tensors, lengths, _, decay, rate = ctx.saved_tensors
    settings = (ctx.settings[0], "relu" if ctx.settings[1] else "tanh")
    rule, constants = RULES[ctx.kind], _constants(ctx, decay, rate)

    def again(*arguments: Any) -> tuple[Tensor, ...]:
        *first, decay, rate = arguments
        given: Any = (*first, rule(decay=decay, rate=rate), *settings, lengths, len(d) > 1)
        outputs, state = attention.run(Call(*given))
        return (outputs, *(state or ()))

    return _gradients(again, (*tensors, *constants), d, ctx.needs_input_grad)


def of_last_hidden(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
    """What `symbols._LastHidden.backward` returns."""
    *tensors, symbols, _, decay, rate = ctx.saved_tensors
    if tensors[0] is None:
        raise RuntimeError(f"got create_graph=True, or many gradients at once, with frozen inputs, {ELSEWHERE}")
    inner_steps, relu = ctx.settings
    rule, constants = RULES[ctx.kind], _constants(ctx, decay, rate)

    def again(*arguments: Any) -> tuple[Tensor, ...]:
        features, projection, projection_bias, recurrent, gain, bias, decay, rate = arguments
        inputs = functional.linear(features, projection, projection_bias)[symbols]
        hidden = inputs.new_zeros(len(inputs), inputs.shape[2])
        settings = (rule(decay=decay, rate=rate), inner_steps, "relu" if relu else "tanh", None, False)
        outputs, _ = attention.run(Call(inputs, recurrent, gain, bias, hidden, None, *settings))
        return (outputs[:, -1],)

    return _gradients(again, (*tensors, *constants), d, ctx.needs_input_grad)


def of_projected(ctx: Any, *d: Tensor | None) -> tuple[Tensor | None, ...]:
    """What `projected._Projected.backward` returns."""
    *tensors, lengths, _ = ctx.saved_tensors
    settings = (ctx.settings[0], "relu" if ctx.settings[1] else "tanh", lengths, len(d) > 1)

    def again(*arguments: Any) -> tuple[Tensor, ...]:
        inputs, projection, projection_bias, recurrent, gain, bias, hidden, weights, *raw = arguments
        x = functional.linear(inputs, projection, projection_bias)
        hidden = x.new_zeros(len(x), x.shape[2]) if hidden is None else hidden
        given: Any = (x, recurrent, gain, bias, hidden, weights, ctx.constants.rule(*raw), *settings)
        outputs, state = attention.run(Call(*given))
        return (outputs, *(state or ()))

    return _gradients(again, tensors, d, ctx.needs_input_grad)


def _constants(ctx: Any, *learned: Tensor | None) -> list[Any]:
    return [c if fixed is None else fixed for c, fixed in zip(learned, ctx.constants, strict=True)]


def _gradients(again: Any, arguments: Any, d: Any, needs: Any) -> tuple[Tensor | None, ...]:
    with torch.enable_grad():
        # each argument by a name of its own: what one of them was computed from is differentiated elsewhere
        apart = [a.view_as(a) if isinstance(a, Tensor) else a for a in arguments]
        results = again(*apart)
    wanted = [a for a, needed in zip(apart, needs, strict=False) if needed]
    pairs = [(result, each) for result, each in zip(results, d, strict=True) if each is not None]
    if not pairs or not wanted:
        return (None,) * len(needs)
    outputs, gradients = zip(*pairs, strict=True)
    found = iter(
        torch.autograd.grad(outputs, wanted, gradients, create_graph=torch.is_grad_enabled(), allow_unused=True)
    )
    return tuple(next(found) if needed else None for needed in needs)
