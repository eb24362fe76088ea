from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from fastweights.errors import UserError


class FastWeightsState(NamedTuple):
    """What a fast-weights network carries between steps, a pair as that of `nn.LSTM`: h(t) and A(t), which holds h(t).

    hidden:  [..., batch, hidden]; from `FastWeightsRNN` it leads with num_layers * num_directions, as h_n of `nn.LSTM`.
    weights: [..., batch, hidden, hidden], addressed [value, key].

    It is a plain tuple of plain tensors: `output, (hidden, weights) = rnn(input)`. A tuple of two tensors may be given
    wherever a state is wanted.
    """

    hidden: Tensor
    weights: Tensor

    def detach(self) -> "FastWeightsState":
        """Cut from the graph: truncated back-propagation through time."""
        return FastWeightsState(self.hidden.detach(), self.weights.detach())

    def to(self, *args: Any, **kwargs: Any) -> "FastWeightsState":
        """On another device, or in another dtype, as `torch.Tensor.to`."""
        return FastWeightsState(self.hidden.to(*args, **kwargs), self.weights.to(*args, **kwargs))

    def reset(self, done: Tensor) -> "FastWeightsState":
        """The state with zeros where the boolean `done`, [batch], is true: a sample begins anew.

        An unbatched state of `FastWeightsRNN` leads with layers, which cannot be told from samples: begin with None.
        """
        if self.hidden.dim() < 2:
            raise UserError("FastWeightsState.reset: got a state without a batch axis, wanted [..., batch, hidden]")
        batch = self.hidden.shape[-2:-1]
        if not isinstance(done, Tensor) or done.dtype != torch.bool or done.shape != batch:
            got = f"{done.dtype} of shape {list(done.shape)}" if isinstance(done, Tensor) else type(done).__name__
            raise UserError(f"FastWeightsState.reset: got {got}, wanted torch.bool of shape {list(batch)}")
        hidden = self.hidden.masked_fill(done[:, None], 0.0)
        return FastWeightsState(hidden, self.weights.masked_fill(done[:, None, None], 0.0))

    def select(self, index: Any) -> "FastWeightsState":
        """The samples of a slice, of a mask [batch], or of a tensor of their places: beams, say, or a sorted batch."""
        batch = list(self.hidden.shape[-2:-1])
        if not batch:
            raise UserError("FastWeightsState.select: got a state without a batch axis, wanted [..., batch, hidden]")
        mask = None if isinstance(index, slice) else torch.as_tensor(index)
        if mask is not None and mask.dtype in (torch.bool, torch.uint8) and list(mask.shape) != batch:
            raise UserError(f"FastWeightsState.select: got a mask of shape {list(mask.shape)}, wanted {batch}")
        return FastWeightsState(self.hidden[..., index, :], self.weights[..., index, :, :])

    def erase(self, key: Tensor, value: Tensor | None = None, strength: float | Tensor = 1.0) -> "FastWeightsState":
        """The state without one stored association; the hidden vector stays.

            A - strength value k^T                what was written, where the value is given
            A - strength (A k) k^T / |k|^2        else whatever the key reads: at strength 1 it reads zero then

        key, value: [hidden], or what broadcasts to `hidden`, as the rule stores them. strength: what is left of the
        write, rate decay^age of `Hebbian`. `Trace.term` tells all three of a step.
        """
        return self.overwrite(key, self.hidden.new_zeros(self.hidden.shape[-1]), value, strength)

    def overwrite(
        self, key: Tensor, new: Tensor, value: Tensor | None = None, strength: float | Tensor = 1.0
    ) -> "FastWeightsState":
        """The state with the value `new` where another was; the hidden vector stays.

            A + strength (new - value) k^T            where the old value is given
            A + strength (new - A k) k^T / |k|^2      else the delta rule: at strength 1 the key reads `new` then

        Shapes as in `erase`.
        """
        key, new = self._vector("key", key), self._vector("new", new)
        if value is None:
            value = (self.weights @ key[..., None]).squeeze(-1)
            strength = strength / key.square().sum(-1).clamp_min(torch.finfo(key.dtype).tiny)
        amount = torch.as_tensor(strength, dtype=self.weights.dtype, device=self.weights.device)[..., None]
        change = amount * (new - self._vector("value", value))
        return self._replace(weights=self.weights + change[..., None] * key[..., None, :])

    def scale(self, factor: float | Tensor) -> "FastWeightsState":
        """The memory times a number, as `steps` of decay would leave it for factor = decay^steps; hidden stays."""
        return self._replace(weights=factor * self.weights)

    def empty(self) -> "FastWeightsState":
        """An empty memory beside the same hidden vector; `reset` zeroes both."""
        return self._replace(weights=torch.zeros_like(self.weights))

    def _vector(self, name: str, given: Any) -> Tensor:
        shape = list(self.hidden.shape)
        if isinstance(given, Tensor) and 0 < given.dim() <= len(shape) and given.shape[-1] == shape[-1]:
            sizes = zip(given.shape[::-1], shape[::-1], strict=False)
            if all(mine in (1, wanted) for mine, wanted in sizes):
                return given.to(self.weights)
        got = f"shape {list(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise UserError(f"FastWeightsState: got a {name} of {got}, wanted a tensor [{shape[-1]}], or {shape}")

    def map(self, function: Callable[[Tensor], Tensor]) -> "FastWeightsState":
        """The state with `function` applied to hidden and to weights."""
        return FastWeightsState(function(self.hidden), function(self.weights))


torch.serialization.add_safe_globals([FastWeightsState])
pytree._register_namedtuple(FastWeightsState, serialized_type_name="fastweights.FastWeightsState")  # torch.export.save


def as_state(state: Any, owner: str = "state") -> FastWeightsState | None:
    """A pair of tensors as a state; None: none. Anything else is refused, and what to give is said."""
    if type(state) is FastWeightsState and isinstance(state[0], Tensor) and isinstance(state[1], Tensor):
        return state
    if state is None:
        return None
    if isinstance(state, Tensor):
        raise UserError(
            f"{owner}: got a tensor, wanted a pair (hidden, weights), as nn.LSTM has one; an empty memory beside it is "
            "hidden.new_zeros(*hidden.shape, hidden.shape[-1])"
        )
    if not isinstance(state, tuple | list) or len(state) != 2 or not all(isinstance(each, Tensor) for each in state):
        got = f"{type(state).__name__} of {len(state)}" if isinstance(state, tuple | list) else type(state).__name__
        raise UserError(f"{owner}: got {got}, wanted a pair of tensors (hidden, weights), or None")
    return FastWeightsState(*state)
