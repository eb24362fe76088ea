"""The whole sequence in one compiled kernel, forward and backward (`cpu_kernels.py`), on CPU, in the attention form.

Compiled by Numba at the first call of a dtype and kept on disk. Long sequences are cut into chunks that hand on their
state, so that time grows as min(time x hidden^2, time^2 x hidden) and memory as time x hidden.
"""

import importlib.util
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn import cpu_op, cpu_runtime, reference
from fastweights.ops.fast_weights_rnn.attention import final_state
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Hebbian

_HAS_NUMBA = importlib.util.find_spec("numba") is not None
_DTYPES = (torch.float32, torch.float64)

# Steps in a chunk of a long sequence, or half the hidden units where that is more. The time is flat around it and the
# memory of the matrices between chunks shrinks with it. Measured: `python benchmarks/cpu_kernel.py chunks`.
LEAST = 64

FEW = 4  # samples that are streamed one by one; a tile of them is faster for more


def _transformed() -> bool:
    """Inside a transform of torch.func, where a tensor has no memory of its own."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


def _traced() -> bool:
    """Inside `torch.jit.trace`, which cannot look into a kernel."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _watched() -> bool:
    """Inside a mode that looks at each operation (make_fx, fake tensors, FlopCounterMode): a kernel is none."""
    return torch._C._len_torch_dispatch_stack() > 0


def runs(dtype: torch.dtype) -> bool:
    """Whether the kernels can be called directly now, on tensors of this dtype."""
    if not _HAS_NUMBA or dtype not in _DTYPES:
        return False
    return not (torch.compiler.is_compiling() or _traced() or _transformed() or _watched())


def takes(*tensors: Tensor) -> bool:
    """Whether kernels can be called directly now, on these tensors as they are: not under autocast nor torch.func."""
    dtype = tensors[0].dtype
    return (
        runs(dtype)
        and all(t.is_cpu and t.dtype == dtype and type(t) in (Tensor, torch.nn.Parameter) for t in tensors)
        and not torch.is_autocast_enabled("cpu")
        and torch.autograd.forward_ad._current_level < 0
    )


def why_not(call: Call) -> str | None:
    if type(call.rule) is not Hebbian:
        return f"it has the rule Hebbian only, not {type(call.rule).__name__}"
    if call.inputs.device.type != "cpu":
        return f"it runs on a CPU, and the inputs are on {call.inputs.device}"
    if call.inputs.dtype not in _DTYPES:
        return f"it has float32 and float64 only, not {call.inputs.dtype}"
    if not _HAS_NUMBA:
        return "it needs Numba, which is not installed (pip install numba)"
    if not torch.compiler.is_compiling():
        if _transformed():
            return "it cannot run under the transforms of torch.func (vmap, grad, jvp ...)"
        if _traced():
            return "it cannot be traced by torch.jit"
        if _watched():
            return "a TorchDispatchMode cannot see what it does"
        if torch.autograd.forward_ad._current_level >= 0:
            return "it has no forward-mode derivative"
        if type(call.inputs) not in (Tensor, torch.nn.Parameter):
            return f"it reads the memory of plain tensors, and the inputs are a {type(call.inputs).__name__}"
    return None


def _chunk(hidden: int) -> int:
    return max(LEAST, hidden // 2)


def cuts(time: int, hidden: int, inner_steps: int) -> bool:
    """Whether a sequence is so long that it is cut into chunks."""
    return inner_steps > 0 and time > 2 * _chunk(hidden)


def run(call: Call) -> tuple[Tensor, FastWeightsState]:
    batch, time, hidden = call.inputs.shape
    if batch == 0 or time == 0:
        return reference.run(call)
    if cuts(time, hidden, call.inner_steps):
        return _in_chunks(call, _chunk(hidden))
    if time == 1 and batch <= FEW and call.lengths is None and not _differentiated():
        return _stream(call)
    outputs = _outputs(call)
    return outputs, final_state(call, outputs)


def _stream(call: Call) -> tuple[Tensor, FastWeightsState]:
    """One step without a graph: it takes microseconds, so nothing around it may take many."""
    rule, state = call.rule, call.state
    hidden, weights = cpu_runtime.step(
        call.inputs[:, 0],
        None,
        None,
        call.recurrent,
        call.gain,
        call.bias,
        state.hidden,
        None if state.is_empty else state.weights,
        (float(rule.decay), float(rule.rate)),
        call.inner_steps,
        call.nonlinearity == "relu",
    )
    return hidden[:, None], FastWeightsState.of(hidden, weights)


def _differentiated() -> bool:
    return torch.compiler.is_compiling() or torch.is_grad_enabled()


def _in_chunks(call: Call, steps: int) -> tuple[Tensor, FastWeightsState]:
    """Attention within a chunk, the explicit matrix from chunk to chunk."""
    outputs, state = [], call.state
    for index, inputs in enumerate(call.inputs.split(steps, dim=1)):
        lengths = call.lengths
        if lengths is not None:
            lengths = (lengths - index * steps).clamp(0, inputs.shape[1])
        part = replace(call, inputs=inputs, state=state, lengths=lengths)
        outputs.append(_outputs(part))
        state = final_state(part, outputs[-1])
    return torch.cat(outputs, dim=1), state


def _outputs(call: Call) -> Tensor:
    rule, state, relu = call.rule, call.state, call.nonlinearity == "relu"
    weights = None if state.is_empty or call.inner_steps == 0 else state.weights
    tensors = (call.inputs, call.recurrent, call.gain, call.bias, state.hidden, weights)
    if torch.compiler.is_compiling():
        decay, rate = (torch.as_tensor(c, dtype=torch.float64) for c in (rule.decay, rule.rate))
        return cpu_op.recurrence(*tensors, decay, rate, call.lengths, call.inner_steps, relu)[0]
    if torch.is_grad_enabled():
        return _Recurrence.apply(*tensors, rule.decay, rule.rate, call.lengths, call.inner_steps, relu)
    constants = float(rule.decay), float(rule.rate)
    return cpu_runtime.forward(*tensors, *constants, call.lengths, call.inner_steps, relu, None)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        inputs, gain = arguments[0], arguments[2]
        decay, rate, *settings = arguments[6:]
        lengths, inner_steps, relu = settings
        kept = None
        if any(ctx.needs_input_grad):
            size = cpu_runtime.saved_size(inputs.shape, inputs.dtype, inner_steps, gain is not None)
            kept = cpu_runtime.Lent(size, inputs.dtype)
        given: Any = (*arguments[:6], float(decay), float(rate), *settings, None if kept is None else kept.tensor)
        outputs = cpu_runtime.forward(*given)
        if kept is not None:
            ctx.save_for_backward(*arguments[1:6], lengths, outputs)
            ctx.kept, ctx.constants, ctx.settings = kept, (decay, rate), (inner_steps, relu)
        return outputs

    @staticmethod
    @cpu_runtime.first_order
    def backward(ctx: Any, *d: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        needs = ctx.needs_input_grad[:8]
        given: Any = (
            d[0],
            *ctx.saved_tensors,
            ctx.kept.tensor,
            *(float(c) for c in ctx.constants),
            *ctx.settings,
            needs,
        )
        gradients: list[Any] = cpu_runtime.backward(*given)
        *tensors, d_decay, d_rate = gradients
        d_constants = [
            d.to(c) if needed else None
            for d, c, needed in zip((d_decay, d_rate), ctx.constants, needs[6:], strict=True)
        ]
        return (
            *(g if needed else None for g, needed in zip(tensors, needs, strict=False)),
            *d_constants,
            None,
            None,
            None,
        )
