from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import KEY_DECAY, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GLA:
    r"""Gated linear attention: outer products in a memory whose key channels fade each by a gate of its own.

        S = S Diag(exp log_decay) + v k^T        o = S q

    It differs from `Hebbian` by the decay, which a slow network emits for each token and key channel.

    Paper: Yang, Wang, Shen, Panda, Kim 2023, https://arxiv.org/abs/2312.06635.
    """

    GATES: ClassVar[dict[str, Gate]] = {"log_decay": KEY_DECAY._replace(form="logsigmoid", start=None, rank=16)}

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor
    ) -> tuple[Tensor, ScanState]:
        weights = state.weights * log_decay.exp().unsqueeze(-2) + outer(value, key)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor) -> Step:
        return Step(queries, keys, values, decay=log_decay)
