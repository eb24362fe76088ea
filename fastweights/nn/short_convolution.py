from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.ops.lengths import inside
from fastweights.ops.short_convolution import Part, short_convolution


class ShortConvolution(nn.Module):
    r"""A causal convolution of each channel with its own few weights, and a SiLU: y(t) = silu(sum_j w_j x(t - j)).

    Keys, values and queries get a view of the tokens just before them, so that a pair of neighbours can be one write.

    It streams: `y, recent = convolution(x, recent)` takes and gives the last width - 1 inputs, [batch, width - 1,
    channels]; None: zeros. Where `resets`, [batch, time], is true, nothing before is seen. With `lengths`, [batch], the
    last inputs inside each sequence are given back.
    """

    def __init__(self, channels: int, width: int = 4, device: object = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, width, device=device, dtype=dtype))  # pyright: ignore
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1 / sqrt(width), as `nn.Conv1d` has it."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(
        self,
        x: Tensor,
        recent: Tensor | None = None,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        parts: Sequence[Part] | None = None,
    ) -> tuple[Any, Tensor]:
        """y like x, or a tuple of its parts, each [batch, time, heads, size]."""
        y: Any = short_convolution(x, self.weight, parts or (Part(1, x.shape[-1]),), recent, resets)
        if resets is not None:
            x, recent = since_the_last(x, recent, lengths, resets)
        return y if parts else y[0].flatten(2), last_inputs(x, self.weight.shape[1] - 1, recent, lengths)

    def extra_repr(self) -> str:
        channels, width = self.weight.shape
        return f"{channels}, width={width}"


def check_convolution(owner: str, width: int) -> None:
    if type(width) is not int or not 0 <= width <= 64:
        raise UserError(f"{owner}: got convolution={width!r}, wanted steps from 0 to 64")


def check_recent(owner: str, convolution: ShortConvolution, recent: Tensor, batch: int) -> None:
    """Raise where the last inputs do not go with the convolution and the batch."""
    channels, width = convolution.weight.shape
    wanted = (batch, width - 1, channels), convolution.weight.dtype, convolution.weight.device
    if not isinstance(recent, Tensor) or (recent.shape, recent.dtype, recent.device) != wanted:
        got = type(recent).__name__
        if isinstance(recent, Tensor):
            got = f"{list(recent.shape)} of {recent.dtype} on {recent.device}"
        told = f"{list(wanted[0])} of {wanted[1]} on {wanted[2]}"
        raise UserError(f"{owner}: got the recent inputs {got}, wanted {told}")


def since_the_last(
    x: Tensor, recent: Tensor | None, lengths: Tensor | None, resets: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The inputs with zeros in place of all before the last reset inside each sequence."""
    begins = resets if lengths is None else resets & inside(lengths, x.shape[1])
    to_come = begins.sum(1, keepdim=True) - begins.cumsum(1)
    gone = begins.any(1)[:, None, None]
    return x.masked_fill((to_come > 0)[..., None], 0.0), None if recent is None else recent.masked_fill(gone, 0.0)


def last_inputs(x: Tensor, count: int, recent: Tensor | None, lengths: Tensor | None) -> Tensor:
    """The last `count` inputs inside each sequence, [batch, count, channels]; those before the first are `recent`."""
    batch, time, channels = x.shape
    if lengths is None and time >= count:
        return x[:, time - count :].clone()  # the state does not hold on to the whole sequence
    long = torch.cat([x.new_zeros(batch, count, channels) if recent is None else recent, x], 1)
    if lengths is None:
        return long[:, time:]
    places = lengths[:, None] + torch.arange(count, device=x.device)
    return long.gather(1, places[..., None].expand(-1, -1, channels))
