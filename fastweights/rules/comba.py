from __future__ import annotations  # the command line reads the rules without torch

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Comba:
    r"""A gated delta rule that erases less than it writes, and takes the key out of the query.

        S = exp(log_decay) S + strength (v - feedback S k) k^T        o = S (q - correction k)

    It differs from `GatedDelta` in three ways. What is erased was read before the memory faded; only a part of it is
    erased, `feedback`; and the query loses the part `correction` of the key. Both are a number a head. Keys are written
    as they are: bring them to unit length.

    Paper: Hu et al. 2025, https://arxiv.org/abs/2506.02475.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": LOG_DECAY,
        "strength": STRENGTH,
        "feedback": Gate("which part of what is stored is erased", "head", start=(0.731, 0.731)),
        "correction": Gate("how much of the key the query loses", "head", -math.inf, math.inf, "identity", (1.0, 1.0)),
    }

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor,
        strength: Tensor,
        feedback: Tensor,
        correction: Tensor,
    ) -> tuple[Tensor, ScanState]:
        error = strength.unsqueeze(-1) * (value - feedback.unsqueeze(-1) * read(state.weights, key))
        weights = log_decay.exp()[..., None, None] * state.weights + outer(error, key)
        return read(weights, query - correction.unsqueeze(-1) * key), ScanState(weights)

    def lower(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        log_decay: Tensor,
        strength: Tensor,
        feedback: Tensor,
        correction: Tensor,
    ) -> Step:
        queries, erase = queries - correction.unsqueeze(-1) * keys, feedback.unsqueeze(-1) * keys
        return Step(queries, keys, values, erase=erase, strength=strength, decay=log_decay, undecayed_erase=True)
