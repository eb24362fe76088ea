"""The whole sequence in one compiled kernel, forward and backward (`cpu_kernels.py`), on CPU, in the attention form.

Compiled by Numba at the first call of a dtype and kept on disk. Long sequences are cut into chunks that hand on their
state, so that time grows as min(time x hidden^2, time^2 x hidden) and memory as time x hidden.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import lend
from fastweights.ops.fast_weights_rnn import cpu_operators, cpu_passes, reference
from fastweights.ops.fast_weights_rnn.attention import final_state
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Hebbian

# Steps in a chunk of a long sequence, or half the hidden units where that is more. The time is flat around it and the
# memory of the matrices between chunks shrinks with it. Measured: `python benchmarks/cpu_kernel.py chunks`.
LEAST = 64

FEW = 4  # samples that are streamed one by one; a tile of them is faster for more


def why_not(call: Call) -> str | None:
    if type(call.rule) is not Hebbian:
        return f"it has the rule Hebbian only, not {type(call.rule).__name__}"
    return limits.why_not(call.inputs, call.recurrent, call.gain, call.bias, call.hidden, call.weights, call.lengths)


def _chunk(hidden: int) -> int:
    return max(LEAST, hidden // 2)


def cuts(time: int, hidden: int, inner_steps: int) -> bool:
    """Whether a sequence is so long that it is cut into chunks."""
    return inner_steps > 0 and time > 2 * _chunk(hidden)


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    batch, time, hidden = call.inputs.shape
    if batch == 0 or time == 0:
        return reference.run(call)
    if cuts(time, hidden, call.inner_steps):
        return _in_chunks(call, _chunk(hidden))
    if time == 1 and batch <= FEW and call.lengths is None and not _differentiated():
        return _stream(call)
    outputs = _outputs(call)
    return outputs, final_state(call, outputs)


def _stream(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    """One step without a graph: it takes microseconds, so nothing around it may take many."""
    rule = call.rule
    hidden, weights = cpu_passes.step(
        call.inputs[:, 0],
        None,
        None,
        call.recurrent,
        call.gain,
        call.bias,
        call.hidden,
        call.weights,
        (float(rule.decay), float(rule.rate)),
        call.inner_steps,
        call.nonlinearity == "relu",
    )
    return hidden[:, None].clone(), FastWeightsState(hidden, weights) if call.need_state else None


def _differentiated() -> bool:
    return torch.compiler.is_compiling() or torch.is_grad_enabled()


def _in_chunks(call: Call, steps: int) -> tuple[Tensor, FastWeightsState | None]:
    """Attention within a chunk, the explicit matrix from chunk to chunk."""
    outputs, state, parts = [], None, call.inputs.split(steps, dim=1)
    hidden, weights = call.hidden, call.weights
    for index, inputs in enumerate(parts):
        lengths = call.lengths
        if lengths is not None:
            lengths = (lengths - index * steps).clamp(0, inputs.shape[1])
        need = call.need_state or index < len(parts) - 1
        part = replace(call, inputs=inputs, hidden=hidden, weights=weights, lengths=lengths, need_state=need)
        outputs.append(_outputs(part))
        state = final_state(part, outputs[-1])
        if state is not None:
            hidden, weights = state
    return torch.cat(outputs, dim=1), state


def _outputs(call: Call) -> Tensor:
    rule, relu = call.rule, call.nonlinearity == "relu"
    weights = None if call.inner_steps == 0 else call.weights
    tensors = (call.inputs, call.recurrent, call.gain, call.bias, call.hidden, weights)
    if torch.compiler.is_compiling():
        decay, rate = (torch.as_tensor(c, dtype=torch.float64) for c in (rule.decay, rule.rate))
        return cpu_operators.recurrence(*tensors, decay, rate, call.lengths, call.inner_steps, relu)[0]
    if torch.is_grad_enabled():
        return _Recurrence.apply(*tensors, rule.decay, rule.rate, call.lengths, call.inner_steps, relu)
    constants = float(rule.decay), float(rule.rate)
    return cpu_passes.forward(*tensors, *constants, call.lengths, call.inner_steps, relu, None)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        inputs, gain = arguments[0], arguments[2]
        decay, rate, *settings = arguments[6:]
        lengths, inner_steps, relu = settings
        kept = None
        if any(ctx.needs_input_grad):
            size = cpu_passes.saved_size(inputs.shape, inputs.dtype, inner_steps, gain is not None)
            kept = lend(size, inputs.dtype)
        given: Any = (*arguments[:6], float(decay), float(rate), *settings, kept)
        outputs = cpu_passes.forward(*given)
        if kept is not None:
            constants = [c if isinstance(c, Tensor) else None for c in (decay, rate)]
            ctx.save_for_backward(*arguments[1:6], lengths, outputs, kept, *constants)
            ctx.settings = (inner_steps, relu)
            ctx.constants = [None if isinstance(c, Tensor) else c for c in (decay, rate)]
        return outputs

    @staticmethod
    @limits.first_order
    def backward(ctx: Any, *d: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        needs = ctx.needs_input_grad[:8]
        *saved, decay, rate = ctx.saved_tensors
        constants = [c if fixed is None else fixed for c, fixed in zip((decay, rate), ctx.constants, strict=True)]
        given: Any = (d[0], *saved, *(float(c) for c in constants), *ctx.settings, needs)
        gradients: list[Any] = cpu_passes.backward(*given)
        *tensors, d_decay, d_rate = gradients
        d_constants = [
            d.to(c).view_as(c) if needed else None
            for d, c, needed in zip((d_decay, d_rate), constants, needs[6:], strict=True)
        ]
        return (
            *(g if needed else None for g, needed in zip(tensors, needs, strict=False)),
            *d_constants,
            None,
            None,
            None,
        )
