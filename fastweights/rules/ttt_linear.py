from __future__ import annotations  # the command line reads the rules without torch

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.errors import UserError
from fastweights.rules._constants import Range, check_constants
from fastweights.rules._scan import STRENGTH, Gate, ScanState, outer, read

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6  # of the layer norm


@dataclass(frozen=True)
class TTTLinear:
    r"""Test-time training of a linear layer with a layer norm behind it, in mini-batches of tokens.

        f(x) = LN(W x + b)        loss of token j: |f(k_j) - (v_j - k_j)|^2 / 2
        W_t = W_s - sum of strength_j rate / (d n) dloss_j/dW (W_s, b_s), over the n tokens j from s+1 to t; b alike
        o_t = q_t + LN(W_t q_t + b_t)

    s is where the mini-batch began, d the size of a key, LN has a `gain` and a `shift` for each head. It differs from
    `Delta` by the layer norm, and in that gradients are taken at the weights before the mini-batch. Values are as long
    as keys. Each head starts at its own matrix, the gate `start`: the state holds what was added to it, and resets go
    back there. It also carries b, [batch, heads, value], the two sums, and how many tokens the mini-batch has. From W =
    0 the first gradient is a thousand times too long. The published code also learns what stands for 1 / n here.

    Paper: Sun et al. 2024, https://arxiv.org/abs/2407.04620.
    """

    RANGES: ClassVar[dict[str, Range]] = {"rate": (0.0, math.inf)}
    GATES: ClassVar[dict[str, Gate]] = {
        "strength": STRENGTH._replace(says="how much a token teaches", high=math.inf),
        "start": Gate("weights at the start", "head value key", -math.inf, math.inf, "identity", (-0.035, 0.035)),
        "gain": Gate("gain of the layer norm", "head value", -math.inf, math.inf, "identity", (1.0, 1.0)),
        "shift": Gate("shift of the layer norm", "head value", -math.inf, math.inf, "identity", (0.0, 0.0)),
    }

    SQUARE: ClassVar[bool] = True  # keys and values are of one size

    mini_batch: int = 16
    rate: float | Tensor = 1.0

    def __post_init__(self) -> None:
        check_constants(self)
        if type(self.mini_batch) is not int or self.mini_batch < 1:
            raise UserError(f"TTTLinear(mini_batch={self.mini_batch!r}): wanted a number of tokens, at least 1")

    def others(self, key: int, value: int) -> list[tuple[int, ...]]:
        """b, the sums of the gradients of W and of b, and the number of their tokens."""
        return [(value,), (value, key), (value,), (1,)]

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        strength: Tensor,
        start: Tensor,
        gain: Tensor,
        shift: Tensor,
    ) -> tuple[Tensor, ScanState]:
        import torch

        bias, sums, bias_sums, count = state.others
        before = read(start + state.weights, key) + bias
        slope = strength.unsqueeze(-1) * self.rate / key.shape[-1] * slope_of(before, value - key, gain, shift)
        sums, bias_sums, count = sums + outer(slope, key), bias_sums + slope, count + 1
        weights, moved = state.weights - sums / count.unsqueeze(-1), bias - bias_sums / count
        output = query + gain * normed(read(start + weights, query) + moved)[0] + shift
        full = count >= self.mini_batch
        wide = full.unsqueeze(-1)
        return output, ScanState(
            torch.where(wide, weights, state.weights),
            (
                torch.where(full, moved, bias),
                torch.where(wide, 0.0, sums),
                torch.where(full, 0.0, bias_sums),
                torch.where(full, 0.0, count),
            ),
        )


def normed(x: Tensor) -> tuple[Tensor, Tensor]:
    """x without its mean, in its standard deviations, and the deviation."""
    x = x - x.mean(-1, keepdim=True)
    deviation = (x.square().mean(-1, keepdim=True) + EPSILON).sqrt()
    return x / deviation, deviation


def slope_of(x: Tensor, target: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """The gradient of |gain normed(x) + shift - target|^2 / 2."""
    unit, deviation = normed(x)
    d = gain * (gain * unit + shift - target)
    return (d - d.mean(-1, keepdim=True) - unit * (d * unit).mean(-1, keepdim=True)) / deviation
