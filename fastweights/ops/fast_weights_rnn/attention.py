"""Equation 4 of the paper: attend over the hidden vectors read so far instead of forming A(t) inside the call.

    A(t) u = decay^t A(0) u + rate sum_{tau=1..t} decay^(t-tau) h(tau) <h(tau), u>

Of the rule `Delta` keys k = h / |h| stand in place of the second h, and errors e = rate (h - decay A k) of rate h.
Time x hidden numbers of memory a sample, where the explicit matrix needs time x hidden^2 for its gradient.
"""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.fast_weights_rnn.kinds import kind_of
from fastweights.ops.fast_weights_rnn.reference import bounded, layer_norm, nonlinearity
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Cosine, Delta
from fastweights.rules.cosine import direction
from fastweights.rules.delta import unit


def why_not(call: Call) -> str | None:
    if kind_of(call.rule) is None:
        if type(call.rule) is Delta:
            return "it has the rule Delta with keys of unit length only, not normalize_key=False"
        return f"it has no attention form of the rule {type(call.rule).__name__}, only of Hebbian, Cosine and Delta"
    return None


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    valid = call.valid
    inputs = call.inputs if valid is None else torch.where(valid[..., None], call.inputs, 0.0)
    past = inputs[:, :0] if call.past is None else call.past
    powers = decay_powers(call.rule.decay, past, inputs.shape[1])
    hidden, keys = call.hidden, as_stored(call.rule, past)
    values = _errors(call.rule, past, keys, None, powers) if type(call.rule) is Delta else keys
    first_keys, first_values = keys, values
    outputs: list[Tensor] = []
    kept: list[Tensor] = []
    errors: list[Tensor] = []
    for t in range(inputs.shape[1]):
        if valid is not None:
            hidden = torch.where(valid[:, t, None], hidden, 0.0)
        hidden = _step(call, inputs[:, t] + hidden @ call.recurrent.T, keys, values, powers)
        outputs.append(hidden if valid is None else torch.where(valid[:, t, None], hidden, 0.0))
        kept.append(as_stored(call.rule, outputs[-1]))
        if type(call.rule) is Delta:
            read = _read(call, kept[-1], keys, values, powers)
            errors.append((call.rule.rate * (outputs[-1] - call.rule.decay * read)).to(inputs))
        if t + 1 < inputs.shape[1]:
            keys = _after(first_keys, kept)
            values = _after(first_values, errors) if errors else keys
    found = torch.stack(outputs, dim=1) if outputs else inputs
    return found.clone(), final_state(call, found)  # it may be changed in place: what backward needs stays behind


def _after(first: Tensor, more: list[Tensor]) -> Tensor:
    """[batch, steps, hidden]: those before the call, and one for each of its steps."""
    stacked = torch.stack(more, dim=1)
    return torch.cat([first, stacked], dim=1) if first.shape[1] else stacked


def _step(call: Call, boundary: Tensor, keys: Tensor, values: Tensor, powers: Tensor) -> Tensor:
    if call.inner_steps == 0:
        return nonlinearity(call, layer_norm(call, boundary))
    hidden = nonlinearity(call, boundary)
    for _ in range(call.inner_steps):
        query = hidden if type(call.rule) is Delta else as_stored(call.rule, hidden)
        read = _read(call, query, keys, values, powers)
        hidden = nonlinearity(call, layer_norm(call, boundary + bounded(call.rule, read, boundary)))
    return hidden


def _read(call: Call, query: Tensor, keys: Tensor, values: Tensor, powers: Tensor) -> Tensor:
    """A(t) query, after the t steps of the keys."""
    t, read = keys.shape[1], torch.zeros_like(query)
    if t:
        scale = (strength(call.rule) * powers[:t].flip(0)).to(keys)  # rate decay^(t-tau), tau = 1..t
        scores = (keys @ query[..., None]).squeeze(-1) * scale
        read = (scores[:, None] @ values).squeeze(1)
    if call.weights is not None:
        read = read + powers[t].to(keys) * (call.weights @ query[..., None]).squeeze(-1)
    return read


def as_stored(rule: Any, x: Tensor) -> Tensor:
    """The vector by which a rule stores a hidden vector."""
    return direction(x) if type(rule) is Cosine else unit(x) if type(rule) is Delta else x


def strength(rule: Any) -> float | Tensor:
    """What each write is multiplied with: the rate of `Hebbian`; the read of `Cosine` and the errors hold theirs."""
    return 1.0 if type(rule) in (Cosine, Delta) else rule.rate


def decay_powers(decay: float | Tensor, inputs: Tensor, more: int = 0) -> Tensor:
    """decay^0 .. decay^(time + more), in float64: their sums are the gradients of the constants."""
    wide = inputs.dtype if inputs.device.type == "mps" else torch.float64
    exponents = torch.arange(inputs.shape[1] + more + 1, device=inputs.device, dtype=wide)
    return torch.as_tensor(decay, dtype=wide, device=inputs.device) ** exponents


def final_state(call: Call, outputs: Tensor) -> FastWeightsState | None:
    """The state after the last step, from the outputs alone; None where it is not needed.

    A(T) = decay^T A(0) + rate sum_{tau=1..T} decay^(T-tau) h(tau) h(tau)^T
    """
    if not call.need_state:
        return None
    time, rule = outputs.shape[1], call.rule
    if not time:
        empty = outputs.new_zeros(*outputs.shape[::2], outputs.shape[2])
        return FastWeightsState(call.hidden.clone(), empty if call.weights is None else call.weights.clone())
    if call.lengths is None:
        hidden = outputs[:, -1].clone()  # it may be changed in place, the outputs not with it
    else:
        last = (call.lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, outputs.shape[2])
        hidden = torch.where(call.lengths[:, None] > 0, outputs.gather(1, last).squeeze(1), call.hidden)
    return FastWeightsState(hidden, final_weights(rule, outputs, call.weights, call.lengths))


def final_weights(rule: Any, outputs: Tensor, first: Tensor | None, lengths: Tensor | None) -> Tensor:
    """A(T), from A(0) and the outputs."""
    time, powers = outputs.shape[1], decay_powers(rule.decay, outputs)
    if lengths is None:
        scale, left = powers[:time].flip(0)[:, None], powers[time].to(outputs)
    else:
        ages = lengths[:, None] - torch.arange(1, time + 1, device=outputs.device)
        scale, left = powers[ages.clamp(min=0)][..., None], powers[lengths][:, None, None].to(outputs)
    keys = as_stored(rule, outputs)
    values = _errors(rule, outputs, keys, first, powers) if type(rule) is Delta else keys
    weights = (values * (strength(rule) * scale).to(outputs)).transpose(1, 2) @ keys
    return weights if first is None else weights + left * first


def _errors(rule: Any, outputs: Tensor, keys: Tensor, first: Tensor | None, powers: Tensor) -> Tensor:
    """e(t) = rate (h(t) - decay A(t-1) k(t)) of all steps: each holds those before it, so a triangle is solved."""
    steps = torch.arange(outputs.shape[1], device=outputs.device)
    lag = steps[:, None] - steps
    before = torch.where(lag > 0, rule.rate * powers[lag.clamp(min=0)], 0.0).to(outputs) * (keys @ keys.transpose(1, 2))
    wanted = outputs
    if first is not None:
        wanted = outputs - powers[1:, None].to(outputs) * (keys @ first.transpose(1, 2))
    right = (rule.rate * wanted).to(outputs)
    return torch.linalg.solve_triangular(before, right, upper=False, unitriangular=True)
