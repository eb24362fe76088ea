"""What a memory between an encoder and a decoder is."""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.lengths import check_lengths


class Memory(Protocol):
    """A module made as Class(states_size, queries_size), with the slow weights that address it.

    `write` has a closed form, without a loop over time. It equals `append` of one state after the other, beginning
    with what `write` makes of no state, `states[:, :0]`. What lies past a sequence's length never enters.

    A memory whose read is a sum over what was written has two methods more, and can say what was attended to:
    `store(key, value, *gates)`, what `write` makes of all that `project` gave, and `recall(state, queries)`, the read
    before anything that is not linear in the values. One with `reading` and `prepared` has a compiled step, too (see
    `CompiledDecoder`).
    """

    states_size: int  # of a vector of the encoder
    queries_size: int  # of a vector of the decoder
    value_size: int  # of what is read

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        """Key, value and gates of each state, [..., features]; valid: [...], false where nothing may enter."""
        ...

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        """All of states [batch, time, states_size] at once."""
        ...

    def append(self, state: MemoryState, key: Tensor, value: Tensor, *gates: Tensor) -> MemoryState:
        """One more for each sample: what `project` makes of [batch, states_size]."""
        ...

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        """[batch, steps, value_size] for queries [batch, steps, queries_size]."""
        ...


def valid_steps(states: Tensor, lengths: Tensor | None) -> Tensor | None:
    """[batch, time], true where a step lies inside its sequence; None: everywhere."""
    if lengths is None:
        return None
    lengths = check_lengths(lengths, states)
    return torch.arange(states.shape[1], device=states.device) < lengths[:, None]


def muted(gate: Tensor, valid: Tensor | None) -> Tensor:
    """The gate [..., features], zero where nothing may enter."""
    return gate if valid is None else gate * valid[..., None].to(gate)


def masked_softmax(scores: Tensor, valid: Tensor) -> Tensor:
    """Over the last axis of [batch, steps, time], zero where valid [batch, time] is false."""
    there = valid[:, None]
    return torch.softmax(scores.masked_fill(~there, torch.finfo(scores.dtype).min), dim=-1) * there


def unit_features(x: Tensor) -> Tensor:
    """silu(x) / |silu(x)|"""
    return functional.normalize(functional.silu(x), dim=-1, eps=1e-6)


def attended(memory: Any, states: Tensor, queries: Tensor, lengths: Tensor | None = None) -> Tensor | None:
    """[batch, steps, time]: the weight that the value of each state has in each read, exactly.

    The memory is written with the place of each state, one-hot, as its value: what is read of it are the weights. They
    may be negative, and their sum need not be 1. None where a memory is no sum over what was written.
    """
    if not (hasattr(memory, "store") and hasattr(memory, "recall")):
        return None
    key, _, *gates = memory.project(states, valid_steps(states, lengths))
    batch, time = states.shape[:2]
    places = torch.eye(time, dtype=states.dtype, device=states.device).expand(batch, time, time)
    return memory.recall(memory.store(key, places, *gates), queries)
