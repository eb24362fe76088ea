from __future__ import annotations  # the command line reads the constants without torch

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float

from fastweights.rules._constants import Range, check_constants

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6  # added to squared lengths


@dataclass(frozen=True)
class Cosine:
    r"""Outer products of directions, and a read that is measured by the boundary: free of width and length.

        n(x) = (x - mean x) / sqrt(|x - mean x|^2 + 1e-6)
        A(t) = decay A(t-1) + n(v) n(k)^T        read: r = A n(q)
        what is added to the boundary b: rate r sqrt(B / (B + |r|^2)),  B = |b - mean b|^2 + 1e-6

    It differs from `Hebbian` in two ways. Vectors are compared by the cosine of their angle, and the mean over the
    units, which all rectified vectors share, is taken out before. The read is never longer than `rate` times the
    boundary's deviation from its mean, for any number of units and of steps and any `decay`; a read much shorter than
    the boundary is added as it is, times `rate`. So a network begins near the one without fast weights (at rate 1 both
    have the same say at most), and a learned `rate` lets it lean on its memory or leave it.
    `decay` in [0, 1] and `rate` >= 0 are floats, or 0-d tensors where they are learned.

    This project's; from equation 1 of Ba et al. 2016, https://arxiv.org/abs/1610.06258.
    """

    RANGES: ClassVar[dict[str, Range]] = {"decay": (0.0, 1.0), "rate": (0.0, math.inf)}
    SPEED: ClassVar[float] = 10.0  # of learned constants: how much faster they move than a weight
    LEARNED: ClassVar[tuple[str, ...]] = ("rate",)  # where nobody says

    decay: float | Tensor = 0.92
    rate: float | Tensor = 1.0

    def __post_init__(self) -> None:
        check_constants(self)

    def write(
        self, weights: Float[Tensor, "... value key"], key: Float[Tensor, "... key"], value: Float[Tensor, "... value"]
    ) -> Float[Tensor, "... value key"]:
        return self.decay * weights + direction(value).unsqueeze(-1) * direction(key).unsqueeze(-2)

    def read(
        self, weights: Float[Tensor, "... value key"], query: Float[Tensor, "... key"]
    ) -> Float[Tensor, "... value"]:
        return (weights @ direction(query).unsqueeze(-1)).squeeze(-1)

    def bound(
        self, read: Float[Tensor, "... value"], boundary: Float[Tensor, "... value"]
    ) -> Float[Tensor, "... value"]:
        """What the recurrence adds to the boundary, of a read."""
        return read * self.factor(read, boundary)

    def factor(self, read: Float[Tensor, "... value"], boundary: Float[Tensor, "... value"]) -> Float[Tensor, "... 1"]:
        """rate sqrt(B / (B + |read|^2)), what `bound` multiplies a read with."""
        size = deviation(boundary).square().sum(-1, keepdim=True) + EPSILON
        return self.rate * (size / (size + read.square().sum(-1, keepdim=True))).sqrt()


def deviation(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def direction(x: Tensor) -> Tensor:
    """n(x), of length one, or less where all units are nearly equal."""
    x = deviation(x)
    return x * (x.square().sum(-1, keepdim=True) + EPSILON).rsqrt()


def direction_backward(d: Tensor, x: Tensor) -> Tensor:
    """The gradient of x, from that of `direction(x)`."""
    scale = (deviation(x).square().sum(-1, keepdim=True) + EPSILON).rsqrt()
    unit = deviation(x) * scale
    return deviation(d - unit * (unit * d).sum(-1, keepdim=True)) * scale
