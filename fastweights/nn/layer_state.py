"""What a layer, and a model, carry from token to token: plain tuples of tensors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastweights.ops import ScanState


class LayerState(NamedTuple):
    """A plain pair, as nn.LSTM's: `output, (memory, recent) = layer(input, state)`.

    memory: the state of the scan, whose `weights` are [batch, heads, value, key].
    recent: [batch, width - 1, channels], the last inputs of the short convolution; None where there is none.
    """

    memory: ScanState
    recent: Tensor | None

    @property
    def bytes(self) -> int:
        """Of all tensors together."""
        return state_bytes(self)

    def detach(self) -> "LayerState":
        """Cut from the graph: truncated back-propagation through time."""
        return LayerState(self.memory.detach(), None if self.recent is None else self.recent.detach())

    def to(self, *args: Any, **kwargs: Any) -> "LayerState":
        """On another device, or in another dtype, as `torch.Tensor.to`."""
        return self.map(lambda each: each.to(*args, **kwargs))

    def reset(self, done: Tensor) -> "LayerState":
        """The state with zeros where the boolean `done`, [batch], is true: a sample begins anew."""
        recent = self.recent
        return LayerState(
            self.memory.reset(done), None if recent is None else recent.masked_fill(done[:, None, None], 0.0)
        )

    def select(self, index: Any) -> "LayerState":
        """The samples of a slice, of a mask [batch], or of a tensor of their places."""
        return LayerState(self.memory.select(index), None if self.recent is None else self.recent[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> "LayerState":
        """The state with `function` applied to each of its tensors."""
        return LayerState(self.memory.map(function), None if self.recent is None else function(self.recent))


torch.serialization.add_safe_globals([LayerState])
pytree._register_namedtuple(LayerState, serialized_type_name="fastweights.LayerState")  # torch.export.save


def state_bytes(state: Any) -> int:
    """Of all tensors in a state, whatever its form: a tensor, or tuples of states."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return sum(state_bytes(each) for each in state) if isinstance(state, tuple | list) else 0
