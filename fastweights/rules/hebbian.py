from __future__ import annotations  # the command line reads the constants without torch

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float

from fastweights.rules._constants import Range, check_constants
from fastweights.rules._scan import Gate, ScanState, Step, constant, log_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Hebbian:
    r"""The decaying outer-product rule.

        A(t) = decay A(t-1) + rate v k^T        read: A q

    It adds what it is given and never looks at what is stored; its nearest relative, `Delta`, writes only the
    difference to what is stored. `rate=0` is a memory that stays empty: the network is then the one
    without fast weights. `decay=0` holds the last vector alone: a control of the same depth that remembers nothing.
    `decay` in [0, 1] and `rate` >= 0 are floats, or 0-d tensors where they are learned.

    Paper: Ba et al. 2016, https://arxiv.org/abs/1610.06258 (equation 1; there lambda and eta).
    """

    RANGES: ClassVar[dict[str, Range]] = {"decay": (0.0, 1.0), "rate": (0.0, math.inf)}
    GATES: ClassVar[dict[str, Gate]] = {}

    decay: float | Tensor = 0.95
    rate: float | Tensor = 0.5

    def __post_init__(self) -> None:
        check_constants(self)

    def write(
        self, weights: Float[Tensor, "... value key"], key: Float[Tensor, "... key"], value: Float[Tensor, "... value"]
    ) -> Float[Tensor, "... value key"]:
        return self.decay * weights + self.rate * value.unsqueeze(-1) * key.unsqueeze(-2)

    def read(
        self, weights: Float[Tensor, "... value key"], query: Float[Tensor, "... key"]
    ) -> Float[Tensor, "... value"]:
        return (weights @ query.unsqueeze(-1)).squeeze(-1)

    def step(self, state: ScanState, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ScanState]:
        weights = self.write(state.weights, key, value)
        return self.read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor) -> Step:
        rate, decay = constant(self.rate, keys), log_of(self.decay, keys)
        return Step(queries, keys, values, strength=rate, decay=decay)
