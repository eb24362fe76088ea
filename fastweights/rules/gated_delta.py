from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GatedDelta:
    r"""The delta rule on a memory that fades by a gate.

        S' = exp(log_decay) S
        S  = S' + strength (v - S' k) k^T        o = S q

    It differs from `Delta` by the decay, which a slow network emits at each token; the fading comes before the error
    is read. Keys are written as they are: bring them to unit length.

    Paper: Yang, Kautz, Hatamizadeh 2024, https://arxiv.org/abs/2412.06464.
    """

    GATES: ClassVar[dict[str, Gate]] = {"log_decay": LOG_DECAY, "strength": STRENGTH}

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, strength: Tensor
    ) -> tuple[Tensor, ScanState]:
        faded = log_decay.exp()[..., None, None] * state.weights
        error = strength.unsqueeze(-1) * (value - read(faded, key))
        weights = faded + outer(error, key)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, strength: Tensor) -> Step:
        return Step(queries, keys, values, erase=keys, strength=strength, decay=log_decay)
