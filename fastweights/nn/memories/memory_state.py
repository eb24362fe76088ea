from typing import Any

from torch import Tensor


class MemoryState(tuple[Tensor, ...]):
    """What a memory holds: a plain tuple of tensors that lead with the batch."""

    __slots__ = ()

    @property
    def bytes(self) -> int:
        """Of all streams together."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self)

    def select(self, index: Any) -> "MemoryState":
        """The streams of a slice, of a mask, or of a tensor of their places: beams, say."""
        return MemoryState(tensor[index] for tensor in self)
