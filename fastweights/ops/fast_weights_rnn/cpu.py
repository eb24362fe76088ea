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
from fastweights.ops.fast_weights_rnn import cpu_operators, cpu_passes, cpu_state, reference, second_order
from fastweights.ops.fast_weights_rnn.attention import final_state
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory, memory_of
from fastweights.ops.fast_weights_rnn.kinds import kind_of
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Delta

# Steps in a chunk of a long sequence, or half the hidden units where that is more. The time is flat around it and the
# memory of the matrices between chunks shrinks with it. Measured: `python benchmarks/cpu_kernel.py chunks`.
LEAST = 100

FEW = 4  # samples that are streamed one by one; a tile of them is faster for more


def why_not(call: Call) -> str | None:
    if kind_of(call.rule) is None:
        if type(call.rule) is Delta:
            return "it has the rule Delta with keys of unit length only, not normalize_key=False"
        return f"it has the rules Hebbian, Cosine and Delta only, not {type(call.rule).__name__}"
    if call.past is not None:
        return "it begins with a matrix, not with a PastState"
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
    return _whole(call)


def _stream(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    """One step without a graph: it takes microseconds, so nothing around it may take many."""
    memory = memory_of(call.rule)
    assert memory is not None
    hidden, weights = cpu_passes.step(
        call.inputs[:, 0],
        None,
        None,
        call.recurrent,
        call.gain,
        call.bias,
        call.hidden,
        call.weights,
        memory,
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
        output, state = _whole(part)
        outputs.append(output)
        if state is not None:
            hidden, weights = state
    return torch.cat(outputs, dim=1), state


def _whole(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    rule, kind, relu = call.rule, kind_of(call.rule), call.nonlinearity == "relu"
    tensors = (call.inputs, call.recurrent, call.gain, call.bias, call.hidden, call.weights)
    if torch.compiler.is_compiling():
        decay, rate = (torch.as_tensor(c, dtype=torch.float64) for c in (rule.decay, rule.rate))
        read = (*tensors[:5], tensors[5] if call.inner_steps else None)
        settings = (call.lengths, call.inner_steps, relu, kind)
        outputs = cpu_operators.recurrence(*read, decay, rate, *settings)[0]
        return outputs, final_state(call, outputs)
    settings: Any = (rule.decay, rule.rate, kind, call.lengths, call.inner_steps, relu, call.need_state)
    outputs, *state = (
        _Recurrence.apply(*tensors, *settings) if torch.is_grad_enabled() else _forward(*tensors, *settings)
    )
    return outputs, FastWeightsState(*state) if state else None


def _forward(*arguments: Any, kept: Tensor | None = None) -> tuple[Tensor, ...]:
    """The outputs and, where it is needed, the state."""
    inputs, recurrent, gain, bias, hidden, weights, *settings = arguments
    decay, rate, kind, lengths, inner_steps, relu, need_state = settings
    memory, read = Memory(float(decay), float(rate), kind), weights if inner_steps else None
    given: Any = (inputs, recurrent, gain, bias, hidden, read, memory, lengths, inner_steps, relu, kept)
    outputs = cpu_passes.forward(*given)
    if not need_state:
        return (outputs,)
    return outputs, *cpu_state.final_state(outputs, hidden, weights, memory, lengths)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        inputs, gain = arguments[0], arguments[2]
        decay, rate, kind, lengths, inner_steps, relu, _ = arguments[6:]
        if not any(ctx.needs_input_grad):
            return _forward(*arguments)
        size = cpu_passes.saved_size(inputs.shape, inputs.dtype, inner_steps, gain is not None, kind)
        kept = lend((size,), inputs.dtype)
        constants = [c if isinstance(c, Tensor) else None for c in (decay, rate)]
        ctx.save_for_backward(*arguments[:6], lengths, kept, *constants)
        ctx.settings, ctx.kind = (inner_steps, relu), kind
        ctx.constants = [None if isinstance(c, Tensor) else c for c in (decay, rate)]
        ctx.set_materialize_grads(False)
        return _forward(*arguments, kept=kept)

    @staticmethod
    @limits.first_order(second_order.of_recurrence)
    def backward(ctx: Any, *d: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        needs = ctx.needs_input_grad[:8]
        inputs, *slow, lengths, kept, decay, rate = ctx.saved_tensors
        constants = [c if fixed is None else fixed for c, fixed in zip((decay, rate), ctx.constants, strict=True)]
        decay, rate = constants
        memory = Memory(float(decay), float(rate), ctx.kind)
        if all(each is None for each in d):
            return (None,) * 13
        gradients = backward(d, inputs.shape, slow, lengths, kept, memory, ctx.settings, needs)
        for place, constant in zip((6, 7), constants, strict=True):
            gradients[place] = gradients[place].to(constant).view_as(constant) if needs[place] else None
        return *(g if needed else None for g, needed in zip(gradients, needs, strict=True)), *(None,) * 5


def backward(
    d: Any, shape: Any, slow: Any, lengths: Tensor | None, kept: Tensor, memory: Memory, settings: Any, needs: Any
) -> list[Any]:
    """From the gradients of what `_forward` returned, those of inputs (of this shape), of the slow tensors (recurrent,
    gain, bias, hidden, weights), of decay and of rate. settings: inner_steps, and whether f is ReLU."""
    recurrent, gain, bias, hidden, weights = slow
    d_outputs, *d_state = d
    through = None
    if any(each is not None for each in d_state):
        outputs = cpu_passes.saved_outputs(kept, shape)
        through = cpu_state.backward(d_state[0], d_state[1], outputs, weights, memory, lengths)
        d_outputs = through[0] if d_outputs is None else d_outputs + through[0]
    read = (recurrent, gain, bias, hidden, weights if settings[0] else None, lengths, kept)
    given: Any = (d_outputs, *read, memory, *settings, needs)
    gradients: list[Any] = cpu_passes.backward(*given)
    if through is not None:
        for place, more in zip((4, 5, 6, 7), through[1:], strict=True):
            there = gradients[place]
            gradients[place] = more if there is None else there if more is None else there + more
    return gradients
