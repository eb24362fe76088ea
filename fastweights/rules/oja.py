from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Oja:
    r"""Oja's rule on a memory whose value channels fade each by a gate of its own: values compete, not keys.

        S' = Diag(exp log_decay) S
        S  = S' + strength v (k - S'^T v)^T        o = S q

    It is the mirror of `KimiDelta`: what is subtracted is what the value already reads from the transposed memory, so
    that a value that is written twice keeps its last key. Values are written as they are: bring them to unit length.

    Papers: Oja 1982, https://doi.org/10.1007/BF00275687; as an update of fast weights Irie, Faccio, Schmidhuber 2022,
    https://arxiv.org/abs/2206.01649.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": LOG_DECAY._replace(says="log of what each value channel keeps", axes="value"),
        "strength": STRENGTH,
    }

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, strength: Tensor
    ) -> tuple[Tensor, ScanState]:
        faded = log_decay.exp().unsqueeze(-1) * state.weights
        weights = faded + outer(strength.unsqueeze(-1) * value, key - read(faded.mT, value))
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, strength: Tensor) -> Step:
        return Step(queries, values, keys, erase=values, strength=strength, decay=log_decay, transposed=True)
