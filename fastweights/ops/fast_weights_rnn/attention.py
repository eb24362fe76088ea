"""Equation 4 of the paper: attend over the hidden vectors read so far instead of forming A(t) inside the call.

    A(t) u = decay^t A(0) u + rate sum_{tau=1..t} decay^(t-tau) h(tau) <h(tau), u>

Time x hidden numbers of memory a sample, where the explicit matrix needs time x hidden^2 for its gradient.
"""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.fast_weights_rnn.reference import bounded, layer_norm, nonlinearity
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Cosine, Hebbian
from fastweights.rules.cosine import direction


def why_not(call: Call) -> str | None:
    if type(call.rule) not in (Hebbian, Cosine):
        return f"it has no attention form of the rule {type(call.rule).__name__}, only of Hebbian and Cosine"
    return None


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    valid = call.valid
    inputs = call.inputs if valid is None else torch.where(valid[..., None], call.inputs, 0.0)
    powers = decay_powers(call.rule.decay, inputs)
    hidden, stored = call.hidden, inputs[:, :0]
    outputs: list[Tensor] = []
    kept: list[Tensor] = []
    for t in range(inputs.shape[1]):
        if valid is not None:
            hidden = torch.where(valid[:, t, None], hidden, 0.0)
        hidden = _step(call, inputs[:, t] + hidden @ call.recurrent.T, stored, powers)
        outputs.append(hidden if valid is None else torch.where(valid[:, t, None], hidden, 0.0))
        kept.append(as_stored(call.rule, outputs[-1]))
        stored = torch.stack(kept, dim=1)
    past = torch.stack(outputs, dim=1) if outputs else inputs
    return past.clone(), final_state(call, past)  # it may be changed in place: what backward needs stays behind


def _step(call: Call, boundary: Tensor, past: Tensor, powers: Tensor) -> Tensor:
    t = past.shape[1]
    if call.inner_steps == 0:
        return nonlinearity(call, layer_norm(call, boundary))
    rule, scale = call.rule, (strength(call.rule) * powers[:t].flip(0)).to(past)  # rate decay^(t-tau), tau = 1..t
    hidden = nonlinearity(call, boundary)
    for _ in range(call.inner_steps):
        query, read = as_stored(rule, hidden), torch.zeros_like(boundary)
        if t:
            scores = (past @ query[..., None]).squeeze(-1) * scale
            read = (scores[:, None] @ past).squeeze(1)
        if call.weights is not None:
            read = read + powers[t].to(past) * (call.weights @ query[..., None]).squeeze(-1)
        hidden = nonlinearity(call, layer_norm(call, boundary + bounded(rule, read, boundary)))
    return hidden


def as_stored(rule: Any, x: Tensor) -> Tensor:
    """The vector that a rule stores of a hidden vector, and looks for."""
    return direction(x) if type(rule) is Cosine else x


def strength(rule: Any) -> float | Tensor:
    """What each write is multiplied with: the rate of `Hebbian`; that of `Cosine` multiplies the read."""
    return 1.0 if type(rule) is Cosine else rule.rate


def decay_powers(decay: float | Tensor, inputs: Tensor) -> Tensor:
    """decay^0 .. decay^time, [time + 1], in float64: their sums are the gradients of the constants."""
    wide = inputs.dtype if inputs.device.type == "mps" else torch.float64
    exponents = torch.arange(inputs.shape[1] + 1, device=inputs.device, dtype=wide)
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
    powers = decay_powers(rule.decay, outputs)
    if call.lengths is None:
        hidden = outputs[:, -1].clone()  # it may be changed in place, the outputs not with it
        scale, first = powers[:time].flip(0)[:, None], powers[time].to(outputs)
    else:
        last = (call.lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, outputs.shape[2])
        hidden = torch.where(call.lengths[:, None] > 0, outputs.gather(1, last).squeeze(1), call.hidden)
        left = call.lengths[:, None] - torch.arange(1, time + 1, device=outputs.device)
        scale, first = powers[left.clamp(min=0)][..., None], powers[call.lengths][:, None, None].to(outputs)
    stored = as_stored(rule, outputs)
    weights = (stored * (strength(rule) * scale).to(outputs)).transpose(1, 2) @ stored
    if call.weights is not None:
        weights = weights + first * call.weights
    return FastWeightsState(hidden, weights)
