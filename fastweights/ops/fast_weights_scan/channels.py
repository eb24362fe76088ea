"""A decay of its own for each key channel, in matrix products.

A chunk is halved again and again. A row of a later half and a key of the earlier half meet at the border between them:
the row has decayed since the border, the key until it. Both are exponentials of sums of logs, all of one sign, so that
nothing overflows and nothing cancels, neither here nor in the gradient. A level costs one exponential a row.
"""

import torch
from torch import Tensor


class OfChannels:
    """A number a token and key channel, [chunks, batch, heads, tokens, key]; tokens are a power of two."""

    def __init__(self, log_decay: Tensor, substeps: int, undecayed_erase: bool) -> None:
        self.substeps, self.undecayed_erase = substeps, undecayed_erase
        self.levels: list[tuple[Tensor, Tensor, Tensor]] = []
        since, before, until = log_decay, torch.zeros_like(log_decay), torch.zeros_like(log_decay)
        size = 1
        while size < log_decay.shape[-2]:
            self.levels.append((half(since, size, 1).exp(), half(before, size, 1).exp(), half(until, size, 0).exp()))
            total = since[..., size - 1 :: size, :]  # of each block
            early, late = total[..., 0::2, :], total[..., 1::2, :]
            since, before = grown(since, size, 1, early), grown(before, size, 1, early)
            until = grown(until, size, 0, late)
            size *= 2
        self.since, self.before, self.until = since.exp(), before.exp(), until.exp()
        self.whole = self.since[..., -1:, :].mT

    def pairs(self, x: Tensor, key: Tensor, erasing: bool) -> Tensor:
        lead, tokens = key.shape[:-2], key.shape[-2] // self.substeps
        rows = x.shape[-2] // tokens  # of a token
        x = x.reshape(*lead, tokens, rows, -1)
        key = key.reshape(*lead, tokens, self.substeps, -1)
        found = x @ key.mT  # within a token nothing decays
        for since, before, until in self.levels:
            size = since.shape[-2]
            reading = halves(x, size, 1) * self._by_row(since, before, erasing)
            kept = halves(key, size, 0) * until.unsqueeze(-2)
            low = reading.flatten(-3, -2) @ kept.flatten(-3, -2).mT
            found = joined(found, low)
        return found.squeeze(-3)

    def spread(self, weights: Tensor, key: Tensor) -> Tensor:
        key = key.unflatten(-2, (-1, self.substeps))  # [..., tokens, substeps, key]
        tokens = key.shape[-3]
        own = torch.diagonal(weights.unflatten(-1, (tokens, self.substeps)), 0, -3, -2)
        found = (own.movedim(-1, -2).unsqueeze(-2) @ key).squeeze(-2)
        for since, _, until in self.levels:
            size = since.shape[-2]
            blocks = weights.unflatten(-1, (-1, 2, size * self.substeps)).unflatten(-4, (-1, 2, size))
            low = torch.diagonal(blocks[..., 1, :, :, 0, :], 0, -4, -2).movedim(-1, -3)
            kept = (halves(key, size, 0) * until.unsqueeze(-2)).flatten(-3, -2)
            late = low @ kept * since
            found = found + torch.stack([torch.zeros_like(late), late], -3).flatten(-4, -2)
        return found

    def since_start(self, x: Tensor, erasing: bool) -> Tensor:
        left = self._by_row(self.since, self.before, erasing).flatten(-3, -2)
        return x * left

    def until_end(self, key: Tensor) -> Tensor:
        left = self.until
        return key * (left.repeat_interleave(self.substeps, -2) if self.substeps > 1 else left)

    @staticmethod
    def faded(state: Tensor, whole: Tensor) -> Tensor:
        return whole * state

    def _by_row(self, since: Tensor, before: Tensor, erasing: bool) -> Tensor:
        """[..., tokens, rows of a token, key]: one row of tokens that read, `substeps` of those that erase."""
        if not erasing:
            return since.unsqueeze(-2)
        first = before if self.undecayed_erase else since
        return torch.stack([first, *[since] * (self.substeps - 1)], -2)


def joined(blocks: Tensor, low: Tensor) -> Tensor:
    """Blocks of pairs, [..., blocks, rows, keys], two and two: what later rows see of earlier keys is `low`."""
    first, second = blocks[..., 0::2, :, :], blocks[..., 1::2, :, :]
    top = torch.cat([first, torch.zeros_like(low)], -1)
    return torch.cat([top, torch.cat([low, second], -1)], -2)


def half(x: Tensor, size: int, which: int) -> Tensor:
    """Every other block of `size` tokens, [..., blocks, size, key], from [..., tokens, key]."""
    return x.unflatten(-2, (-1, 2, size))[..., which, :, :]


def halves(x: Tensor, size: int, which: int) -> Tensor:
    """The same of [..., tokens, rows, key]."""
    return x.unflatten(-3, (-1, 2, size))[..., which, :, :, :]


def grown(x: Tensor, size: int, which: int, total: Tensor) -> Tensor:
    """Sums within blocks of `size` tokens as those within blocks twice as long; total: [..., blocks, key]."""
    pairs = list(x.unflatten(-2, (-1, 2, size)).unbind(-3))
    pairs[which] = pairs[which] + total.unsqueeze(-2)
    return torch.stack(pairs, -3).flatten(-4, -2)
