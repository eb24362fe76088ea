from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights.nn.arguments import check_sizes
from fastweights.nn.memories.delta_rule import write_all
from fastweights.nn.memories.memory import muted, unit_features, valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.decoder_step import Reading


class GatedDeltaMemory(nn.Module):
    r"""Fast weights that correct what they hold, and forget as much as each state says.

        A(t) = forget_t A(t-1) + strength_t (v_t - forget_t A(t-1) k_t) k_t^T        read: LN[A q]
        forget_t = sigmoid(w' e(t) + b'), b' = 4 at first; the rest as in `DeltaMemory`

    It differs from `DeltaMemory` by forget_t, which is 1 there. Its gate travels as a logarithm.

    Paper: Yang, Kautz, Hatamizadeh 2024, https://arxiv.org/abs/2412.06464.
    """

    NAME: ClassVar[str] = "gated-delta"
    reading: ClassVar[Reading] = Reading("matrix", "unit")

    def __init__(self, states_size: int, queries_size: int, *, key_size: int = 48, value_size: int = 80) -> None:
        super().__init__()
        check_sizes("GatedDeltaMemory", states_size=states_size, queries_size=queries_size)
        check_sizes("GatedDeltaMemory", key_size=key_size, value_size=value_size)
        self.states_size, self.queries_size, self.value_size = states_size, queries_size, value_size
        self.key, self.value = nn.Linear(states_size, key_size), nn.Linear(states_size, value_size)
        self.strength, self.forget = nn.Linear(states_size, 1), nn.Linear(states_size, 1)
        self.query, self.norm = nn.Linear(queries_size, key_size), nn.LayerNorm(value_size)
        nn.init.constant_(self.strength.bias, 2.0)
        nn.init.constant_(self.forget.bias, 4.0)

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        strength = muted(torch.sigmoid(self.strength(states)), valid)
        log_forget = muted(functional.logsigmoid(self.forget(states)), valid)
        return unit_features(self.key(states)), self.value(states), strength, log_forget

    def store(self, key: Tensor, value: Tensor, strength: Tensor, log_forget: Tensor) -> MemoryState:
        return MemoryState([write_all(key, value, strength, log_forget)])

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        return self.store(*self.project(states, valid_steps(states, lengths)))

    def append(
        self, state: MemoryState, key: Tensor, value: Tensor, strength: Tensor, log_forget: Tensor
    ) -> MemoryState:
        weights = log_forget.exp()[..., None] * state[0]
        error = strength * (value - (weights @ key[..., None])[..., 0])
        return MemoryState([weights + error[..., None] * key[:, None]])

    def recall(self, state: MemoryState, queries: Tensor) -> Tensor:
        return unit_features(self.query(queries)) @ state[0].mT

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        return self.norm(self.recall(state, queries))

    def prepared(self, state: MemoryState) -> MemoryState:
        """As the compiled step reads it."""
        return state
