"""How long each sequence of a padded batch is."""

import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.ops.cpu import limits

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_lengths(lengths: Tensor, inputs: Tensor, least: int = 0) -> Tensor:
    """Those of sequences [batch, time, ...] as int64 on their device."""
    batch, time = inputs.shape[:2]
    lengths = torch.as_tensor(lengths)
    if lengths.shape != (batch,) or lengths.dtype not in INTEGERS or (lengths.is_meta and not inputs.is_meta):
        raise UserError(
            f"lengths: got {lengths.dtype} of shape {list(lengths.shape)} on {lengths.device}, "
            f"wanted {batch} integers, one a sequence"
        )
    if not limits.abstract() and lengths.is_cpu and batch:
        low, high = int(lengths.min()), int(lengths.max())
        if low < least or high > time:
            raise UserError(
                f"lengths: got values from {low} to {high}, wanted {least} to {time}, the steps of the inputs"
            )
    return lengths.to(device=inputs.device, dtype=torch.int64)


def inside(lengths: Tensor, time: int) -> Tensor:
    """[batch, time], true where a step lies inside its sequence."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]
