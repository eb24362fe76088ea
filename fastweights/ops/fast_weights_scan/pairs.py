"""What is left of a key when a later row of its chunk reads it, for all pairs of rows at once."""

import torch
from torch import Tensor

BLOCK = 16  # rows whose pairs are taken channel by channel, where a decay has channels
LEAST = -1e4  # a log decay below it keeps nothing either; infinite ones have no differences


class Decays:
    """The decays and resets of all chunks.

    log_decay: [chunks, batch, heads, tokens, 1 or key], or None. resets: [chunks, batch, 1, tokens, 1], or None.
    """

    def __init__(self, log_decay: Tensor | None, resets: Tensor | None, substeps: int, undecayed_erase: bool) -> None:
        self.substeps = substeps
        self.total, self.segment = None, None
        self.whole: Tensor | None = None  # [chunks, batch, heads, 1 or key, 1], what a chunk leaves of the state
        if log_decay is not None:
            token = log_decay.double().clamp_min(LEAST).cumsum(-2)
            row = token.repeat_interleave(substeps, -2) if substeps > 1 else token
            erase = row
            if undecayed_erase:
                before = torch.cat([torch.zeros_like(token[..., :1, :]), token[..., :-1, :]], -2)
                parts = [before.unsqueeze(-2), *[token.unsqueeze(-2)] * (substeps - 1)]
                erase = torch.cat(parts, -2).flatten(-3, -2)
            self.total = {"query": token, "erase": erase, "key": row}
            self.whole = token[..., -1:, :].to(log_decay.dtype).exp().mT
        if resets is not None:
            token = resets.to(torch.int32).cumsum(-2)
            row = token.repeat_interleave(substeps, -2)
            self.segment = {"query": token, "erase": row, "key": row}
            whole = token[..., -1:, :] == 0
            self.whole = whole if self.whole is None else self.whole * whole

    def pairs(self, x: Tensor, key: Tensor, kind: str) -> Tensor:
        """<x_i, key_j exp(G_i - G_j)> of the rows j that row i sees: for "query" its own token too; else 0."""
        rows, many = x.shape[-2], key.shape[-2]
        if kind == "query":
            seen = torch.ones(rows, rows, dtype=torch.bool, device=x.device).tril().repeat_interleave(self.substeps, 1)
        else:
            seen = torch.ones(rows, many, dtype=torch.bool, device=x.device).tril(-1)
        if self.segment is not None:
            seen = seen & (self.segment[kind] == self.segment["key"].mT)
        if self.total is None:
            return torch.where(seen, x @ key.mT, 0.0)
        late, early = self.total[kind], self.total["key"]
        if late.shape[-1] == 1:
            left = (late - early.mT).to(x.dtype).masked_fill(~seen, -torch.inf).exp()
            return (x @ key.mT) * left
        return by_channel(x, key, late, early, seen)

    def since_start(self, x: Tensor, kind: str) -> Tensor:
        """x_i exp G_i: what row i reads of the state at the start of its chunk."""
        if self.total is not None:
            x = x * self.total[kind].to(x.dtype).exp()
        return x if self.segment is None else torch.where(self.segment[kind] == 0, x, 0.0)

    def until_end(self, key: Tensor) -> Tensor:
        """key_j exp(G_end - G_j): what the chunk leaves of row j."""
        if self.total is not None:
            total = self.total["key"]
            key = key * (total[..., -1:, :] - total).to(key.dtype).exp()
        if self.segment is None:
            return key
        return torch.where(self.segment["key"] == self.segment["key"][..., -1:, :], key, 0.0)


def by_channel(x: Tensor, key: Tensor, late: Tensor, early: Tensor, seen: Tensor) -> Tensor:
    """`pairs` of decays that differ by channel.

    A block of rows and the rows before it meet at the total of the last of these, so that no exponent is positive.
    Pairs within a block are taken one by one.
    """
    share = key.shape[-2] // x.shape[-2]  # rows of keys a row of x
    parts = []
    for start in range(0, x.shape[-2], BLOCK):
        end = min(start + BLOCK, x.shape[-2])
        first, last = start * share, end * share
        rows, total = x[..., start:end, :], late[..., start:end, :]
        mask = seen[..., start:end, first:last, None]
        gap = (total.unsqueeze(-2) - early[..., first:last, :].unsqueeze(-3)).to(x.dtype)
        near = torch.einsum(
            "...id,...jd,...ijd->...ij", rows, key[..., first:last, :], gap.masked_fill(~mask, -torch.inf).exp()
        )
        pieces = [near, x.new_zeros(*near.shape[:-1], key.shape[-2] - last)]
        if first:
            meeting = early[..., first - 1 : first, :]
            before = key[..., :first, :] * (meeting - early[..., :first, :]).to(x.dtype).exp()
            far = (rows * (total - meeting).to(x.dtype).exp()) @ before.mT
            pieces.insert(0, torch.where(seen[..., start:end, :first], far, 0.0))
        parts.append(torch.cat(pieces, -1))
    return torch.cat(parts, -2)
