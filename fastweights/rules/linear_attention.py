from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6  # added to the denominator


@dataclass(frozen=True)
class LinearAttention:
    r"""Attention without the softmax: a sum of outer products, and a read that is divided by the sum of its weights.

        S = S + v k^T;  z = z + k        o = S q / (z q + 1e-6)

    It differs from `Hebbian(decay=1, rate=1)` by the denominator alone; `normalize=False` leaves it out. With it, keys
    and queries have to be positive features, such as elu(x) + 1. The state carries z, [batch, heads, key].

    Paper: Katharopoulos, Vyas, Pappas, Fleuret 2020, https://arxiv.org/abs/2006.16236.
    """

    GATES: ClassVar[dict[str, Gate]] = {}

    normalize: bool = True

    def others(self, key: int, value: int) -> list[tuple[int, ...]]:
        return [(key,)] if self.normalize else []

    def step(self, state: ScanState, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ScanState]:
        weights = state.weights + outer(value, key)
        if not self.normalize:
            return read(weights, query), ScanState(weights)
        total = state.others[0] + key
        return read(weights, query) / ((total * query).sum(-1, keepdim=True) + EPSILON), ScanState(weights, (total,))

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor) -> Step:
        if not self.normalize:
            return Step(queries, keys, values)
        import torch

        return Step(queries, keys, torch.cat([values, torch.ones_like(values[..., :1])], -1), finish=divided)


def divided(read: Tensor) -> Tensor:
    return read[..., :-1] / (read[..., -1:] + EPSILON)
