"""Writes that go on by momentum: S = decay S + Z after Z = momentum Z + write.

S and Z side by side, [value, 2 key], are one memory: a write is under the key twice, a read by the query and zeros, and
a token multiplies the pair by [[decay, momentum], [0, momentum]]. Products of such matrices are taken within halves of
halves of a chunk, as in `channels.py`, so that nothing is divided and nothing cancels.
"""

import torch
from torch import Tensor

from fastweights.ops.fast_weights_scan.channels import half, joined


class OfMomentum:
    """log_decay, momentum: [chunks, batch, heads, tokens, 1]; valid: the same, false past a sequence's end."""

    def __init__(self, log_decay: Tensor, momentum: Tensor, valid: Tensor) -> None:
        goes_on, stays = torch.where(valid, momentum, 0.0), torch.where(valid, momentum, 1.0)
        one, zero = torch.ones_like(momentum), torch.zeros_like(momentum)
        since = torch.cat([log_decay.exp(), goes_on, stays], -1)  # what S takes of S and of Z, and Z of Z, until row i
        before = torch.cat([one, zero, one], -1)  # the same without row i
        until = torch.cat([one, one], -1)  # what S and Z take of the write of row j, after row j
        left, left_of_erase, size = one.unsqueeze(-1), one.unsqueeze(-1), 1
        while size < momentum.shape[-2]:
            kept = half(until, size, 0).mT
            left = joined(left, half(since, size, 1)[..., :2] @ kept)
            left_of_erase = joined(left_of_erase, half(before, size, 1)[..., :2] @ kept)
            total = since[..., size - 1 :: size, :].unsqueeze(-2)  # of each block
            early, late = total[..., 0::2, :, :], total[..., 1::2, :, :]
            since = grown(since, early, size)
            before = grown(before, early, size)
            first, second = until.unflatten(-2, (-1, 2, size)).unbind(-3)
            until = torch.stack([taken(late, first), second], -3).flatten(-4, -2)
            size *= 2
        self.since, self.before, self.until = since, before, until
        self.left, self.left_of_erase = left.squeeze(-3), left_of_erase.squeeze(-3)
        self.whole = since[..., -1:, :]

    def pairs(self, x: Tensor, key: Tensor, erasing: bool) -> Tensor:
        return x @ key.mT * (self.left_of_erase if erasing else self.left)

    def since_start(self, x: Tensor, erasing: bool) -> Tensor:
        row = self.before if erasing else self.since
        return torch.cat([row[..., 0:1] * x, row[..., 1:2] * x], -1)

    def until_end(self, key: Tensor) -> Tensor:
        return torch.cat([self.until[..., 0:1] * key, self.until[..., 1:2] * key], -1)

    @staticmethod
    def faded(state: Tensor, whole: Tensor) -> Tensor:
        weights, moving = state.chunk(2, -2)
        return torch.cat([whole[..., 0:1] * weights + whole[..., 1:2] * moving, whole[..., 2:3] * moving], -2)


def grown(rows: Tensor, early: Tensor, size: int) -> Tensor:
    """Products within blocks of `size` tokens as those within blocks twice as long; early: those of whole blocks."""
    first, second = rows.unflatten(-2, (-1, 2, size)).unbind(-3)
    of_s, of_z, z_of_z = second.split(1, -1)
    s, z, z_of_early = early.split(1, -1)
    second = torch.cat([of_s * s, of_s * z + of_z * z_of_early, z_of_z * z_of_early], -1)
    return torch.stack([first, second], -3).flatten(-4, -2)


def taken(late: Tensor, written: Tensor) -> Tensor:
    """What is left in S and Z of `written`, [..., 2], after a block whose products are `late`."""
    in_s, in_z = written.split(1, -1)
    return torch.cat([late[..., 0:1] * in_s + late[..., 1:2] * in_z, late[..., 2:3] * in_z], -1)
