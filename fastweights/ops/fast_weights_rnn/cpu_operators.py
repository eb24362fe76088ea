"""The kernels as custom operators of torch: `torch.compile` puts them into its graph without looking inside.

Eager calls go past them, by an autograd function: at a small batch the machinery of an operator costs more than the
kernel.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn import cpu_passes
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory


@torch.library.custom_op("fastweights::recurrence", mutates_args=(), device_types="cpu")
def recurrence(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor,
    weights: Tensor | None,
    decay: Tensor,
    rate: Tensor,
    lengths: Tensor | None,
    inner_steps: int,
    relu: bool,
    kind: int,
) -> tuple[Tensor, Tensor]:
    tensors = inputs, recurrent, gain, bias, hidden, weights
    size = cpu_passes.saved_size(inputs.shape, inputs.dtype, inner_steps, gain is not None, kind)
    saved = inputs.new_empty(size)
    memory = Memory(float(decay), float(rate), kind)
    return cpu_passes.forward(*tensors, memory, lengths, inner_steps, relu, saved), saved


@recurrence.register_fake
def _(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor,
    weights: Tensor | None,
    decay: Tensor,
    rate: Tensor,
    lengths: Tensor | None,
    inner_steps: int,
    relu: bool,
    kind: int,
) -> tuple[Tensor, Tensor]:
    size = cpu_passes.saved_size(inputs.shape, inputs.dtype, inner_steps, gain is not None, kind)
    return inputs.new_empty(inputs.shape), inputs.new_empty(size)


@torch.library.custom_op("fastweights::recurrence_backward", mutates_args=(), device_types="cpu")
def recurrence_backward(
    d_outputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor,
    weights: Tensor | None,
    lengths: Tensor | None,
    saved: Tensor,
    decay: Tensor,
    rate: Tensor,
    inner_steps: int,
    relu: bool,
    kind: int,
    needs: Sequence[bool],
) -> list[Tensor]:
    gradients = cpu_passes.backward(
        d_outputs,
        recurrent,
        gain,
        bias,
        hidden,
        weights,
        lengths,
        saved,
        Memory(float(decay), float(rate), kind),
        inner_steps,
        relu,
        needs,
    )
    gradients[6:] = [d if d is None else d.view_as(c) for d, c in zip(gradients[6:], (decay, rate), strict=True)]
    # an operator returns tensors that share no memory, as many as its fake
    return [
        d_outputs.new_empty(0)
        if gradient is None or not needed
        else gradient
        if gradient.untyped_storage().nbytes() == gradient.nbytes
        else gradient.clone()
        for gradient, needed in zip(gradients, needs, strict=True)
    ]


@recurrence_backward.register_fake
def _(
    d_outputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    hidden: Tensor,
    weights: Tensor | None,
    lengths: Tensor | None,
    saved: Tensor,
    decay: Tensor,
    rate: Tensor,
    inner_steps: int,
    relu: bool,
    kind: int,
    needs: Sequence[bool],
) -> list[Tensor]:
    like = (d_outputs, recurrent, gain, bias, hidden, weights, decay, rate)
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format)
        if needed and t is not None
        else d_outputs.new_empty(0)
        for t, needed in zip(like, needs, strict=True)
    ]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, inner_steps, relu, kind = inputs
    ctx.save_for_backward(*tensors[1:], output[1])
    ctx.settings = (inner_steps, relu, kind)


def _backward(ctx: Any, d_outputs: Tensor, d_saved: Tensor) -> Any:
    recurrent, gain, bias, hidden, weights, decay, rate, lengths, saved = ctx.saved_tensors
    needs = [bool(n) for n in ctx.needs_input_grad[:8]]
    gradients = recurrence_backward(
        d_outputs, recurrent, gain, bias, hidden, weights, lengths, saved, decay, rate, *ctx.settings, needs
    )
    return *(g if needed else None for g, needed in zip(gradients, needs, strict=True)), None, None, None, None


recurrence.register_autograd(_backward, setup_context=_setup)
