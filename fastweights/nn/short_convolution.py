import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UserError


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
        self, x: Tensor, recent: Tensor | None = None, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        (batch, time, channels), width = x.shape, self.weight.shape[1]
        if recent is None:
            recent = x.new_zeros(batch, width - 1, channels)
        long = torch.cat([recent, x], 1)
        if resets is not None:
            y = within(long, self.weight, resets)
        elif time == 1:
            y = (long * self.weight.t()).sum(1, keepdim=True)
        else:  # in two dimensions it takes half the time of one: it runs on the strides as they are
            weight = self.weight[:, None, None]
            y = functional.conv2d(long.mT.unsqueeze(2), weight, groups=channels).squeeze(2).mT
        if lengths is None:
            return functional.silu(y), long[:, time:]
        places = lengths[:, None] + torch.arange(width - 1, device=x.device)
        return functional.silu(y), long.gather(1, places[..., None].expand(-1, -1, channels))

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


def within(long: Tensor, weight: Tensor, resets: Tensor) -> Tensor:
    """The convolution of what a sequence of its own holds alone; `long` begins with the inputs before the first."""
    time, width = resets.shape[1], weight.shape[1]
    part = functional.pad(resets.cumsum(1), (width - 1, 0))
    y = torch.zeros_like(long[:, width - 1 :])
    for tap in range(width):
        seen = (part[:, tap : tap + time] == part[:, width - 1 :])[..., None]
        y = y + torch.where(seen, long[:, tap : tap + time], 0.0) * weight[:, tap]
    return y
