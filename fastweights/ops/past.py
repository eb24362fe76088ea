from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


class PastState(NamedTuple):
    """The state of a fast-weights network in factored form: the hidden vectors that it went through.

        h(t) = past[..., -1, :];    A(t) = what the rule writes of past[..., 0, :] .. past[..., -1, :], in this order

    past: [..., batch, steps, hidden], the newest last: its age is 0, that of the one before is 1. Sequences that are
    shorter have zeros in front, which the rules of this library leave nothing of. It holds steps * hidden numbers a
    sample, where `FastWeightsState` holds hidden^2, and grows with every step.
    """

    past: Tensor

    @property
    def hidden(self) -> Tensor:
        """h(t), [..., batch, hidden]; zeros where there was no step."""
        if self.past.shape[-2]:
            return self.past[..., -1, :]
        return self.past.new_zeros(*self.past.shape[:-2], self.past.shape[-1])

    def detach(self) -> "PastState":
        """Cut from the graph."""
        return PastState(self.past.detach())

    def select(self, index: Any) -> "PastState":
        """The samples of a slice, of a mask [batch], or of a tensor of their places."""
        return PastState(self.past[..., index, :, :])

    def map(self, function: Callable[[Tensor], Tensor]) -> "PastState":
        """The state with `function` applied to what is past."""
        return PastState(function(self.past))

    def followed_by(self, outputs: Tensor, lengths: Tensor | None = None) -> "PastState":
        """The state after more steps, of which each sequence has `lengths`: outputs [batch, time, hidden]."""
        past = torch.cat([self.past, outputs], dim=-2)
        if lengths is None:
            return PastState(past)
        places = torch.arange(past.shape[1], device=past.device) - (outputs.shape[1] - lengths)[:, None]
        found = past.take_along_dim(places.clamp(min=0)[..., None], dim=1)
        return PastState(torch.where((places >= 0)[..., None], found, 0.0))


torch.serialization.add_safe_globals([PastState])
pytree._register_namedtuple(PastState, serialized_type_name="fastweights.PastState")  # torch.export.save
