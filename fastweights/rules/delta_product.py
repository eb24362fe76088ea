from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.errors import UserError
from fastweights.rules._constants import Range, check_constants
from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, log_of, outer, read

if TYPE_CHECKING:
    from torch import Tensor

MOST = 16  # substeps a token


@dataclass(frozen=True)
class DeltaProduct:
    r"""Several delta rules a token, one after the other, on a memory that fades once a token.

        S_0 = exp(log_decay) S
        S_j = S_{j-1} + strength_j (v_j - S_{j-1} k_j) k_j^T,  j = 1 .. substeps        o = S_n q

    It differs from `GatedDelta` in that a token has `substeps` keys, values and strengths, and so multiplies the memory
    by a product of as many reflections: with strengths up to 2 it can permute what it holds. Keys are written as they
    are: bring them to unit length. Without the gate `log_decay` the memory keeps `decay` a token, all of it by default.

    Paper: Siems, Carstensen, Zela, Hutter, Pontil, Grazzi 2025, https://arxiv.org/abs/2502.10297.
    """

    RANGES: ClassVar[dict[str, Range]] = {"decay": (0.0, 1.0)}
    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": LOG_DECAY._replace(constant="decay"),
        "strength": STRENGTH._replace(axes="substep"),
    }

    substeps: int = 2
    decay: float | Tensor = 1.0

    def __post_init__(self) -> None:
        check_constants(self)
        if type(self.substeps) is not int or not 1 <= self.substeps <= MOST:
            raise UserError(f"DeltaProduct(substeps={self.substeps!r}): wanted an integer from 1 to {MOST}")

    def step(
        self, state: ScanState, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor | None, strength: Tensor
    ) -> tuple[Tensor, ScanState]:
        weights = state.weights * (self.decay if log_decay is None else log_decay.exp()[..., None, None])
        if self.substeps == 1:
            key, value, strength = key.unsqueeze(-2), value.unsqueeze(-2), strength.unsqueeze(-1)
        for k, v, s in zip(key.unbind(-2), value.unbind(-2), strength.unbind(-1), strict=True):
            weights = weights + outer(s.unsqueeze(-1) * (v - read(weights, k)), k)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor | None, strength: Tensor) -> Step:
        decay = log_of(self.decay, queries) if log_decay is None else log_decay
        return Step(queries, keys, values, erase=keys, strength=strength, decay=decay, substeps=self.substeps)
