"""RMSNorm over the last axis: of rows as short as a head, in one compiled pass on CPU, where torch takes several."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import LANES, address, lend, packed, scratch, whole
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.threads import share_out, worth
from fastweights.ops.rms_norm.epsilon import EPSILON

_MODULE = "rms_norm.cpu_kernels"


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """gain x / sqrt(mean x^2 + 1e-5), of x [..., size] and a gain [size]."""
    if why_not(x, gain) is not None:
        return functional.rms_norm(x, gain.shape, gain, EPSILON)
    if torch.is_grad_enabled():
        found: Any = RmsNorm.apply(x, gain)
        return found
    return forward(x, gain)


def why_not(x: Tensor, gain: Tensor) -> str | None:
    if torch.compiler.is_compiling():
        return "torch.compile cannot look into it"
    if (reason := limits.why_not(x, gain)) is not None:
        return reason
    if (gain.dtype, gain.device, gain.shape) != (x.dtype, x.device, x.shape[-1:]):
        return "its arguments do not fit each other"
    return None if x.numel() else "there is nothing to norm"


class RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(x, gain)
        return forward(x, gain)

    @staticmethod
    def again(ctx: Any, d: Tensor) -> Any:
        """Gradients that the kernel cannot give, by operations of autograd."""
        with torch.enable_grad():
            x, gain = (each.view_as(each) for each in ctx.saved_tensors)
            y = functional.rms_norm(x, gain.shape, gain, EPSILON)
        wanted = [each for each, needed in zip((x, gain), ctx.needs_input_grad, strict=True) if needed]
        found = iter(torch.autograd.grad(y, wanted, d, create_graph=torch.is_grad_enabled()))
        return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)

    @staticmethod
    @limits.first_order(again)
    def backward(ctx: Any, d: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients = backward(d, *ctx.saved_tensors)
        return tuple(each if needed else None for each, needed in zip(gradients, ctx.needs_input_grad, strict=True))


def forward(x: Tensor, gain: Tensor) -> Tensor:
    y, size = lend(tuple(x.shape), x.dtype), x.shape[-1]
    held = [packed(x), packed(gain)]
    addresses = (*map(address, held), address(y))

    def share(_: int, first: int, last: int) -> None:
        launch(_MODULE, "forward", x.dtype, (first, last), size, addresses)

    rows = x.numel() // size
    share_out(share, rows, worth(rows, 4 * x.numel()))
    return y


def backward(d: Tensor, x: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    d_x, size, rows = lend(tuple(x.shape), x.dtype), x.shape[-1], x.numel() // x.shape[-1]
    threads = worth(rows, 8 * x.numel())
    held, wide = [packed(x), packed(gain), packed(d)], whole(size, x.dtype) + LANES[x.dtype]
    d_gains = scratch("rms norm", threads * wide, x.dtype)[: threads * wide].view(threads, wide)
    addresses = (*map(address, held), address(d_x))

    def share(index: int, first: int, last: int) -> None:
        launch(_MODULE, "backward", x.dtype, (first, last), size, (*addresses, d_gains[index].data_ptr()))

    share_out(share, rows, threads)
    return d_x, d_gains[:, :size].sum(0)
