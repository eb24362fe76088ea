"""Chunk by chunk, in matrix products of torch: any device, and differentiable as often as torch is.

Inside a chunk the writes x_i of all tokens solve a unit lower triangular system, the WY form of Yang et al. 2024
(https://arxiv.org/abs/2406.06484). With G the sum of log decays since the chunk began, and S the state there:

    x_i = strength_i (value_i - S (erase_i exp G_i) - sum_{j<i} x_j <key_j exp(G_i - G_j), erase_i>)
    o_i = S (query_i exp G_i) + sum_{j<=i} x_j <key_j exp(G_i - G_j), query_i>
"""

from collections.abc import Iterator
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
    outputs, matrix = scan(step, pack(call.state, step.transposed), call.resets, call.chunk)
    if step.finish is not None:
        outputs = step.finish(outputs)
    if call.valid is not None:
        outputs = torch.where(call.valid[..., None, None], outputs, 0.0)
    return outputs, unpack(matrix, call.state, step.transposed)


def scan(step: Step, matrix: Tensor, resets: Tensor | None, chunk: int | None) -> tuple[Tensor, Tensor]:
    """What is read, [batch, time, heads, rows], and the last canonical matrix, [batch, heads, rows, key]."""
    batch, time, heads, _ = step.query.shape
    if not batch * time:
        size = matrix.shape[-1 if step.transposed else -2]
        return step.value.new_zeros(batch, time, heads, size), matrix.clone()
    chunk = min(chunk or CHUNK, 1 << (time - 1).bit_length())
    many = chunk * step.substeps
    query, key, value = cut(step.query, chunk), cut(step.key, many), cut(step.value, many)
    decay = decay_of(
        None if step.decay is None else cut(step.decay if step.decay.dim() == 4 else step.decay[..., None], chunk),
        None if resets is None else cut(resets[:, :, None, None], chunk),
        step.substeps,
        step.undecayed_erase,
    )
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
        state = kept @ write + (state if whole is None else whole * state)
    outputs = read(decay, query, key, torch.stack(states), torch.stack(written), step.transposed)
    outputs = outputs.permute(1, 0, 3, 2, 4).reshape(batch, -1, heads, outputs.shape[-1])
    return outputs[:, :time], state.mT


def each_chunk(*parts: Tensor | None) -> Iterator[tuple[Any, ...]]:
    count = next(len(each) for each in parts if each is not None)
    return zip(*([None] * count if each is None else each.unbind(0) for each in parts), strict=True)


def read(decay: Any, query: Tensor, key: Tensor, states: Tensor, written: Tensor, transposed: bool) -> Tensor:
    """What the queries of all chunks read, of the states before the chunks, [key, rows], and of what was written."""
    if transposed:
        return decay.since_start(query @ states.mT, False) + decay.spread(query @ written.mT, key)
    return decay.since_start(query, False) @ states + decay.pairs(query, key, False) @ written


def cut(x: Tensor, rows: int) -> Tensor:
    """[batch, time, heads, n] as [chunks, batch, heads, rows, n]; zeros fill the last chunk."""
    batch, time, heads, size = x.shape
    if short := -time % rows:
        x = functional.pad(x, (0, 0, 0, 0, 0, short))
    return x.reshape(batch, -1, rows, heads, size).permute(1, 0, 3, 2, 4).contiguous()
