from __future__ import annotations  # the command line reads the constants without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float

from fastweights.rules._constants import Range, check_constants
from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, constant, log_of, outer, read
from fastweights.rules.delta import unit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Oja:
    r"""Oja's rule: values compete, not keys, on a memory whose value channels fade each by a gate of its own.

        S' = Diag(exp log_decay) S
        S  = S' + strength v (k - S'^T v)^T        v = value / |value|        o = S q

    It is the mirror of `KimiDelta`: what is subtracted is what the value already reads from the transposed memory, so
    that a value that is written twice keeps its last key. The value is brought to unit length because the rule diverges
    where strength |value|^2 > 2; `normalize_value=False` gives the literal rule. `decay` in [0, 1] and `rate` in [0, 2]
    stand in where the slow network emits no gates.

    Papers: Oja 1982, https://doi.org/10.1007/BF00275687; as an update of fast weights Irie, Faccio, Schmidhuber 2022,
    https://arxiv.org/abs/2206.01649.
    """

    RANGES: ClassVar[dict[str, Range]] = {"decay": (0.0, 1.0), "rate": (0.0, 2.0)}
    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": LOG_DECAY._replace(says="log of what each value channel keeps", axes="value", constant="decay"),
        "strength": STRENGTH._replace(constant="rate"),
    }

    decay: float | Tensor = 1.0
    rate: float | Tensor = 0.5
    normalize_value: bool = True

    def __post_init__(self) -> None:
        check_constants(self)

    def write(
        self,
        weights: Float[Tensor, "... value key"],
        key: Float[Tensor, "... key"],
        value: Float[Tensor, "... value"],
        *,
        log_decay: Float[Tensor, "... value"] | None = None,
        strength: Float[Tensor, ...] | None = None,
    ) -> Float[Tensor, "... value key"]:
        if self.normalize_value:
            value = unit(value)
        weights = weights * (self.decay if log_decay is None else log_decay.exp().unsqueeze(-1))
        rate = self.rate if strength is None else strength.unsqueeze(-1)
        return weights + outer(rate * value, key - read(weights.mT, value))

    def read(
        self, weights: Float[Tensor, "... value key"], query: Float[Tensor, "... key"]
    ) -> Float[Tensor, "... value"]:
        return read(weights, query)

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor | None = None,
        strength: Tensor | None = None,
    ) -> tuple[Tensor, ScanState]:
        weights = self.write(state.weights, key, value, log_decay=log_decay, strength=strength)
        return read(weights, query), ScanState(weights)

    def lower(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        log_decay: Tensor | None = None,
        strength: Tensor | None = None,
    ) -> Step:
        if self.normalize_value:
            values = unit(values)
        decay = log_of(self.decay, keys) if log_decay is None else log_decay
        strength = constant(self.rate, keys) if strength is None else strength
        return Step(queries, values, keys, erase=values, strength=strength, decay=decay, transposed=True)
