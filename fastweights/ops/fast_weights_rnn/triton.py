"""The whole sequence in one GPU kernel and the whole backward pass in another, in Triton (`triton_kernels.py`).

    A(t) u = decay^t A(0) u + rate sum_{tau=1..t} decay^(t-tau) h(tau) <h(tau), u>
    G(t) h = rate sum_{s>t} decay^(s-1-t) [dr_s <u_s, h> + u_s <dr_s, h>]      what reads r_s = A(s-1) u_s want of h(t)

That is the rule `Hebbian`. `Cosine` has n(h) and n(u) in place of h and u, and its rate multiplies the bounded read.

One program is one sample. A step depends on the one before, so its latency is the cost: a tile of 16 samples, the
least a tensor core takes, would leave 8 of 132 multiprocessors at work on a batch of 128, and products in full float32
gain nothing from it. A program holds W in registers (up to 128 units of float32; wider ones stream it from L2), the
history and what the backward pass wants of it stay in L1 and L2, and lengths cost what they are. Every sum has one
order: partial sums a sample are added up by torch, without atomics, so that two runs agree to the bit.

Sequences longer than `chunk_size` are cut, and the explicit matrix is carried from chunk to chunk: cost is time x
hidden^2 beyond it, memory time x hidden. It differs from `attention.py` by where it runs, not by what it computes.
State and sums are float32 for bfloat16 and float16 inputs, float64 for float64. Not differentiable twice.
"""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops import gpu
from fastweights.ops.fast_weights_rnn import attention
from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.layer_norm import EPSILON
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Cosine, Hebbian

MOST_HIDDEN = 256
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
RESIDENT_BYTES = 64 * 1024  # W is kept in registers up to this size: a quarter of a multiprocessor's
MOST_ROWS = 64  # of the history, at a time


def why_not(call: Call) -> str | None:
    if type(call.rule) not in (Hebbian, Cosine):
        return f"it has no kernel for the rule {type(call.rule).__name__}, only for Hebbian and Cosine"
    if call.past is not None:
        return "it begins with a matrix, not with a PastState"
    if call.inputs.dtype not in DTYPES:
        return f"it has no kernel for {call.inputs.dtype}, only for {', '.join(map(str, DTYPES))}"
    if call.inputs.shape[2] > MOST_HIDDEN:
        return f"its kernels hold at most {MOST_HIDDEN} hidden units, got {call.inputs.shape[2]}"
    return gpu.why_not(call.inputs.device)


def chunk_size(hidden: int) -> int:
    """Steps a launch: those over which attention, time^2 x hidden, costs what the explicit matrix does."""
    return max(128, 2 * hidden)


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    time, kind = call.inputs.shape[1], call.inputs.dtype
    wide = _wide(kind)
    hidden, weights = call.hidden.to(wide), None if call.weights is None else call.weights.to(wide)
    gain = None if call.gain is None or call.bias is None else call.gain.to(wide)
    bias = None if call.gain is None or call.bias is None else call.bias.to(wide)
    decay, rate = _constant(call.rule.decay, call.inputs), _constant(call.rule.rate, call.inputs)
    recurrent, steps = call.recurrent.to(wide), chunk_size(call.inputs.shape[2])
    pieces: list[Tensor] = []
    state: FastWeightsState | None = None
    for begin in range(0, max(time, 1), steps):
        inputs, lengths = call.inputs[:, begin : begin + steps], call.lengths
        if lengths is not None and time > steps:
            lengths = (lengths - begin).clamp(0, inputs.shape[1])
        need = call.need_state or begin + steps < time
        settings = (call.rule, call.inner_steps, call.nonlinearity, lengths, need)
        part = Call(inputs, recurrent, gain, bias, hidden, weights, *settings)
        pieces.append(_chunk(part, decay, rate))
        state = attention.final_state(part, pieces[-1])
        if state is not None:
            hidden, weights = state
    outputs = pieces[0].clone() if len(pieces) == 1 else torch.cat(pieces, dim=1)  # apart from what backward needs
    if kind == wide:
        return outputs, state
    return outputs.to(kind), None if state is None else state.to(kind)


def _wide(kind: torch.dtype) -> torch.dtype:
    return torch.float64 if kind == torch.float64 else torch.float32


