"""What a rule of `fast_weights_scan` is made of: its gates, its state, and its fast form."""

from __future__ import annotations  # the command line reads the rules without torch

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fastweights.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class Gate(NamedTuple):
    """A tensor that a slow network emits for a rule, at each token or once.

    says: what it is, in a few words.
    axes: "token": [batch, time, heads]; "key": [batch, time, heads, key]; "value": [batch, time, heads, value];
        "substep": [batch, substeps * time, heads]; "head": [heads], "head key": [heads, key], "head value":
        [heads, value], and "head value key": [heads, value, key], the same at all tokens.
    low, high: its range, ends included.
    form: how a layer makes it out of x, where nobody says otherwise: x is a projection of the token, or with axes of
        heads alone a learned number.
        "sigmoid": sigmoid(x).
        "softplus": softplus(x + bias).
        "decay": -rate softplus(x + bias), its rate a learned number a head.
        "logsigmoid": logsigmoid(x) / 16.
        "soft decay": -exp(-1/2) sigmoid(x).
        "ridge": 1/4 + softplus(x).
        "unit": x / |x|.
        "exp": exp(x).
        "identity": x.
    start: of axes of heads alone the ends of the range that the gate is drawn from at the start; of "decay" those of
        its rate; of "softplus" the ends between which softplus(bias) is log-uniform.
    rank: of the projection; None: full.
    constant: the field of the rule that stands in where the gate is not given; None: it has to be given.
    """

    says: str
    axes: str = "token"
    low: float = 0.0
    high: float = 1.0
    form: str = "sigmoid"
    start: tuple[float, float] | None = None
    rank: int | None = None
    constant: str | None = None


def doubled(gates: Mapping[str, Gate]) -> list[str]:
    """The gates that `negative_eigenvalues` doubles: sigmoids that may reach 2."""
    return [name for name, gate in gates.items() if gate.form == "sigmoid" and gate.high == 2.0]


STRENGTH = Gate("how much of the error is written", high=2.0)
LOG_DECAY = Gate("log of what is kept", "token", -math.inf, 0.0, "decay", (0.0, 16.0))
KEY_DECAY = Gate("log of what each key channel keeps", "key", -math.inf, 0.0, "decay", (1.0, 16.0))


class ScanState(NamedTuple):
    """What `fast_weights_scan` carries from token to token: a plain tuple.

    weights: [batch, heads, value, key], the fast weights.
    others: what else the rule carries, each [batch, heads, key] or [batch, heads, rows, key]; the rule says what.
    """

    weights: Tensor
    others: tuple[Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all tensors together."""
        return sum(each.numel() * each.element_size() for each in (self.weights, *self.others))

    def detach(self) -> ScanState:
        """Cut from the graph: truncated back-propagation through time."""
        return self.map(lambda each: each.detach())

    def to(self, *args: Any, **kwargs: Any) -> ScanState:
        """On another device, or in another dtype, as `torch.Tensor.to`."""
        return self.map(lambda each: each.to(*args, **kwargs))

    def reset(self, done: Tensor) -> ScanState:
        """The state with zeros where the boolean `done`, [batch], is true: a sample begins anew."""
        batch = self.weights.shape[:1]
        if str(getattr(done, "dtype", "")) != "torch.bool" or done.shape != batch:
            got = f"{done.dtype} of shape {list(done.shape)}" if hasattr(done, "shape") else type(done).__name__
            raise UserError(f"ScanState.reset: got {got}, wanted torch.bool of shape {list(batch)}")
        return self.map(lambda each: each.masked_fill(done.reshape(-1, *[1] * (each.dim() - 1)), 0.0))

    def select(self, index: Any) -> ScanState:
        """The samples of a slice, of a mask [batch], or of a tensor of their places: beams, say, or a sorted batch."""
        return self.map(lambda each: each[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> ScanState:
        """The state with `function` applied to each of its tensors."""
        return ScanState(function(self.weights), tuple(function(each) for each in self.others))


class Step(NamedTuple):
    r"""The canonical step, which the fast backends run: a rule lowers itself to it.

        S' = S Diag(exp decay)                               once a token, before its first substep
        S  = S' + strength (value - S' erase) key^T          at each substep
        o  = S query                                         once a token, after its last substep

    query: [batch, time, heads, key]; it is not scaled.
    key: [batch, substeps * time, heads, key], those of a token one after the other.
    value: [batch, substeps * time, heads, value].
    erase: [batch, substeps * time, heads, key], the vector that is read before writing; None: nothing is erased. Where
        it is the very tensor `key`, a backend may read it once.
    strength: [batch, substeps * time, heads]; None: 1.
    decay: log of what is kept, [batch, time, heads] or [batch, time, heads, key]; None: all is kept.
    substeps: writes a token.
    undecayed_erase: the first erase of a token reads S, not S'.
    transposed: the canonical matrix is the transpose of the state, and is read as S^T query: there `key` above are the
        values of the rule, and `value` its keys.
    momentum: [batch, time, heads]: what is written goes into a second matrix Z = momentum Z + strength (value - S
        erase) key^T, and S = S Diag(exp decay) + Z; the decay then has no channels. None: without.
    finish: from what was read, [batch, time, heads, value], to the outputs; None: they are the same.
    reading: in place of it, of a rule that reads more than once: from a function that reads some rows of the canonical
        matrix by any queries of this shape, and from the queries, to the outputs.

    The canonical matrix is `ScanState.weights` with the rows of `ScanState.others` below it, of momentum Z beside it.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    erase: Tensor | None = None
    strength: Tensor | None = None
    decay: Tensor | None = None
    substeps: int = 1
    undecayed_erase: bool = False
    transposed: bool = False
    momentum: Tensor | None = None
    finish: Callable[[Tensor], Tensor] | None = None
    reading: Callable[[Callable[[Tensor, slice], Tensor], Tensor], Tensor] | None = None


def outer(value: Tensor, key: Tensor) -> Tensor:
    """value key^T, [..., value, key]."""
    return value.unsqueeze(-1) * key.unsqueeze(-2)


def read(weights: Tensor, query: Tensor) -> Tensor:
    """weights query, [..., value]."""
    return (weights @ query.unsqueeze(-1)).squeeze(-1)


LEAST = 1e-30  # of a decay whose log is taken


def log_of(decay: float | Tensor, like: Tensor) -> Tensor | None:
    """The log of a constant decay at each token and head of `like`, [batch, time, heads, ...]; None where all is kept.

    A decay of 0 is taken as 1e-30: what is kept then is nothing in any dtype, and the gradient is still exact.
    """
    if isinstance(decay, int | float):
        return None if decay == 1 else like.new_full(like.shape[:3], math.log(max(decay, LEAST)))
    lifted = decay + (decay.clamp_min(LEAST) - decay).detach()
    return lifted.log().to(like.dtype).reshape(()).expand(like.shape[:3])


def constant(number: float | Tensor, like: Tensor) -> Tensor | None:
    """A constant strength at each token and head of `like`, [batch, time, heads, ...]; None where it is 1."""
    if isinstance(number, int | float):
        return None if number == 1 else like.new_full(like.shape[:3], number)
    return number.to(like.dtype).reshape(()).expand(like.shape[:3])
