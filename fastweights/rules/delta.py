from __future__ import annotations  # the command line reads the constants without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float

from fastweights.rules._constants import Range, check_constants
from fastweights.rules._scan import STRENGTH, Gate, ScanState, Step, constant, log_of

if TYPE_CHECKING:
    from torch import Tensor

SHORTEST = 1e-6  # a key shorter than this is divided by it


@dataclass(frozen=True)
class Delta:
    r"""The delta (Widrow-Hoff) rule: write only the difference to what the key already reads.

        S    = decay A(t-1)
        A(t) = S + strength (v - S k) k^T        k = key / |key|        read: A q

    Unlike `Hebbian` it overwrites: with strength 1 a key that is written twice reads its last value. The key is
    brought to unit length because the rule diverges where strength |key|^2 > 2; `normalize_key=False` gives the
    literal rule. `rate` in [0, 2] is the strength where the slow network emits none; `decay` in [0, 1].

    Paper: Schlag, Irie, Schmidhuber 2021, https://arxiv.org/abs/2102.11174.
    """

    RANGES: ClassVar[dict[str, Range]] = {"decay": (0.0, 1.0), "rate": (0.0, 2.0)}
    GATES: ClassVar[dict[str, Gate]] = {"strength": STRENGTH._replace(constant="rate")}

    decay: float | Tensor = 1.0
    rate: float | Tensor = 0.5
    normalize_key: bool = True

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
        if self.normalize_key:
            key = unit(key)
        weights = self.decay * weights
        error = value - self.read(weights, key)
        error = self.rate * error if strength is None else strength.unsqueeze(-1) * error
        return weights + error.unsqueeze(-1) * key.unsqueeze(-2)

    def read(
        self, weights: Float[Tensor, "... value key"], query: Float[Tensor, "... key"]
    ) -> Float[Tensor, "... value"]:
        return (weights @ query.unsqueeze(-1)).squeeze(-1)

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, strength: Tensor | None = None
    ) -> tuple[Tensor, ScanState]:
        weights = self.write(state.weights, key, value, strength=strength)
        return self.read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, strength: Tensor | None = None) -> Step:
        if self.normalize_key:
            keys = unit(keys)
        strength = constant(self.rate, keys) if strength is None else strength
        return Step(queries, keys, values, erase=keys, strength=strength, decay=log_of(self.decay, keys))


def unit(x: Tensor) -> Tensor:
    """x / |x|, the key of `Delta`; a vector of zeros stays one."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(SHORTEST)
