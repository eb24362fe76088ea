"""What is left of a key when a later row of its chunk reads it, for all pairs of rows at once.

Each kind of decay has `pairs`, `since_start`, `until_end`, `whole` and `faded`, and `spread` where a rule needs it.
Rows of keys are tokens times substeps, and a token's decay comes before its first row. Tensors are [chunks, batch,
heads, rows, key].
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_scan.channels import OfChannels
from fastweights.ops.fast_weights_scan.momentum import OfMomentum
from fastweights.rules import Step


class NoDecay:
    """All is kept."""

    whole: Tensor | None = None  # what all chunks leave of the state

    def pairs(self, x: Tensor, key: Tensor, erasing: bool) -> Tensor:
        """<x_i, what is left of key_j when row i reads>, for rows j up to i.

        erasing: the rows are those of the keys, else tokens. Pairs that are not seen are zero; of erasing rows those of
        a row and itself or a later one are anything.
        """
        products = x @ key.mT
        return products if erasing else torch.where(seen(x, key), products, 0.0)

    def spread(self, weights: Tensor, key: Tensor) -> Tensor:
        """The sum of weights_ij times what is left of key_j when token i reads, over the rows j that it sees."""
        return torch.where(seen(weights, key), weights, 0.0) @ key

    def since_start(self, x: Tensor, erasing: bool) -> Tensor:
        """x_i, times what is left of the state at the start of the chunk when row i reads."""
        return x

    def until_end(self, key: Tensor) -> Tensor:
        """What is left of key_j at the end of the chunk."""
        return key

    @staticmethod
    def faded(state: Tensor, whole: Tensor | None) -> Tensor:
        """What a chunk leaves of the state before it, [key, value], of its own part of `whole`."""
        return state if whole is None else whole * state


class OfHeads:
    """A number a token and head, [chunks, batch, heads, tokens, 1]: `OfChannels` of one channel weighs the products."""

    def __init__(self, log_decay: Tensor, substeps: int, undecayed_erase: bool) -> None:
        self.within = OfChannels(log_decay, substeps, undecayed_erase)
        self.whole = self.within.whole
        self.token = torch.ones_like(log_decay)
        self.row = self.token.repeat_interleave(substeps, -2) if substeps > 1 else self.token
        self.left = self.within.pairs(self.token, self.row, False)
        apart = undecayed_erase or substeps > 1
        self.left_of_erase = self.within.pairs(self.row, self.row, True) if apart else self.left

    def pairs(self, x: Tensor, key: Tensor, erasing: bool) -> Tensor:
        return x @ key.mT * (self.left_of_erase if erasing else self.left)

    def spread(self, weights: Tensor, key: Tensor) -> Tensor:
        return weights * self.left @ key

    def since_start(self, x: Tensor, erasing: bool) -> Tensor:
        return self.within.since_start(x, erasing)

    def until_end(self, key: Tensor) -> Tensor:
        return self.within.until_end(key)

    @staticmethod
    def faded(state: Tensor, whole: Tensor) -> Tensor:
        return whole * state


class Reset:
    """Another decay, where tokens may begin anew: resets is [chunks, batch, 1, tokens, 1]."""

    def __init__(self, within: Any, resets: Tensor, substeps: int) -> None:
        self.within, self.faded = within, within.faded
        self.token = resets.to(torch.int32).cumsum(-2)  # how many began before
        self.row = self.token.repeat_interleave(substeps, -2)
        whole = self.token[..., -1:, :] == 0
        self.whole = whole if within.whole is None else whole * within.whole

    def pairs(self, x: Tensor, key: Tensor, erasing: bool) -> Tensor:
        same = (self.row if erasing else self.token) == self.row.mT
        return torch.where(same, self.within.pairs(x, key, erasing), 0.0)

    def spread(self, weights: Tensor, key: Tensor) -> Tensor:
        return self.within.spread(torch.where(self.token == self.row.mT, weights, 0.0), key)

    def since_start(self, x: Tensor, erasing: bool) -> Tensor:
        same = (self.row if erasing else self.token) == 0
        return torch.where(same, self.within.since_start(x, erasing), 0.0)

    def until_end(self, key: Tensor) -> Tensor:
        return torch.where(self.row == self.row[..., -1:, :], self.within.until_end(key), 0.0)


def decay_of(step: Step, cut: Callable[[Tensor], Tensor], resets: Tensor | None, valid: Tensor | None) -> Any:
    """The kind of decay that a step has; `cut` makes chunks of [batch, time, heads, channels]."""
    decay = None if step.decay is None else cut(step.decay if step.decay.dim() == 4 else step.decay[..., None])
    if decay is None:
        found: Any = NoDecay()
    elif step.momentum is not None:
        valid = torch.ones_like(step.momentum[:, :, 0], dtype=torch.bool) if valid is None else valid
        found = OfMomentum(decay, cut(step.momentum[..., None]), cut(valid[..., None, None]))
    else:
        found = (OfHeads if decay.shape[-1] == 1 else OfChannels)(decay, step.substeps, step.undecayed_erase)
    return found if resets is None else Reset(found, cut(resets[..., None, None]), step.substeps)


def seen(x: Tensor, key: Tensor) -> Tensor:
    """Which rows of keys a token sees: those of its own and of earlier tokens."""
    tokens, rows = x.shape[-2], key.shape[-2]
    mask = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril()
    return mask.repeat_interleave(rows // tokens, 1) if rows > tokens else mask
