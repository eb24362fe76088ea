"""By operations of torch: any device, and differentiable as often as torch is."""

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.short_convolution.part import EPSILON, Part


def run(
    x: Tensor, weight: Tensor, parts: tuple[Part, ...], recent: Tensor | None, resets: Tensor | None
) -> tuple[Tensor, ...]:
    return in_heads(functional.silu(convolved(x, weight, recent, resets)), parts)


def in_heads(y: Tensor, parts: tuple[Part, ...]) -> tuple[Tensor, ...]:
    """One part of the channels after the other, [batch, time, heads, size], those that say so of unit length."""
    pieces = y.split([part.channels for part in parts], -1)
    heads = [piece.unflatten(-1, (part.heads, part.size)) for piece, part in zip(pieces, parts, strict=True)]
    return tuple(unit(each) if part.unit else each for each, part in zip(heads, parts, strict=True))


def unit(x: Tensor) -> Tensor:
    """x / sqrt(|x|^2 + 1e-6)"""
    return x * (x.square().sum(-1, keepdim=True) + EPSILON).rsqrt()


def convolved(x: Tensor, weight: Tensor, recent: Tensor | None, resets: Tensor | None) -> Tensor:
    (batch, time, channels), width = x.shape, weight.shape[1]
    long = torch.cat([x.new_zeros(batch, width - 1, channels) if recent is None else recent, x], 1)
    if resets is not None:
        return within(long, weight, resets)
    if time == 1:
        return (long * weight.t()).sum(1, keepdim=True)
    # in two dimensions it takes half the time of one: it runs on the strides as they are
    return functional.conv2d(long.mT.unsqueeze(2), weight[:, None, None], groups=channels).squeeze(2).mT


def within(long: Tensor, weight: Tensor, resets: Tensor) -> Tensor:
    """The convolution of what a sequence of its own holds alone; `long` begins with the inputs before the first."""
    time, width = resets.shape[1], weight.shape[1]
    part = functional.pad(resets.cumsum(1), (width - 1, 0))
    y = torch.zeros_like(long[:, width - 1 :])
    for tap in range(width):
        seen = (part[:, tap : tap + time] == part[:, width - 1 :])[..., None]
        y = y + torch.where(seen, long[:, tap : tap + time], 0.0) * weight[:, tap]
    return y
