from __future__ import annotations  # the command line reads the rules without torch

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float

from fastweights.rules._constants import Range, check_constants
from fastweights.rules._scan import STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Longhorn:
    r"""The delta rule with the step that an implicit update takes, which never overshoots.

        b = strength / (1 + strength |k|^2)
        S = S + b (v - S k) k^T        o = S q

    It is the minimum of |S - S_before|^2 + strength |S k - v|^2, so that keys of any length and any strength are safe.
    It differs from `Delta` by this step alone. The published code keeps the diagonal of k k^T only, and has a strength
    for each value channel; this is the exact form. `rate` >= 0 is the strength where the slow network emits none.

    Paper: Liu, Wang, Wu, Feng, Stone, Liu 2024, https://arxiv.org/abs/2407.14207.
    """

    RANGES: ClassVar[dict[str, Range]] = {"rate": (0.0, math.inf)}
    GATES: ClassVar[dict[str, Gate]] = {"strength": STRENGTH._replace(high=math.inf, constant="rate")}

    rate: float | Tensor = 1.0

    def __post_init__(self) -> None:
        check_constants(self)

    def write(
        self,
        weights: Float[Tensor, "... value key"],
        key: Float[Tensor, "... key"],
        value: Float[Tensor, "... value"],
        *,
        strength: Float[Tensor, ...] | None = None,
    ) -> Float[Tensor, "... value key"]:
        length = key.square().sum(-1, keepdim=True)
        step = implicit(self.rate if strength is None else strength.unsqueeze(-1), length)
        return weights + outer(step * (value - read(weights, key)), key)

    def read(
        self, weights: Float[Tensor, "... value key"], query: Float[Tensor, "... key"]
    ) -> Float[Tensor, "... value"]:
        return read(weights, query)

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, strength: Tensor | None = None
    ) -> tuple[Tensor, ScanState]:
        weights = self.write(state.weights, key, value, strength=strength)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, strength: Tensor | None = None) -> Step:
        length = keys.square().sum(-1)
        return Step(
            queries, keys, values, erase=keys, strength=implicit(self.rate if strength is None else strength, length)
        )


def implicit(strength: float | Tensor, length: Tensor) -> Tensor:
    """The step of the implicit update; `length` is |k|^2."""
    return strength / (1.0 + strength * length)
