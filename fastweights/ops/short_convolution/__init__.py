"""A short causal convolution of each channel, a SiLU, and the split into heads, those of unit length where wanted.

Two ways: operations of torch (`reference.py`), and a kernel on CPU (`cpu.py`) that is held to them.
"""

from collections.abc import Sequence

from torch import Tensor

from fastweights.ops.short_convolution import cpu, reference
from fastweights.ops.short_convolution.part import EPSILON, Part

__all__ = ["EPSILON", "Part", "short_convolution"]


def short_convolution(
    x: Tensor,
    weight: Tensor,
    parts: Sequence[Part],
    recent: Tensor | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, ...]:
    r"""Of the channels of x, [batch, time, channel], one part after the other, as [batch, time, heads, size].

        y_t = silu(sum_j weight_j x_(t-j))        of a part of unit length: y / sqrt(|y|^2 + 1e-6), by heads

    weight: [channel, width]; its last column weighs the token itself. recent: [batch, width - 1, channel], the inputs
    before the first; None: zeros. resets: [batch, time], true where a token sees nothing before it. The parts have as
    many channels as x.
    """
    way = cpu if cpu.why_not(x, weight, recent, resets) is None else reference
    return way.run(x, weight, tuple(parts), recent, resets)
