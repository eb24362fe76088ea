from typing import ClassVar

import torch
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.nn.arguments import check_sizes
from fastweights.nn.memories.memory import valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.decoder_step import Reading


class LastState(nn.Module):
    r"""No memory but the last state of each direction of the encoder: what a fixed vector holds of a source.

        read: tanh(W_v [forward e(T); backward e(1)])        the same for every query

    The first half of a state is taken as the direction that ends at the last step, the second as that which ends at the
    first.

    Paper: Sutskever, Vinyals, Le 2014, https://arxiv.org/abs/1409.3215.
    """

    NAME: ClassVar[str] = "last-state"
    reading: ClassVar[Reading] = Reading("context")

    def __init__(self, states_size: int, queries_size: int, *, value_size: int = 80) -> None:
        super().__init__()
        check_sizes("LastState", states_size=states_size, queries_size=queries_size, value_size=value_size)
        if states_size % 2:
            raise UserError(f"LastState: got states of {states_size} units, wanted an even number: two directions")
        self.states_size, self.queries_size, self.value_size = states_size, queries_size, value_size
        self.value = nn.Linear(states_size, value_size)

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        there = torch.ones_like(states[..., :1], dtype=torch.bool) if valid is None else valid[..., None]
        return *states.chunk(2, dim=-1), there

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        forward, backward, there = self.project(states, valid_steps(states, lengths))
        if not states.shape[1]:
            nothing = states.new_zeros(states.shape[0], states.shape[2] // 2)
            return MemoryState([nothing, nothing, nothing[:, :1].bool()])
        last = (there.sum(dim=1, keepdim=True) - 1).clamp(min=0)
        any_there = there.any(dim=1)
        forward = forward.take_along_dim(last, dim=1)[:, 0]
        return MemoryState([forward * any_there, backward[:, 0] * any_there, any_there])

    def append(self, state: MemoryState, key: Tensor, value: Tensor, valid: Tensor) -> MemoryState:
        """The two halves of a state, and whether it counts."""
        forward, backward, begun = state
        return MemoryState(
            [torch.where(valid, key, forward), torch.where(begun | ~valid, backward, value), begun | valid]
        )

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        forward, backward, _ = state
        read = torch.tanh(self.value(torch.cat([forward, backward], dim=-1)))
        return read[:, None].expand(-1, queries.shape[1], -1)

    def prepared(self, state: MemoryState) -> MemoryState:
        """As the compiled step reads it."""
        return MemoryState([self.read(state, state[0][:, None])[:, 0]])
