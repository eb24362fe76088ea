from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from fastweights.nn.arguments import check_sizes
from fastweights.nn.memories.memory import muted, valid_steps
from fastweights.nn.memories.memory_state import MemoryState
from fastweights.ops.decoder_step import Reading

LEAST = 1e-3  # added to the normaliser


class LinearMemory(nn.Module):
    r"""Linear attention: fast weights that add up outer products, and what they are normalised with.

        A(t) = A(t-1) + v_t k_t^T,  z(t) = z(t-1) + k_t        read: A q / (<z, q> + 0.001)
        k_t = elu(W_k e(t)) + 1,  q = elu(W_q d) + 1

    It differs from `DotAttention` by the product of positive features in place of the exponential: so the sum over the
    source can be kept, (value_size + 1) * key_size numbers, whatever its length.

    Paper: Katharopoulos, Vyas, Pappas, Fleuret 2020, https://arxiv.org/abs/2006.16236.
    """

    NAME: ClassVar[str] = "linear"
    reading: ClassVar[Reading] = Reading("matrix", "positive", LEAST)

    def __init__(self, states_size: int, queries_size: int, *, key_size: int = 48, value_size: int = 80) -> None:
        super().__init__()
        check_sizes("LinearMemory", states_size=states_size, queries_size=queries_size)
        check_sizes("LinearMemory", key_size=key_size, value_size=value_size)
        self.states_size, self.queries_size, self.value_size = states_size, queries_size, value_size
        self.key, self.value = nn.Linear(states_size, key_size), nn.Linear(states_size, value_size)
        self.query = nn.Linear(queries_size, key_size)

    def project(self, states: Tensor, valid: Tensor | None = None) -> tuple[Tensor, ...]:
        return muted(functional.elu(self.key(states)) + 1, valid), self.value(states)

    def store(self, key: Tensor, value: Tensor) -> MemoryState:
        return MemoryState([value.mT @ key, key.sum(dim=1)])

    def write(self, states: Tensor, lengths: Tensor | None = None) -> MemoryState:
        return self.store(*self.project(states, valid_steps(states, lengths)))

    def append(self, state: MemoryState, key: Tensor, value: Tensor) -> MemoryState:
        weights, total = state
        return MemoryState([weights + value[..., None] * key[:, None], total + key])

    def recall(self, state: MemoryState, queries: Tensor) -> Tensor:
        weights, total = state
        query = functional.elu(self.query(queries)) + 1
        return (query @ weights.mT) / (query @ total[..., None] + LEAST)

    def read(self, state: MemoryState, queries: Tensor) -> Tensor:
        return self.recall(state, queries)

    def prepared(self, state: MemoryState) -> MemoryState:
        """As the compiled step reads it."""
        return state
