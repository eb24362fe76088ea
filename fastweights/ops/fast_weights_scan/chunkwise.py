"""Chunk by chunk, in matrix products of torch: any device, and differentiable as often as torch is.

Inside a chunk the writes x_i of all tokens solve a unit lower triangular system, the WY form of Yang et al. 2024
(https://arxiv.org/abs/2406.06484). With G the sum of log decays since the chunk began, and S the state there:

    x_i = strength_i (value_i - S (erase_i exp G_i) - sum_{j<i} x_j <key_j exp(G_i - G_j), erase_i>)
    o_i = S (query_i exp G_i) + sum_{j<=i} x_j <key_j exp(G_i - G_j), query_i>
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.fast_weights_scan.call import Call
from fastweights.ops.fast_weights_scan.pairs import decay_of
from fastweights.ops.fast_weights_scan.step import pack, unpack
from fastweights.rules import ScanState, Step

CHUNK = 32  # tokens


def why_not(call: Call) -> str | None:
    if call.step is None:
        return f"{type(call.rule).__name__} has no fast form; the reference backend runs it"
    return None


def run(call: Call) -> tuple[Tensor, ScanState]:
    step = call.step
    assert step is not None
    matrix = pack(call.state, step)
    batch, time = step.query.shape[:2]
    if not batch * time:
        return torch.zeros_like(call.values), call.state.map(torch.clone)
    look, matrix = scan(step, matrix, call.resets, call.valid, min(call.chunk or CHUNK, 1 << (time - 1).bit_length()))
    if step.reading is not None:
        outputs = step.reading(look, step.query)
    else:
        outputs = look(step.query) if step.finish is None else step.finish(look(step.query))
    if call.valid is not None:
        outputs = torch.where(call.valid[..., None, None], outputs, 0.0)
    return outputs, unpack(matrix, call.state, step)


def scan(
    step: Step, matrix: Tensor, resets: Tensor | None, valid: Tensor | None, chunk: int
) -> tuple[Callable[..., Tensor], Tensor]:
    """What reads any queries [batch, time, heads, key], of all rows of the canonical matrix or of some, and the last
    matrix, [batch, heads, rows, key]."""
    many = chunk * step.substeps
    key, value = cut(step.key, many), cut(step.value, many)
    decay = decay_of(step, lambda each: cut(each, chunk), resets, valid)
    strength = None if step.strength is None else cut(step.strength[..., None], many)
    if strength is not None:
        value = strength * value
    erased = None
    if step.erase is not None:
        erase = cut(step.erase, many)
        system, erased = decay.pairs(erase, key, True), decay.since_start(erase, True)
        if strength is not None:
            system, erased = strength * system, strength * erased
        both = torch.linalg.solve_triangular(system, torch.cat([value, erased], -1), upper=False, unitriangular=True)
        value, erased = both.split([value.shape[-1], erased.shape[-1]], -1)
    state, states, written = matrix.mT, [], []
    for write, erasing, kept, whole in each_chunk(value, erased, decay.until_end(key).mT, decay.whole):
        if erasing is not None:
            write = write - erasing @ state
        states.append(state)
        written.append(write)
        state = kept @ write + decay.faded(state, whole)
    before, writes = torch.stack(states), torch.stack(written)

    def look(query: Tensor, rows: slice = slice(None)) -> Tensor:
        (batch, time, heads, _), query = query.shape, cut(query, chunk)
        if step.transposed:
            found = decay.since_start(query @ before.mT, False) + decay.spread(query @ writes.mT, key)
        else:
            found = decay.since_start(query, False) @ before[..., rows]
            found = found + decay.pairs(query, key, False) @ writes[..., rows]
        return found.permute(1, 0, 3, 2, 4).reshape(batch, -1, heads, found.shape[-1])[:, :time]

    return look, state.mT


def each_chunk(*parts: Tensor | None) -> Iterator[tuple[Any, ...]]:
    count = next(len(each) for each in parts if each is not None)
    return zip(*([None] * count if each is None else each.unbind(0) for each in parts), strict=True)


def cut(x: Tensor, rows: int) -> Tensor:
    """[batch, time, heads, n] as [chunks, batch, heads, rows, n]; zeros fill the last chunk."""
    batch, time, heads, size = x.shape
    if short := -time % rows:
        x = functional.pad(x, (0, 0, 0, 0, 0, short))
    return x.reshape(batch, -1, rows, heads, size).permute(1, 0, 3, 2, 4).contiguous()
