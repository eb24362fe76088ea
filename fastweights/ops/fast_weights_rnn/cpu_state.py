"""The state after a sequence by a kernel, from the outputs alone, and its gradient, as `attention.final_state`."""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops.cpu.buffers import address, lend, scratch
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.threads import share_out, worth
from fastweights.ops.fast_weights_rnn import attention
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory
from fastweights.ops.fast_weights_rnn.kinds import COSINE, DELTA
from fastweights.rules import Delta
from fastweights.rules.cosine import direction, direction_backward


def final_state(
    outputs: Tensor,
    hidden: Tensor | None,
    weights: Tensor | None,
    memory: Memory,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """h(T) [batch, hidden] and A(T) [batch, hidden, hidden], in memory that is lent: fresh pages cost more than A."""
    batch, time, units = outputs.shape
    new_hidden = outputs.new_empty(batch, units)
    new_weights = lend((batch, units, units), outputs.dtype)
    tensors = [t if t is None else t.contiguous() for t in (outputs, hidden, weights, lengths)]
    addresses = (*(address(t) for t in tensors), new_hidden.data_ptr(), new_weights.data_ptr())
    threads = worth(batch, batch * time * units * units)
    own = [scratch(f"state {i}", 2 * (time + 1) + (2 * time + 1) * units, outputs.dtype) for i in range(threads)]

    def share(index: int, first: int, last: int) -> None:
        each = (*addresses, own[index].data_ptr())
        module = "fast_weights_rnn.cpu_state_kernels"
        launch(
            module,
            "final_state",
            outputs.dtype,
            (first, last),
            (batch, time, units, memory.kind),
            memory.constants,
            each,
        )

    share_out(share, batch, threads)
    return new_hidden, new_weights


def backward(
    d_hidden: Tensor | None,
    d_weights: Tensor | None,
    outputs: Tensor,
    weights: Tensor | None,
    memory: Memory,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor]:
    """The gradients of the outputs, of h(0), of A(0), of decay and of rate, from those of h(T) and A(T).

    d h(tau) = rate decay^(T-tau) (dA + dA^T) h(tau), and d h(T) is added to that of the last step.
    """
    batch, time, _ = outputs.shape
    ends = torch.full((batch,), time) if lengths is None else lengths
    d_outputs, d_first, d_memory = torch.zeros_like(outputs), None, None
    d_decay = d_rate = torch.zeros((), dtype=torch.float64)
    if d_weights is not None and memory.kind == DELTA:
        d_outputs, d_memory, d_decay, d_rate = _of_errors(d_weights, outputs, weights, memory, lengths)
    elif d_weights is not None:
        ages = ends[:, None] - torch.arange(1, time + 1)
        inside, ages = ages >= 0, ages.clamp(min=0)
        powers = memory.decay ** torch.arange(time + 1, dtype=torch.float64)
        slopes = torch.arange(time + 1) * torch.cat([powers.new_zeros(1), powers[:-1]])  # of the powers
        stored, rate = (direction(outputs), 1.0) if memory.kind == COSINE else (outputs, memory.rate)
        through = stored @ (d_weights + d_weights.mT)
        d_outputs = through * (rate * powers[ages] * inside)[..., None].to(outputs)
        each = (through * stored).sum(2, dtype=torch.float64) / 2  # <dA, h h^T>
        d_decay = rate * (slopes[ages] * each).sum()
        if memory.kind == COSINE:
            d_outputs = direction_backward(d_outputs, outputs)
        else:
            d_rate = (powers[ages] * each).sum()
        if weights is not None:
            d_memory = d_weights * powers[ends][:, None, None].to(outputs)
            d_decay = d_decay + (slopes[ends] * (d_weights * weights).sum((1, 2), dtype=torch.float64)).sum()
    if d_hidden is not None:
        begun = (ends > 0)[:, None]
        d_outputs[torch.arange(batch), (ends - 1).clamp(min=0)] += torch.where(begun, d_hidden, 0.0)
        d_first = None if lengths is None else torch.where(begun, 0.0, d_hidden)
    return d_outputs, d_first, d_memory, d_decay, d_rate


def _of_errors(
    d_weights: Tensor, outputs: Tensor, weights: Tensor | None, memory: Memory, lengths: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """The gradients of `Delta`, by autograd: each error depends on those before it."""
    with torch.enable_grad():
        like = {"dtype": torch.float64, "device": outputs.device, "requires_grad": True}
        decay, rate = (torch.tensor(c, **like) for c in memory.constants)
        h, first = outputs.detach().requires_grad_(), None if weights is None else weights.detach().requires_grad_()
        new = attention.final_weights(Delta(decay, rate), h, first, lengths)
        wanted: Any = [each for each in (h, decay, rate, first) if each is not None]
        d_outputs, d_decay, d_rate, *rest = torch.autograd.grad(new, wanted, d_weights)
    return d_outputs, rest[0] if rest else None, d_decay, d_rate
