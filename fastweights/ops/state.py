from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

# methods of a tensor that leave its shape and meaning alone: hidden and weights go through them together
_TOGETHER = frozenset({"contiguous", "cpu", "cuda", "float", "double", "half", "bfloat16", "pin_memory"})

_available = torch.amp.autocast_mode.is_autocast_available  # torch.compile of torch 2.11 cannot look through it
_AUTOCAST = frozenset(filter(_available, ("cpu", "cuda", "mps", "xpu", "xla", "hpu", "mtia")))


def _full_precision(device: str) -> Any:
    return torch.autocast(device, enabled=False) if device in _AUTOCAST else nullcontext()


class FastWeightsState:
    """What a fast-weights network carries between steps: `hidden` h(t) and `weights` A(t), which contains h(t).

    hidden:  [..., hidden]; from `FastWeightsRNN` it leads with num_layers * num_directions, as h_n of `nn.GRU`.
    weights: [..., hidden, hidden], addressed [value, key]; `None` given: zeros, an empty memory. What an op returns
             has its weights still to be computed: that happens when they are first read, never if they are not. They
             are computed from the state that was given then: until they are read, do not change that one in place.
    backend: the name of the backend that made this state, or None if a user did.

    It stands where h_n stood: an index, a tensor method or a torch function that has no meaning of its own here is
    applied to `hidden` (`state[-1]`, `torch.cat([state[-2], state[-1]], dim=1)`, `state.squeeze(0)`).
    `detach`, `clone`, `to`, `index_select`, `reset`, what copies or moves (`contiguous`, `cpu`, `float` ...) and an
    index of samples, `state[:, samples]`, keep hidden and weights together; arithmetic (`state * 2`) gives a tensor of
    hidden vectors, without the memory.
    """

    def __init__(
        self, hidden: Tensor, weights: Tensor | Callable[[], Tensor] | None = None, *, backend: str | None = None
    ) -> None:
        if not isinstance(hidden, Tensor):
            raise TypeError(f"FastWeightsState: got hidden of type {type(hidden).__name__}, wanted a tensor")
        if isinstance(weights, Tensor) and weights.shape != (*hidden.shape, hidden.shape[-1]):
            raise ValueError(
                f"FastWeightsState: got weights {list(weights.shape)} beside hidden {list(hidden.shape)}, "
                f"wanted {[*hidden.shape, hidden.shape[-1]]}"
            )
        self.hidden = hidden
        self.backend = backend
        self._weights = weights
        self._with_grad = torch.is_grad_enabled()
        self.pending = 0  # states before this one whose weights are still to be computed

    @classmethod
    def of(cls, hidden: Tensor, weights: Tensor | None, backend: str | None = None) -> "FastWeightsState":
        """A state of tensors that are known to fit: a streamed step has no time to look."""
        state = object.__new__(cls)
        state.__dict__.update(hidden=hidden, backend=backend, _weights=weights, _with_grad=False, pending=0)
        return state

    @property
    def weights(self) -> Tensor:
        """A(t), [..., value, key]. Computed at the first reading, under the grad mode in which the state was made."""
        if self._weights is None:
            self._weights = self.hidden.new_zeros(*self.hidden.shape, self.hidden.shape[-1])
        elif not isinstance(self._weights, Tensor):
            with torch.set_grad_enabled(self._with_grad), _full_precision(self.hidden.device.type):
                self._weights = self._weights()
        return self._weights

    @property
    def is_computed(self) -> bool:
        """True where reading the weights costs nothing."""
        return self._weights is None or isinstance(self._weights, Tensor)

    @property
    def is_empty(self) -> bool:
        """True where the memory is known to hold nothing: no weights were given."""
        return self._weights is None

    def map(self, function: Callable[[Tensor], Tensor]) -> "FastWeightsState":
        """The state with `function` applied to hidden and to weights."""
        weights = self._weights
        if isinstance(weights, Tensor):
            weights = function(weights)
        elif weights is not None:
            weights = lambda: function(self.weights)  # noqa: E731 - still not before it is read
        return FastWeightsState(function(self.hidden), weights, backend=self.backend)

    def detach(self) -> "FastWeightsState":
        """Cut from the graph: truncated back-propagation through time."""
        return self.map(Tensor.detach)

    def clone(self) -> "FastWeightsState":
        """A copy that follows no later change; its weights are computed now."""
        return FastWeightsState(
            self.hidden.clone(), None if self.is_empty else self.weights.clone(), backend=self.backend
        )

    def to(self, *args: Any, **kwargs: Any) -> "FastWeightsState":
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def index_select(self, dim: int, index: Tensor) -> "FastWeightsState":
        """Choose samples (a beam, say): `dim` counts the axes of `hidden` without its last."""
        if dim < 0:
            raise ValueError(f"FastWeightsState.index_select: got dim {dim}, wanted one counted from the front")
        return self.map(lambda tensor: tensor.index_select(dim, index))

    def reset(self, where: Tensor) -> "FastWeightsState":
        """The state with zeros where the boolean `where`, [batch], is true: an episode begins."""
        if where.dtype != torch.bool or where.shape != self.hidden.shape[-2:-1]:
            raise ValueError(
                f"FastWeightsState.reset: got {where.dtype} of shape {list(where.shape)}, "
                f"wanted torch.bool of shape {list(self.hidden.shape[-2:-1])}"
            )
        hidden = self.hidden.masked_fill(where[:, None], 0.0)
        weights = None if self.is_empty else self.weights.masked_fill(where[:, None, None], 0.0)
        return FastWeightsState(hidden, weights, backend=self.backend)

    def __getitem__(self, index: Any) -> "Tensor | FastWeightsState":
        """A layer, `state[-1]`, is its hidden vectors; samples of all layers, `state[:, samples]`, are a state."""
        parts = index if isinstance(index, tuple) else (index,)
        if isinstance(parts[0], slice) and len(parts) < self.hidden.dim() and not any(part is ... for part in parts):
            return self.map(lambda tensor: tensor[index])
        return self.hidden[index]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.hidden)

    def __len__(self) -> int:
        return len(self.hidden)

    def detach_(self) -> "FastWeightsState":
        """As `detach`, for code that calls it on h_n; this very state is cut."""
        before = object.__new__(FastWeightsState)  # what is computed later comes from there, not from this very state
        before.__dict__.update(vars(self))
        cut = before.detach()
        self.hidden, self._weights = cut.hidden, cut._weights
        return self

    def __getattr__(self, name: str) -> Any:
        if name in _TOGETHER and "hidden" in self.__dict__:
            return lambda *args, **kwargs: self.map(lambda tensor: getattr(tensor, name)(*args, **kwargs))
        if name.startswith("__") or "hidden" not in self.__dict__:
            raise AttributeError(f"'FastWeightsState' object has no attribute {name!r}")
        return getattr(self.hidden, name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and isinstance(args[0], FastWeightsState) and function in (torch.clone, torch.detach):
            return args[0].clone() if function is torch.clone else args[0].detach()

        def as_hidden(value: Any) -> Any:
            return value.hidden if isinstance(value, FastWeightsState) else value

        args, kwargs = pytree.tree_map(
            as_hidden, (args, kwargs or {}), is_leaf=lambda value: isinstance(value, FastWeightsState)
        )
        return function(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        weights = None if self.is_empty else self.weights
        return vars(self) | {"_weights": weights, "pending": 0}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__dict__.update(saved)

    __hash__ = object.__hash__  # as a tensor: by identity, though == compares the numbers

    def __repr__(self) -> str:
        how = "empty" if self.is_empty else "computed" if isinstance(self._weights, Tensor) else "not computed yet"
        return f"FastWeightsState(hidden={list(self.hidden.shape)}, weights {how}, backend={self.backend})"


def _flatten(state: FastWeightsState) -> tuple[list[Tensor | None], str | None]:
    return [state.hidden, None if state.is_empty else state.weights], state.backend


def _unflatten(leaves: Any, backend: str | None) -> FastWeightsState:
    hidden, weights = leaves
    state = object.__new__(FastWeightsState)  # leaves may be anything while a tree is mapped
    state.__dict__.update(hidden=hidden, _weights=weights, backend=backend)
    state.__dict__.update(_with_grad=torch.is_grad_enabled(), pending=0)
    return state


pytree.register_pytree_node(FastWeightsState, _flatten, _unflatten, serialized_type_name="fastweights.FastWeightsState")


def _on_hidden(name: str) -> Callable[..., Tensor]:
    def operator(self: FastWeightsState, *others: Any) -> Tensor:
        others = tuple(o.hidden if isinstance(o, FastWeightsState) else o for o in others)
        return getattr(self.hidden, name)(*others)

    return operator


_OPERATORS = "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul neg abs"
for _name in f"{_OPERATORS} gt ge lt le eq ne".split():
    setattr(FastWeightsState, f"__{_name}__", _on_hidden(f"__{_name}__"))