def _constant(value: float | Tensor, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(device=like.device, dtype=torch.float64).reshape(())  # those of modules are [1]
    return torch.full((), value, device=like.device, dtype=torch.float64)


def _chunk(call: Call, decay: Tensor, rate: Tensor) -> Tensor:
    tensors = (call.inputs, call.recurrent, call.gain, call.bias, call.hidden, call.weights, decay, rate)
    train = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    cosine = type(call.rule) is Cosine and call.inner_steps > 0  # else it is as Hebbian: nothing is read
    return _forward(*tensors, call.lengths, call.inner_steps, call.nonlinearity == "relu", cosine, train)[0]


def _kernels() -> Any:  # imports triton
    from fastweights.ops.fast_weights_rnn import triton_kernels

    return triton_kernels


@torch.library.custom_op("fastweights::fast_weights_rnn_triton", mutates_args=())
def _forward(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    start: Tensor,
    first: Tensor | None,
    decay: Tensor,
    rate: Tensor,
    lengths: Tensor | None,
    inner_steps: int,
    relu: bool,
    cosine: bool,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Outputs, then what the backward pass wants: u_s, the normalised vectors and 1/std of each layer norm; for
    Cosine n(u_s) in place of u_s, and what u_s was made of and what was read."""
    buffers = _buffers(inputs, gain, first, lengths, inner_steps, cosine, train)
    if inputs.shape[0]:
        shape, warps = _shape(inputs, inner_steps, gain, first, lengths, relu, cosine)
        powers = _powers(decay, inputs)
        with torch.cuda.device_of(inputs):
            _kernels().forward[(inputs.shape[0],)](
                inputs, *_packed(recurrent, gain, bias, start, first, lengths), powers, rate, *buffers,
                _directions(buffers[0], cosine), inputs.shape[1], *inputs.stride(),
                **shape, TRAIN=train, EPSILON=EPSILON, num_warps=warps, num_stages=1,
            )  # fmt: skip
    return buffers


@_forward.register_fake
def _(inputs, recurrent, gain, bias, start, first, decay, rate, lengths, inner_steps, relu, cosine, train):
    return _buffers(inputs, gain, first, lengths, inner_steps, cosine, train)


@torch.library.custom_op("fastweights::fast_weights_rnn_triton_backward", mutates_args=())
def _backward(
    d_outputs: Tensor,
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    first: Tensor | None,
    decay: Tensor,
    rate: Tensor,
    lengths: Tensor | None,
    outputs: Tensor,
    inner: Tensor,
    normal: Tensor,
    spread: Tensor,
    passed: Tensor,
    inner_steps: int,
    relu: bool,
    cosine: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the boundaries, of the reads r_s and of h(0); those of gain, bias and constants a sample."""
    buffers = _backward_buffers(gain, lengths, outputs, inner)
    if inputs.shape[0]:
        shape, warps = _shape(inputs, inner_steps, gain, first, lengths, relu, cosine)
        powers, slopes = _powers(decay, inputs), _powers(decay, inputs, slope=True)
        with torch.cuda.device_of(inputs):
            _kernels().backward[(inputs.shape[0],)](
                d_outputs, *_packed(recurrent, gain, first, lengths), powers, slopes, rate,
                *_packed(outputs, inner, normal, spread, passed), _directions(outputs, cosine), *buffers,
                inputs.shape[1], *d_outputs.stride(),
                **shape, num_warps=warps, num_stages=1,
            )  # fmt: skip
    return buffers


@_backward.register_fake
def _(
    d_outputs, inputs, recurrent, gain, first, decay, rate, lengths, outputs, inner, normal, spread, passed,
    inner_steps, relu, cosine,
):  # fmt: skip
    return _backward_buffers(gain, lengths, outputs, inner)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.inner_steps, ctx.relu, ctx.cosine, _ = inputs
    ctx.save_for_backward(*tensors, *output)
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, d_outputs: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    inputs, recurrent, gain, _, start, first, decay, rate, lengths, *saved = ctx.saved_tensors
    outputs, inner = saved[:2]
    if d_outputs is None:
        return (None,) * 13
    d_boundary, d_read, d_start, d_gain, d_bias, d_constants = _backward(
        d_outputs, inputs, recurrent, gain, first, decay, rate, lengths, *saved, ctx.inner_steps, ctx.relu, ctx.cosine
    )
    d_recurrent = d_first = None
    if ctx.needs_input_grad[1]:
        before = torch.cat([start[:, None], outputs[:, :-1]], dim=1)[:, : outputs.shape[1]]
        d_recurrent = d_boundary.flatten(0, 1).T @ before.flatten(0, 1)
    if first is not None and ctx.needs_input_grad[5]:
        powers = _powers(decay, inputs)[:-1].repeat_interleave(ctx.inner_steps)
        d_first = (d_read * powers[:, None]).transpose(1, 2) @ inner
    constants = d_constants.to(torch.float64).sum(0)
    norm = (None, None) if gain is None else (d_gain.sum(0), d_bias.sum(0))
    d_inputs = d_boundary.to(inputs.dtype)
    return d_inputs, d_recurrent, *norm, d_start, d_first, constants[0], constants[1], *(None,) * 5


_forward.register_autograd(_gradients, setup_context=_save)


def _buffers(
    inputs: Tensor,
    gain: Tensor | None,
    first: Tensor | None,
    lengths: Tensor | None,
    inner_steps: int,
    cosine: bool,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, time, hidden = inputs.shape
    new = inputs.new_empty if lengths is None else inputs.new_zeros  # past the end of a sequence nothing is written
    wide = _wide(inputs.dtype)
    reads = time * inner_steps if train else 1 if first is not None else 0
    norms = time * max(inner_steps, 1) if train and gain is not None else 0
    return (
        new(batch, time, hidden, dtype=wide),
        new(batch, reads, hidden, dtype=wide),
        new(batch, norms, hidden, dtype=wide),
        new(batch, norms, dtype=wide),
        new(batch, 2 * reads if train and cosine else 0, hidden, dtype=wide),
    )


def _directions(outputs: Tensor, cosine: bool) -> Tensor | None:
    """Where a kernel keeps n(h) of each step while it runs."""
    return outputs.new_empty(outputs.shape) if cosine else None


def _backward_buffers(gain: Tensor | None, lengths: Tensor | None, outputs: Tensor, inner: Tensor) -> Any:
    batch, _, hidden = outputs.shape
    new = outputs.new_empty if lengths is None else outputs.new_zeros
    normed = batch if gain is not None else 0
    return (
        new(outputs.shape),
        new(inner.shape),
        outputs.new_empty(batch, hidden),
        outputs.new_empty(normed, hidden),
        outputs.new_empty(normed, hidden),
        outputs.new_empty(batch, 2),
    )


def _shape(
    inputs: Tensor,
    inner_steps: int,
    gain: Tensor | None,
    first: Tensor | None,
    lengths: Tensor | None,
    relu: bool,
    cosine: bool,
) -> tuple[dict[str, Any], int]:
    """The constants a kernel is compiled for, and the warps of a program."""
    hidden = inputs.shape[2]
    width = max(16, 1 << (hidden - 1).bit_length())
    row = width * _wide(inputs.dtype).itemsize
    shape = dict(
        HIDDEN=hidden, INNER=inner_steps, NORMS=max(inner_steps, 1), LAYER_NORM=gain is not None, RELU=relu,
        FIRST=first is not None and inner_steps > 0, RAGGED=lengths is not None, RESIDENT=width * row <= RESIDENT_BYTES,
        WIDTH=width, ROWS=min(MOST_ROWS, 2048 // width), SLICE=min(32, width), COSINE=cosine,
    )  # fmt: skip
    return shape, 2 if row <= 128 else 4 if row <= 256 else 8


def _powers(decay: Tensor, inputs: Tensor, slope: bool = False) -> Tensor:
    """decay^k, or its derivative k decay^(k-1), k = 0 .. time, worked out in float64."""
    exponents = torch.arange(inputs.shape[1] + 1, device=inputs.device, dtype=torch.float64)
    powers = exponents * decay ** (exponents - 1).clamp(min=0) if slope else decay**exponents
    return powers.to(_wide(inputs.dtype))


def _packed(*tensors: Tensor | None) -> list[Tensor | None]:
    """As the kernels address them: only the inputs and their like are handed over with their strides."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]
