from typing import Any, NamedTuple

from torch import Tensor
from torch.utils import _pytree as pytree

from fastweights.nn.memories.memory_state import MemoryState


class DecoderState(NamedTuple):
    """What a decoder carries from one symbol to the next.

    network: the state of its recurrent network, tensors that lead with layers, then the batch.
    memory: what it reads of the source; empty where the network itself has read the source.
    """

    network: Any
    memory: MemoryState

    @property
    def bytes(self) -> int:
        """Of all streams together."""
        tensors: list[Tensor] = pytree.tree_leaves(self.network)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + self.memory.bytes

    def select(self, index: Any) -> "DecoderState":
        """The streams of a slice, of a mask, or of a tensor of their places: beams, say."""
        network = pytree.tree_map(lambda tensor: tensor[:, index], self.network)
        return DecoderState(network, self.memory.select(index))
