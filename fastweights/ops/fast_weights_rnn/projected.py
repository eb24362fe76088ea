"""The projection C x and the recurrence over it in one call: what a layer does where its sequences carry a gradient.

The constants of the rule are numbers here, and a node of autograd less each: their slopes by what they are computed
from come with them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import lend
from fastweights.ops.cpu.limits import fits, readable
from fastweights.ops.fast_weights_rnn import cpu, cpu_passes, cpu_state, second_order
from fastweights.ops.fast_weights_rnn.call import NONLINEARITIES
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory
from fastweights.ops.state import FastWeightsState


class Constants(NamedTuple):
    """A rule by its numbers, and how decay and rate follow from tensors where they are learned."""

    memory: Memory
    raw: tuple[Tensor | None, Tensor | None]
    slopes: tuple[float, float]  # d decay / d raw, d rate / d raw
    rule: Callable[[Tensor | None, Tensor | None], Any]  # the rule of tensors, for second derivatives


def run_projected(
    inputs: Tensor,
    projection: Tensor,
    projection_bias: Tensor | None,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    state: FastWeightsState | None,
    constants: Constants,
    inner_steps: int,
    nonlinearity: str,
    lengths: Tensor | None,
    need_state: bool,
) -> tuple[Tensor, FastWeightsState | None] | None:
    """`fast_weights_rnn(C inputs, ...)`; None where the op has to run it, or to say what is wrong.

    inputs: [batch, time, input_size]; projection: C, [hidden, input_size]; lengths have been checked. `limits.runs` has
    been asked before.
    """
    dtype, slow = inputs.dtype, recurrent.shape
    if inputs.dim() != 3 or not inputs.numel() or len(slow) != 2 or nonlinearity not in NONLINEARITIES:
        return None
    if not (inputs.requires_grad or projection.requires_grad) or cpu.cuts(inputs.shape[1], slow[0], inner_steps):
        return None
    if torch.is_autocast_enabled("cpu") or forward_ad._current_level >= 0 or (gain is None) != (bias is None):
        return None
    (batch, _, features), units = inputs.shape, slow[0]
    hidden, weights = (None, None) if state is None else state
    wanted = (
        (projection, (units, features)),
        (projection_bias, (units,)),
        (recurrent, (units, units)),
        (gain, (units,)),
        (bias, (units,)),
        (hidden, (batch, units)),
        (weights, (batch, units, units)),
    )
    for tensor, shape in wanted:
        if tensor is not None and not (fits(tensor, dtype, *shape) and readable(tensor, dtype)):
            return None
    if not units or not readable(inputs, dtype):
        return None
    tensors: Any = (inputs, projection, projection_bias, recurrent, gain, bias, hidden, weights, *constants.raw)
    settings: Any = (lengths, constants, inner_steps, nonlinearity == "relu", need_state)
    outputs, *final = _Projected.apply(*tensors, *settings)
    return outputs, FastWeightsState(*final) if final else None


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        inputs, projection, projection_bias, recurrent, gain, bias, hidden, weights, *raw = arguments[:10]
        lengths, constants, inner_steps, relu, need_state = arguments[10:]
        memory = constants.memory
        x = functional.linear(inputs, projection, projection_bias)
        kept = lend((cpu_passes.saved_size(x.shape, x.dtype, inner_steps, gain is not None, memory.kind),), x.dtype)
        slow = (recurrent, gain, bias, hidden, weights if inner_steps else None)
        given: Any = (x, *slow, memory, lengths, inner_steps, relu, kept)
        outputs = cpu_passes.forward(*given)
        ctx.save_for_backward(*arguments[:8], *raw, lengths, kept)
        ctx.settings, ctx.constants = (inner_steps, relu), constants
        ctx.set_materialize_grads(False)
        if not need_state:
            return (outputs,)
        return outputs, *cpu_state.final_state(outputs, hidden, weights, memory, lengths)

    @staticmethod
    @limits.first_order(second_order.of_projected)
    def backward(ctx: Any, *d: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        needs = ctx.needs_input_grad
        if all(each is None for each in d):
            return (None,) * 15
        inputs, projection, _, *slow, raw_decay, raw_rate, lengths, kept = ctx.saved_tensors
        memory, _, slopes, _ = ctx.constants
        shape = (*inputs.shape[:2], len(slow[0]))
        found = cpu.backward(d, shape, slow, lengths, kept, memory, ctx.settings, (True, *needs[3:]))
        rows = found[0].flatten(0, 1)
        for place, raw, slope in zip((6, 7), (raw_decay, raw_rate), slopes, strict=True):
            found[place] = None if raw is None else raw.new_full(raw.shape, float(found[place]) * slope)
        first = (
            (rows @ projection).view(inputs.shape) if needs[0] else None,
            rows.t() @ inputs.flatten(0, 1) if needs[1] else None,
            rows.sum(0) if needs[2] else None,
        )
        rest = (each if needed else None for each, needed in zip(found[1:], needs[3:10], strict=True))
        return *first, *rest, *(None,) * 5
