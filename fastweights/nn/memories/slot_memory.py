import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from fastweights.nn.arguments import check_sizes
from fastweights.nn.memories.memory import muted, valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.decoder_step import Reading

LEAST = 1e-2  # added to the weight of a slot


class SlotMemory(nn.Module):
    r"""A fixed number of slots, each a weighted mean of keys and of values; the read is attention over the slots.

        w_t = softmax(W_s e(t));    K_s = sum_t w_ts k_t / (sum_t w_ts + 0.01),  V_s likewise
        read: sum_s softmax_s(<K_s, q>) V_s,    k_t = W_k e(t) / sqrt(key_size)

    It differs from `DotAttention` in that states share slots: slots * (key_size + value_size + 1) numbers, whatever the
    length of the source.

    Paper: Peng, Kasai, Pappas, Yogatama, Wu, Kong, Schwartz, Smith 2021, https://arxiv.org/abs/2110.02488.
    """

    NAME: ClassVar[str] = "slots"
    reading: ClassVar[Reading] = Reading("softmax")

    def __init__(
        self, states_size: int, queries_size: int, *, slots: int = 16, key_size: int = 48, value_size: int = 80
    ) -> None:
        super().__init__()
        check_sizes("SlotMemory", states_size=states_size, queries_size=queries_size)
        check_sizes("SlotMemory", slots=slots, key_size=key_size, value_size=value_size)
        self.states_size, self.queries_size, self.value_size = states_size, queries_size, value_size
        self.key, self.value = nn.Linear(states_size, key_size), nn.Linear(states_size, value_size)
        self.slot, self.query = nn.Linear(states_size, slots), nn.Linear(queries_size, key_size)
        self.scale = 1 / math.sqrt(key_size)

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        share = muted(torch.softmax(self.slot(states), dim=-1), valid)
        return self.key(states) * self.scale, self.value(states), share

    def store(self, key: Tensor, value: Tensor, share: Tensor) -> MemoryState:
        return MemoryState([share.mT @ key, share.mT @ value, share.sum(dim=1)])

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        return self.store(*self.project(states, valid_steps(states, lengths)))

    def append(self, state: MemoryState, key: Tensor, value: Tensor, share: Tensor) -> MemoryState:
        keys, values, total = state
        share_of = share[..., None]
        return MemoryState([keys + share_of * key[:, None], values + share_of * value[:, None], total + share])

    def recall(self, state: MemoryState, queries: Tensor) -> Tensor:
        keys, values, total = state
        weight = total[..., None] + LEAST
        return torch.softmax(self.query(queries) @ (keys / weight).mT, dim=-1) @ (values / weight)

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        return self.recall(state, queries)

    def prepared(self, state: MemoryState) -> MemoryState:
        """As the compiled step reads it."""
        keys, values, total = state
        weight = total[..., None] + LEAST
        return MemoryState([keys / weight, values / weight, torch.ones_like(total, dtype=torch.bool)])
