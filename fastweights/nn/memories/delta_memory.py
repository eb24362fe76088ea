from typing import ClassVar

import torch
from torch import Tensor, nn

from fastweights.nn.arguments import check_sizes
from fastweights.nn.memories.delta_rule import write_all
from fastweights.nn.memories.memory import muted, unit_features, valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.decoder_step import Reading


class DeltaMemory(nn.Module):
    r"""Fast weights that correct what they hold: a new value takes the place of what its key has read so far.

        A(t) = A(t-1) + strength_t (v_t - A(t-1) k_t) k_t^T        read: LN[A q]
        k_t = n(W_k e(t)),  q = n(W_q d),  n(x) = silu(x) / |silu(x)|,  strength_t = sigmoid(w e(t) + b), b = 2 at first

    It differs from `LinearMemory` by the correction, and by a layer norm in place of the normaliser. The state is A
    alone, key_size * value_size numbers, whatever the length of the source. `write` solves one triangle.

    Paper: Schlag, Irie, Schmidhuber 2021, https://arxiv.org/abs/2102.11174.
    """

    NAME: ClassVar[str] = "delta"
    reading: ClassVar[Reading] = Reading("matrix", "unit")

    def __init__(self, states_size: int, queries_size: int, *, key_size: int = 48, value_size: int = 80) -> None:
        super().__init__()
        check_sizes("DeltaMemory", states_size=states_size, queries_size=queries_size)
        check_sizes("DeltaMemory", key_size=key_size, value_size=value_size)
        self.states_size, self.queries_size, self.value_size = states_size, queries_size, value_size
        self.key, self.value = nn.Linear(states_size, key_size), nn.Linear(states_size, value_size)
        self.strength, self.query = nn.Linear(states_size, 1), nn.Linear(queries_size, key_size)
        self.norm = nn.LayerNorm(value_size)
        nn.init.constant_(self.strength.bias, 2.0)

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        strength = muted(torch.sigmoid(self.strength(states)), valid)
        return unit_features(self.key(states)), self.value(states), strength

    def store(self, key: Tensor, value: Tensor, strength: Tensor) -> MemoryState:
        return MemoryState([write_all(key, value, strength)])

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        return self.store(*self.project(states, valid_steps(states, lengths)))

    def append(self, state: MemoryState, key: Tensor, value: Tensor, strength: Tensor) -> MemoryState:
        (weights,) = state
        error = strength * (value - (weights @ key[..., None])[..., 0])
        return MemoryState([weights + error[..., None] * key[:, None]])

    def recall(self, state: MemoryState, queries: Tensor) -> Tensor:
        return unit_features(self.query(queries)) @ state[0].mT

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        return self.norm(self.recall(state, queries))

    def prepared(self, state: MemoryState) -> MemoryState:
        """As the compiled step reads it."""
        return state
