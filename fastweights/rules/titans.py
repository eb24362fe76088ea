from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Titans:
    r"""Gradient descent with momentum and weight decay on the error of a linear memory, at each token.

        Z = momentum Z + strength (v - S k) k^T
        S = exp(log_decay) S + Z        o = S q

    It differs from `Delta` in that what a token writes goes on being written, by momentum. (v - S k) k^T is minus the
    gradient of |S k - v|^2 / 2 at the weights before the token. In the paper's letters strength is 2 theta, momentum is
    eta and the decay is 1 - alpha. The deep memories of the paper, and the layer norm of some codes, are not in this
    rule. The state carries Z, [batch, heads, value, key]. Keys are written as they are: bring them to unit length.

    Paper: Behrouz, Zhong, Mirrokni 2024, https://arxiv.org/abs/2501.00663.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": LOG_DECAY,
        "strength": STRENGTH,
        "momentum": Gate("which part of the last write is written again"),
    }

    def others(self, key: int, value: int) -> list[tuple[int, ...]]:
        return [(value, key)]

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor,
        strength: Tensor,
        momentum: Tensor,
    ) -> tuple[Tensor, ScanState]:
        error = strength.unsqueeze(-1) * (value - read(state.weights, key))
        moving = momentum[..., None, None] * state.others[0] + outer(error, key)
        weights = log_decay.exp()[..., None, None] * state.weights + moving
        return read(weights, query), ScanState(weights, (moving,))

    def lower(
        self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, strength: Tensor, momentum: Tensor
    ) -> Step:
        return Step(
            queries,
            keys,
            values,
            erase=keys,
            strength=strength,
            decay=log_decay,
            undecayed_erase=True,
            momentum=momentum,
        )
