"""In one compiled pass over the tokens, forward and backward (`cpu_kernels.py`), on CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.cpu import limits
from fastweights.ops.cpu.buffers import LANES, address, lend, packed, scratch, whole
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.threads import share_out, worth
from fastweights.ops.short_convolution import reference
from fastweights.ops.short_convolution.part import BLOCK, Part

_MODULE = "short_convolution.cpu_kernels"
MOST = 3  # parts
WIDEST = 4  # tokens that one sees
PIECE = 64  # channels of a piece of what has no heads
EACH = 30  # multiplications of a number, beside those of the convolution


def why_not(x: Tensor, weight: Tensor, recent: Tensor | None, resets: Tensor | None) -> str | None:
    if torch.compiler.is_compiling():
        return "torch.compile cannot look into it"
    reason = limits.why_not(x, weight, recent, resets)
    if reason is not None:
        return reason
    batch, time, channels = x.shape
    width, fit = weight.shape[-1], (x.dtype, "cpu")
    shapes = [(weight, (channels, width), fit), (recent, (batch, width - 1, channels), fit)]
    shapes.append((resets, (batch, time), (torch.bool, "cpu")))
    if any(
        each is not None and (each.shape, (each.dtype, each.device.type)) != (shape, of) for each, shape, of in shapes
    ):
        return "its arguments do not fit each other"
    if width > WIDEST:
        return f"it sees at most {WIDEST} tokens, not {width}"
    return None if x.numel() else "there is nothing to convolve"


def run(
    x: Tensor, weight: Tensor, parts: tuple[Part, ...], recent: Tensor | None, resets: Tensor | None
) -> tuple[Tensor, ...]:
    if len(parts) > MOST or sum(part.channels for part in parts) != x.shape[-1]:
        return reference.run(x, weight, parts, recent, resets)
    if torch.is_grad_enabled():
        found: Any = Convolution.apply(x, weight, recent, resets, parts)
        return found
    return forward(x, weight, recent, resets, parts)


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        *tensors, ctx.parts = arguments
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        return forward(*arguments)

    @staticmethod
    def again(ctx: Any, *d: Tensor | None) -> Any:
        """Gradients that the kernel cannot give, by operations of autograd."""
        x, weight, recent, resets = ctx.saved_tensors
        with torch.enable_grad():
            apart = [None if each is None else each.view_as(each) for each in (x, weight, recent)]
            outputs = reference.run(apart[0], apart[1], ctx.parts, apart[2], resets)  # pyright: ignore[reportArgumentType]
        needs = ctx.needs_input_grad
        wanted = [each for each, needed in zip(apart, needs, strict=False) if needed and each is not None]
        pairs = [(output, each) for output, each in zip(outputs, d, strict=True) if each is not None]
        if not pairs:
            return (None,) * 5
        results, given = zip(*pairs, strict=True)
        graph = torch.is_grad_enabled()
        found = iter(torch.autograd.grad(results, wanted, given, create_graph=graph, allow_unused=True))
        return *(next(found) if needed else None for needed in needs[:3]), None, None

    @staticmethod
    @limits.first_order(again)
    def backward(ctx: Any, *d: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, recent, resets = ctx.saved_tensors
        if all(each is None for each in d):
            return (None,) * 5
        gradients = backward(d, x, weight, recent, resets, ctx.parts)
        return (
            *(each if needed else None for each, needed in zip(gradients, ctx.needs_input_grad, strict=False)),
            None,
            None,
        )


def forward(
    x: Tensor, weight: Tensor, recent: Tensor | None, resets: Tensor | None, parts: tuple[Part, ...]
) -> tuple[Tensor, ...]:
    (batch, time, channels), width = x.shape, weight.shape[1]
    outputs = tuple(lend((batch, time, part.heads, part.size), x.dtype) for part in parts)
    held = [
        packed(x),
        None if recent is None else packed(recent),
        by_taps(weight),
        None if resets is None else packed(resets),
    ]
    pieces = pieces_of(parts)
    addresses = (*map(address, held), *map(address, outputs), *[0] * (MOST - len(parts)))
    count = sum(heads for heads, _, _ in pieces)
    threads = worth(count, x.numel() * (width + EACH))
    own = [scratch(f"convolution {i}", BLOCK * LANES[x.dtype], x.dtype) for i in range(threads)]

    def share(index: int, first: int, last: int) -> None:
        sizes = (batch, time, channels, width)
        launch(_MODULE, "forward", x.dtype, (first, last), sizes, pieces, (*addresses, own[index].data_ptr()))

    share_out(share, count, threads)
    return outputs


def backward(
    d: tuple[Tensor | None, ...],
    x: Tensor,
    weight: Tensor,
    recent: Tensor | None,
    resets: Tensor | None,
    parts: tuple[Part, ...],
) -> tuple[Tensor, Tensor, Tensor | None]:
    (batch, time, channels), width, dtype = x.shape, weight.shape[1], x.dtype
    held = [
        packed(x),
        None if recent is None else packed(recent),
        by_taps(weight),
        None if resets is None else packed(resets),
    ]
    given = [
        x.new_zeros(batch, time, part.heads, part.size) if each is None else packed(each)
        for each, part in zip(d, parts, strict=True)
    ]
    d_x, d_weight = lend((batch, time, channels), dtype), weight.new_empty(width, channels)
    d_recent = None if recent is None else torch.empty_like(held[1])  # pyright: ignore[reportArgumentType]
    pieces = pieces_of(parts)
    wide, kept = (
        max(whole(size, dtype) for _, size, _ in pieces),
        sum(7 * n * whole(size, dtype) for n, size, _ in pieces),
    )
    total = 2 * BLOCK * (LANES[dtype] + 1 + wide) + kept
    count = sum(heads for heads, _, _ in pieces)
    threads = worth(count, 2 * x.numel() * (width + EACH))
    own = [scratch(f"convolution {i}", total, dtype) for i in range(threads)]
    fixed = (
        *map(address, held),
        *map(address, given),
        *[0] * (MOST - len(parts)),
        *map(address, (d_x, d_recent, d_weight)),
    )

    def share(index: int, first: int, last: int) -> None:
        sizes = (batch, time, channels, width, wide, kept)
        launch(_MODULE, "backward", dtype, (first, last), sizes, pieces, (*fixed, own[index].data_ptr()))

    share_out(share, count, threads)
    return d_x, d_weight.flip(0).t(), d_recent


def by_taps(weight: Tensor) -> Tensor:
    """[4, channel], that of the token itself first, as the kernels read it."""
    taps = weight.t().contiguous().flip(0)
    return taps if len(taps) == WIDEST else functional.pad(taps, (0, 0, 0, WIDEST - len(taps)))


def pieces_of(parts: tuple[Part, ...]) -> tuple[tuple[int, int, int], ...]:
    """The parts as the kernels take them; channels without heads in pieces, so that threads can share them."""
    found = []
    for heads, size, unit in parts:
        if not unit and heads * size % PIECE == 0:
            heads, size = heads * size // PIECE, PIECE
        found.append((heads, size, int(unit)))
    return (*found, *[(0, 0, 0)] * (MOST - len(found)))
