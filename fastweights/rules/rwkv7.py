from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import KEY_DECAY, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RWKV7:
    r"""A delta rule that erases under one key and writes under another, beside the decay of each channel.

        S = S Diag(exp log_decay) - (S r) (strength * r)^T + v k^T        o = S q        r: the gate `removal`

    It differs from `KimiDelta` in three ways. The removal key r, of unit length, is not the key that is written; the
    strength has channels; and what is erased was read before the memory faded. The paper's kappa is r, its a is
    strength.

    Paper: Peng et al. 2025, https://arxiv.org/abs/2503.14456.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": KEY_DECAY._replace(form="soft decay", start=None),
        "removal": Gate("key that is erased, of unit length", "key", -1.0, 1.0, "unit"),
        "strength": Gate("how much of each key channel is erased", "key"),
    }

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor,
        removal: Tensor,
        strength: Tensor,
    ) -> tuple[Tensor, ScanState]:
        faded = state.weights * log_decay.exp().unsqueeze(-2)
        weights = faded - outer(read(state.weights, removal), strength * removal) + outer(value, key)
        return read(weights, query), ScanState(weights)

    def lower(
        self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, removal: Tensor, strength: Tensor
    ) -> Step:
        """Two substeps: the first erases the read of the undecayed state, the second writes."""
        erase, value = (
            in_turn(removal, removal.new_zeros(removal.shape)),
            in_turn(values.new_zeros(values.shape), values),
        )
        key = in_turn(strength * removal, keys)
        return Step(queries, key, value, erase=erase, decay=log_decay, substeps=2, undecayed_erase=True)


def in_turn(first: Tensor, second: Tensor) -> Tensor:
    """[batch, 2 * time, ...]: of each token the first, then the second."""
    import torch

    return torch.stack([first, second], 2).flatten(1, 2)
