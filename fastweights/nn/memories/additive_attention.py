from typing import ClassVar

import torch
from torch import Tensor, nn

from fastweights.nn.arguments import check_sizes
from fastweights.nn.memories.memory import masked_softmax, valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.decoder_step import Reading


class AdditiveAttention(nn.Module):
    r"""Attention by a small network: every key and every value of the source is kept.

        read: sum_t softmax_t(<w, tanh(k_t + q)>) v_t,    k_t = W_k e(t),  q = W_q d,  v_t = W_v e(t)

    It differs from `DotAttention` by its score, which takes key_size numbers a pair of steps.

    Paper: Bahdanau, Cho, Bengio 2014, https://arxiv.org/abs/1409.0473.
    """

    NAME: ClassVar[str] = "additive-attention"
    reading: ClassVar[Reading] = Reading("additive")

    def __init__(self, states_size: int, queries_size: int, *, key_size: int = 48, value_size: int = 80) -> None:
        super().__init__()
        check_sizes("AdditiveAttention", states_size=states_size, queries_size=queries_size)
        check_sizes("AdditiveAttention", key_size=key_size, value_size=value_size)
        self.states_size, self.queries_size, self.value_size = states_size, queries_size, value_size
        self.key, self.value = nn.Linear(states_size, key_size), nn.Linear(states_size, value_size)
        self.query, self.score = nn.Linear(queries_size, key_size), nn.Linear(key_size, 1, bias=False)

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        there = torch.ones_like(states[..., 0], dtype=torch.bool) if valid is None else valid
        return self.key(states), self.value(states), there

    def store(self, key: Tensor, value: Tensor, valid: Tensor) -> MemoryState:
        return MemoryState([key, value, valid])

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        return self.store(*self.project(states, valid_steps(states, lengths)))

    def append(self, state: MemoryState, key: Tensor, value: Tensor, valid: Tensor) -> MemoryState:
        new = (key[:, None], value[:, None], valid[:, None])
        return MemoryState(torch.cat(both, dim=1) for both in zip(state, new, strict=True))

    def recall(self, state: MemoryState, queries: Tensor) -> Tensor:
        key, value, valid = state
        scores = self.score(torch.tanh(self.query(queries)[:, :, None] + key[:, None]))[..., 0]
        return masked_softmax(scores, valid) @ value

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        return self.recall(state, queries)

    def prepared(self, state: MemoryState) -> MemoryState:
        """As the compiled step reads it."""
        return state
