from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import KEY_DECAY, STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KimiDelta:
    r"""The delta rule on a memory whose key channels fade each by a gate of its own.

        S' = S Diag(exp log_decay)
        S  = S' + strength (v - S' k) k^T        o = S q

    It differs from `GatedDelta` by a decay for each key channel instead of one for all. Keys are written as they are:
    bring them to unit length.

    Paper: Kimi Team 2025, https://arxiv.org/abs/2510.26692 (Kimi Delta Attention).
    """

    GATES: ClassVar[dict[str, Gate]] = {"log_decay": KEY_DECAY, "strength": STRENGTH}

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, strength: Tensor
    ) -> tuple[Tensor, ScanState]:
        faded = state.weights * log_decay.exp().unsqueeze(-2)
        weights = faded + outer(strength.unsqueeze(-1) * (value - read(faded, key)), key)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, strength: Tensor) -> Step:
        return Step(queries, keys, values, erase=keys, strength=strength, decay=log_decay)
