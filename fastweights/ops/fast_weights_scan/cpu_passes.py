"""The passes over tensors: each sizes the memory of the kernels and shares out the heads over threads."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fastweights.ops.cpu.buffers import LANES, address, in_rows, lend, scratch, whole
from fastweights.ops.cpu.launch import launch
from fastweights.ops.cpu.threads import share_out, worth

CHUNK = 32  # tokens of a chunk, where nobody says
LEAST = {torch.float32: math.exp(-80.0), torch.float64: math.exp(-600.0)}  # of a decay inside a chunk


class Given(NamedTuple):
    """What is scanned; [batch, time, heads, ...], and the state [batch, heads, value, key]."""

    query: Tensor
    key: Tensor
    value: Tensor
    erase: Tensor | None
    strength: Tensor | None
    decay: Tensor | None
    state: Tensor | None
    lengths: Tensor | None
    resets: Tensor | None


class Kept(NamedTuple):
    """What the backward pass needs beside: X at each token, and the memory at each chunk."""

    written: Tensor | None
    memories: Tensor


def kept_of(given: Given, chunk: int) -> Kept:
    (batch, time, heads, keys), values, dtype = given.key.shape, given.value.shape[-1], given.key.dtype
    wide, tall = whole(keys, dtype), whole(values, dtype)
    written = None if given.erase is None else lend((batch * heads, time, tall), dtype)
    return Kept(written, lend((batch * heads, -(-time // chunk), wide, tall), dtype))


def forward(given: Given, undecayed: bool, chunk: int, kept: Kept | None) -> tuple[Tensor, Tensor]:
    """Outputs [batch, time, heads, value] and the last memory [batch, heads, value, key]."""
    (batch, time, heads, keys), values, dtype = given.key.shape, given.value.shape[-1], given.key.dtype
    sizes, rows = sizes_of(given, undecayed, chunk), whole(chunk, dtype)
    wide, tall = sizes[4:6]
    outputs = lend((batch, time, heads, values), dtype)
    if given.lengths is not None:
        outputs.zero_()
    last = outputs.new_empty(batch, heads, values, keys)
    parts = (rows * wide, rows * wide, rows * wide, wide * rows, rows * rows, rows * rows, rows * tall, rows * tall)
    parts = (*parts, wide * tall, rows * wide, rows * wide, wide, max(wide, rows), rows, wide * tall)
    places, total = laid_out(parts, max(wide, tall, rows), LANES[dtype])
    tensors = ready(given)
    addresses = (
        *(address(each) for each in tensors),
        outputs.data_ptr(),
        last.data_ptr(),
        0 if kept is None else address(kept.written),
        0 if kept is None else address(kept.memories),
    )
    steps = tuple(step for each in tensors[:6] for step in steps_of(each))
    threads = worth(batch * heads, batch * time * heads * (3 * keys * values + chunk * (keys + values)))
    own = [scratch(f"scan {i}", total, dtype) for i in range(threads)]

    def share(index: int, first: int, last: int) -> None:
        arguments = ((*sizes, int(kept is not None), total), steps, places, LEAST[dtype])
        each = (*addresses, own[index].data_ptr())
        launch("fast_weights_scan.cpu_kernels", "forward", dtype, (first, last), *arguments, each)

    share_out(share, batch * heads, threads)
    return outputs, last


def backward(
    d_outputs: Tensor | None, d_last: Tensor | None, given: Given, undecayed: bool, chunk: int, kept: Kept
) -> list[Tensor | None]:
    """The gradients of query, key, value, erase, strength, decay and state."""
    (batch, time, heads, keys), values, dtype = given.key.shape, given.value.shape[-1], given.key.dtype
    sizes, rows, lanes = sizes_of(given, undecayed, chunk), whole(chunk, dtype), LANES[dtype]
    wide, tall = sizes[4:6]
    d_outputs = given.value.new_zeros(batch, time, heads, values) if d_outputs is None else in_rows(d_outputs)
    d_last = None if d_last is None else d_last.contiguous()
    tied = given.erase is given.key

    def like(each: Tensor | None) -> Tensor | None:
        if each is None:
            return None
        gradient = lend(tuple(each.shape), dtype)
        return gradient if given.lengths is None else gradient.zero_()

    gradients = [like(each) for each in (given.query, given.key, given.value, None if tied else given.erase)]
    gradients += [like(given.strength), like(given.decay), d_outputs.new_empty(batch, heads, values, keys)]
    key_rows, pairs, value_rows, memory = rows * wide, rows * rows, rows * tall, wide * tall
    parts = (*[key_rows] * 7, *[pairs] * 4, *[value_rows] * 4, *[memory] * 4, key_rows, key_rows)
    parts = (*parts, wide, max(wide, rows), rows, memory, wide, rows, max(rows, wide) * lanes, rows, key_rows, wide)
    parts = (*parts, key_rows, value_rows, memory * (1 if given.decay is None else chunk))
    places, total = laid_out(parts, max(wide, tall, rows), lanes)
    tensors = ready(given)
    addresses = (
        *(address(each) for each in tensors),
        address(kept.written),
        address(kept.memories),
        address(d_outputs),
        address(d_last),
    )
    steps = (*(step for each in tensors[:6] for step in steps_of(each)), *steps_of(d_outputs))
    out = tuple(address(each) for each in gradients)
    threads = worth(batch * heads, batch * time * heads * (6 * keys * values + chunk * 2 * (keys + values)))
    own = [scratch(f"scan {i}", total, dtype) for i in range(threads)]

    def share(index: int, first: int, last: int) -> None:
        arguments = ((*sizes, int(tied), places[-1]), steps, places, LEAST[dtype])
        each = (*addresses, own[index].data_ptr())
        launch("fast_weights_scan.cpu_backward", "backward", dtype, (first, last), *arguments, each, out)

    share_out(share, batch * heads, threads)
    return gradients


def token(given: Given, undecayed: bool) -> tuple[Tensor, Tensor]:
    """Outputs [batch, 1, heads, value] and memory after one token, without a graph, in one call with two buffers."""
    batch, _, heads, keys = given.key.shape
    values, dtype = given.value.shape[-1], given.key.dtype
    outputs, new = given.value.new_empty(batch, 1, heads, values), given.value.new_empty(batch, heads, values, keys)
    tensors = ready(given)[:7]
    wide, lanes = whole(keys, dtype), LANES[dtype]
    channels = 0 if given.decay is None else 1 if given.decay.dim() == 3 else keys
    sizes = (heads, keys, values, channels, int(given.erase is not None), int(undecayed))
    steps = tuple(step for each in tensors[:6] for step in steps_of(each)[::2])
    addresses = (*(address(each) for each in tensors), outputs.data_ptr(), new.data_ptr())
    threads = worth(batch * heads, batch * heads * 3 * keys * values)
    own = [scratch(f"token {i}", 5 * wide + 2 * lanes + 3 * lanes**2, dtype) for i in range(threads)]

    def share(index: int, first: int, last: int) -> None:
        each = (*addresses, own[index].data_ptr())
        launch("fast_weights_scan.cpu_token", "token", dtype, (first, last), sizes, steps, each)

    share_out(share, batch * heads, threads)
    return outputs, new


def sizes_of(given: Given, undecayed: bool, chunk: int) -> tuple[int, ...]:
    (_, time, heads, keys), values, dtype = given.key.shape, given.value.shape[-1], given.key.dtype
    decay, channels = given.decay, 0
    if decay is not None:
        channels = 1 if decay.dim() == 3 else keys
    erased, late = int(given.erase is not None), int(undecayed and given.erase is not None and channels > 0)
    wide, tall, rows = whole(keys, dtype), whole(values, dtype), whole(chunk, dtype)
    return time, heads, keys, values, wide, tall, chunk, channels, erased, late, rows


def laid_out(parts: tuple[int, ...], longest: int, lanes: int) -> tuple[tuple[int, ...], int]:
    """Where each part of the scratch memory begins, after the row of ones; and its size."""
    places, end = [0], longest + lanes
    for part in parts:
        places.append(end)
        end += -(-part // lanes) * lanes + 5 * lanes  # powers of two apart they would share few sets of a cache
    return tuple(places), end


def ready(given: Given) -> list[Tensor | None]:
    """As the kernels read them: rows whose numbers lie next to each other; state, lengths and resets whole."""
    per_token = [None if each is None else in_rows(each) for each in given[:4]]
    strength, decay, state, lengths, resets = given[4:]
    decay = decay if decay is None or decay.dim() == 3 else in_rows(decay)
    whole_ones = [None if each is None else each.contiguous() for each in (state, lengths, resets)]
    return [*per_token, strength, decay, *whole_ones]


def steps_of(tensor: Tensor | None) -> tuple[int, ...]:
    return (0, 0, 0) if tensor is None else tensor.stride()[:3]
