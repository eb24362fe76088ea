from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import KEY_DECAY, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GatedDelta2:
    r"""A delta rule whose erasing and writing are gated apart, channel by channel.

        S' = S Diag(exp log_decay)
        S  = S' + (write * v - S' (erase * k)) k^T        o = S q

    It differs from `KimiDelta` in that `erase` gates the channels of the key that is read, and `write` those of the
    value. With both equal to one number it is `KimiDelta`. Keys are written as they are: bring them to unit length.

    Paper: Gated DeltaNet 2, 2026, https://arxiv.org/abs/2605.22791.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": KEY_DECAY,
        "erase": Gate("how much of each key channel is erased", "key", high=2.0),
        "write": Gate("how much of each value channel is written", "value"),
    }

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor,
        erase: Tensor,
        write: Tensor,
    ) -> tuple[Tensor, ScanState]:
        faded = state.weights * log_decay.exp().unsqueeze(-2)
        weights = faded + outer(write * value - read(faded, erase * key), key)
        return read(weights, query), ScanState(weights)

    def lower(
        self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, erase: Tensor, write: Tensor
    ) -> Step:
        return Step(queries, keys, write * values, erase=erase * keys, decay=log_decay)
