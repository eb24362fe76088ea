from __future__ import annotations  # the command line reads the rules without torch

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Mamba2:
    r"""A selective state space: what writes strongly also makes the memory fade.

        S = exp(-strength forget) S + strength v k^T        o = S q

    In the paper's letters strength is Delta, forget is -A, v is x, k is B and q is C. It differs from `GLA` in that one
    gate a head both writes and fades, and in that all channels fade alike. `forget` is a number a head.

    Paper: Dao, Gu 2024, https://arxiv.org/abs/2405.21060.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "strength": Gate("how much is written, and faded", "token", 0.0, math.inf, "softplus", (1e-3, 0.1)),
        "forget": Gate("how fast a head fades", "head", 0.0, math.inf, "exp", (1.0, 16.0)),
    }

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, strength: Tensor, forget: Tensor
    ) -> tuple[Tensor, ScanState]:
        faded = (-forget * strength).exp()[..., None, None] * state.weights
        weights = faded + outer(strength.unsqueeze(-1) * value, key)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, strength: Tensor, forget: Tensor) -> Step:
        return Step(queries, keys, values, strength=strength, decay=-forget * strength)
