from __future__ import annotations  # the command line reads the rules without torch

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Retention:
    r"""Outer products in a memory that each head fades at a rate of its own.

        S = a_h S + v k^T        o = S q        a_h = 1 - 2^(-5 - h),  h = 0 .. heads - 1

    It differs from `Hebbian` in that heads keep for different times, from 32 tokens on, each twice as long as the one
    before. The network around it turns keys and queries by their place (a rotary embedding), and norms the outputs.

    Paper: Sun, Dong, Huang, Ma, Xia, Xue, Wang, Wei 2023, https://arxiv.org/abs/2307.08621.
    """

    GATES: ClassVar[dict[str, Gate]] = {}

    def step(self, state: ScanState, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ScanState]:
        weights = kept(key)[:, None, None] * state.weights + outer(value, key)
        return read(weights, query), ScanState(weights)

    def lower(self, queries: Tensor, keys: Tensor, values: Tensor) -> Step:
        return Step(queries, keys, values, decay=kept(keys).log().expand(keys.shape[:3]))


def kept(keys: Tensor) -> Tensor:
    """a_h of each head of [..., heads, key]."""
    heads = keys.shape[-2]
    return keys.new_tensor([1.0 - 2.0 ** (-5 - head) for head in range(heads)])
