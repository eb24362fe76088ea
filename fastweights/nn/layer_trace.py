"""What one layer of the fast-weights RNN did with one sequence, number by number."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.nn.recurrent_layer import current_rule, project, slow_weights
from fastweights.ops.fast_weights_rnn.attention import as_stored, strength
from fastweights.ops.fast_weights_rnn.call import Call, check
from fastweights.ops.fast_weights_rnn.reference import bounded, layer_norm, nonlinearity
from fastweights.rules import Cosine, Delta, Hebbian

Array = np.ndarray[Any, Any]


class Term(NamedTuple):
    """strength value key^T: what is left in the memory of one write. `state.erase(*term)` takes it out."""

    key: Tensor
    value: Tensor
    strength: Tensor


@dataclass(frozen=True)
class LayerTrace:
    """One layer and direction; arrays in float64. T steps, S inner steps, H units; numbered from 0, as arrays are.

        boundary(t) = W h(t-1) + C x(t)
        inner[t, 0] = f(boundary(t));  inner[t, s+1] = f(LN[boundary(t) + added[t, s]])      s = 0 .. S-1
        added[t, s] = factor[t, s] A(t-1) q,  q = inner[t, s] as the rule reads it (a direction, of `Cosine`)

    The read is attention over the past, exactly:

        A(t)        = decay^(t+1) A(-1) + sum_{tau<=t} strength decay^(t-tau) values(tau) keys(tau)^T
        added[t, s] = sum_{tau<t} attention[t, s, tau] values(tau)         and factor decay^t A(-1) q, of a given state
        attention[t, s, tau] = factor[t, s] strength decay^(t-1-tau) <keys(tau), q>

        rule       keys       values                         strength    factor
        Hebbian    h          h                              rate        1
        Cosine     n(h)       n(h)                           1           rate sqrt(B / (B + |A q|^2))
        Delta      h / |h|    rate (h - decay A(t-1) key)    1           1

    So the value of `Delta` is what was written: the difference to what the key read then.

    name: layer, and "reverse" of the direction whose steps are counted from the end.
    hidden, boundary: [T, H]; hidden is inner[:, S].
    inner: [T, S + 1, H]; of S = 0 it is h alone, f(LN[boundary]).
    added: [T, S, H]; factor: [T, S].
    weights: [T, H, H], A(t) [value, key]: it holds h(t), and the next step reads it. first: [H, H], A(-1).
    keys, values: [T, H]; attention: [T, S, T], zero from tau = t on. None of a rule whose write is no such sum.
    """

    name: str
    rule: Any
    hidden: Array
    boundary: Array
    inner: Array
    added: Array
    factor: Array
    weights: Array
    first: Array
    keys: Array | None
    values: Array | None
    attention: Array | None

    @property
    def queries(self) -> Array:
        """[T, S, H]: the vector by which each inner step reads, before the rule makes a direction of it."""
        return self.inner[:, : self.added.shape[1]]

    @property
    def strength(self) -> float:
        return float(strength(self.rule))

    def term(self, step: int, at: int) -> tuple[Array, Array, float]:
        """Key, value and strength of what A(at) holds of `step`."""
        keys, values = self.stored()
        return keys[step], values[step], self.strength * float(self.rule.decay) ** (at - step)

    def value_of(self, step: int, hidden: Array) -> Array:
        """The value, [H], that `step` would have written under its key, had this been its hidden vector.

        `Hebbian`: hidden;  `Cosine`: n(hidden);  `Delta`: values(step) + rate (hidden - h(step))
        """
        values = self.stored()[1]
        if type(self.rule) is Delta:
            return values[step] + float(self.rule.rate) * (hidden - self.hidden[step])
        return as_stored(self.rule, torch.from_numpy(hidden)).numpy()

    def stored(self) -> tuple[Array, Array]:
        if self.keys is None or self.values is None:
            raise UserError(
                f"Trace: got the rule {type(self.rule).__name__}, wanted Hebbian, Cosine or Delta: what a step has "
                "written cannot be told apart in the memory of another rule"
            )
        return self.keys, self.values


@torch.no_grad()
def trace_layer(
    module: Any, suffix: str, name: str, inputs: Tensor, state: Any = None, decay: float | None = None
) -> LayerTrace:
    """inputs: [1, T, input_size], in the order of this direction; state: of this layer, [1, H] and [1, H, H]."""
    rule = with_decay(current_rule(module, suffix), decay)
    settings = (state, rule, module.inner_steps, module.nonlinearity, None)
    call = check(project(module, suffix, inputs), *slow_weights(module, suffix), *settings)
    hidden, size = call.hidden, call.hidden.shape[1]
    first = weights = hidden.new_zeros(1, size, size) if call.weights is None else call.weights
    kept = []
    for t in range(inputs.shape[1]):
        boundary = call.inputs[:, t] + hidden @ call.recurrent.T
        inner, reads = inner_loop(call, boundary, weights)
        hidden = inner[-1:]
        key, value = stored(rule, hidden, weights)
        weights = rule.write(weights, key=hidden, value=hidden).to(weights)
        kept.append((boundary[0], inner, reads, weights[0], key[0], value[0]))
    boundary, inner, reads, after, keys, values = (torch.stack(each) for each in zip(*kept, strict=True))
    factor = rule.factor(reads, boundary[:, None])[..., 0] if type(rule) is Cosine else torch.ones_like(reads[..., 0])
    known = type(rule) in (Hebbian, Cosine, Delta)
    return LayerTrace(
        name,
        rule,
        hidden=inner[:, -1].numpy(),
        boundary=boundary.numpy(),
        inner=inner.numpy(),
        added=bounded(rule, reads, boundary[:, None]).numpy(),
        factor=factor.numpy(),
        weights=after.numpy(),
        first=first[0].numpy(),
        keys=keys.numpy() if known else None,
        values=values.numpy() if known else None,
        attention=arcs(rule, inner[:, : reads.shape[1]], keys, factor).numpy() if known else None,
    )


def with_decay(rule: Any, decay: float | None) -> Any:
    if decay is None:
        return rule
    if not (is_dataclass(rule) and "decay" in [each.name for each in fields(rule)]):
        raise UserError(f"trace: got decay={decay!r}, wanted None: the rule {type(rule).__name__} has no decay")
    return replace(cast(Any, rule), decay=decay)


def inner_loop(call: Call, boundary: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """h_0 .. h_S of one step, [S + 1, H], and the reads, [S, H]."""
    if not call.inner_steps:
        return nonlinearity(call, layer_norm(call, boundary)), boundary[:0]
    inner, reads = [nonlinearity(call, boundary)], []
    for _ in range(call.inner_steps):
        reads.append(call.rule.read(weights, inner[-1]))
        inner.append(nonlinearity(call, layer_norm(call, boundary + bounded(call.rule, reads[-1], boundary))))
    return torch.cat(inner), torch.cat(reads)


def arcs(rule: Any, queries: Tensor, keys: Tensor, factor: Tensor) -> Tensor:
    """factor strength decay^(t-1-tau) <key(tau), query(t, s)>, [T, S, T]."""
    steps = torch.arange(len(keys))
    age = steps[:, None] - steps - 1
    left = torch.where(age >= 0, float(rule.decay) ** age.clamp(min=0).to(keys), 0.0) * float(strength(rule))
    scores = (queries if type(rule) is Delta else as_stored(rule, queries)) @ keys.T
    return torch.where(age[:, None] >= 0, scores * left[:, None] * factor[..., None], 0.0)


def stored(rule: Any, hidden: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The key and the value by which a rule writes h(t) into A(t-1)."""
    if type(rule) is not Delta:
        return as_stored(rule, hidden), as_stored(rule, hidden)
    key = as_stored(rule, hidden) if rule.normalize_key else hidden
    return key, rule.rate * (hidden - rule.decay * rule.read(weights, key))
