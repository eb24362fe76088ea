"""Equation 4 of the paper: attend over the hidden vectors read so far instead of forming A(t) inside the call.

    A(t) u = decay^t A(0) u + rate sum_{tau=1..t} decay^(t-tau) h(tau) <h(tau), u>

Time x hidden numbers of memory a sample, where the explicit matrix needs time x hidden^2 for its gradient.
"""

import torch
from torch import Tensor

from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.fast_weights_rnn.reference import layer_norm, nonlinearity
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Hebbian

PENDING = 32  # states whose weights may wait for one another


def why_not(call: Call) -> str | None:
    if type(call.rule) is not Hebbian:
        return f"it has no attention form of the rule {type(call.rule).__name__}, only of Hebbian"
    return None


def run(call: Call) -> tuple[Tensor, FastWeightsState]:
    valid, state = call.valid, call.state
    inputs = call.inputs if valid is None else torch.where(valid[..., None], call.inputs, 0.0)
    first = None if state.is_empty else state.weights
    powers = decay_powers(call.rule.decay, inputs)
    hidden, past = state.hidden, inputs[:, :0]
    outputs: list[Tensor] = []
    for t in range(inputs.shape[1]):
        if valid is not None:
            hidden = torch.where(valid[:, t, None], hidden, 0.0)
        hidden = _step(call, inputs[:, t] + hidden @ call.recurrent.T, past, first, powers)
        outputs.append(hidden if valid is None else torch.where(valid[:, t, None], hidden, 0.0))
        past = torch.stack(outputs, dim=1)
    return past, final_state(call, past)


def _step(call: Call, boundary: Tensor, past: Tensor, first: Tensor | None, powers: Tensor) -> Tensor:
    t = past.shape[1]
    if call.inner_steps == 0:
        return nonlinearity(call, layer_norm(call, boundary))
    scale = (call.rule.rate * powers[:t].flip(0)).to(past)  # rate decay^(t-tau), tau = 1..t
    hidden = nonlinearity(call, boundary)
    for _ in range(call.inner_steps):
        read = boundary
        if t:
            scores = (past @ hidden[..., None]).squeeze(-1) * scale
            read = read + (scores[:, None] @ past).squeeze(1)
        if first is not None:
            read = read + powers[t].to(past) * (first @ hidden[..., None]).squeeze(-1)
        hidden = nonlinearity(call, layer_norm(call, read))
    return hidden


def decay_powers(decay: float | Tensor, inputs: Tensor) -> Tensor:
    """decay^0 .. decay^time, [time + 1], in float64: their sums are the gradients of the constants."""
    wide = inputs.dtype if inputs.device.type == "mps" else torch.float64
    exponents = torch.arange(inputs.shape[1] + 1, device=inputs.device, dtype=wide)
    return torch.as_tensor(decay, dtype=wide, device=inputs.device) ** exponents


def final_state(call: Call, outputs: Tensor, *, backend: str | None = None) -> FastWeightsState:
    """The state after the last step, from the outputs alone; its weights are computed when they are first read.

    A(T) = decay^T A(0) + rate sum_{tau=1..T} decay^(T-tau) h(tau) h(tau)^T
    """
    time, state, rule = outputs.shape[1], call.state, call.rule
    if call.lengths is None:
        hidden = outputs[:, -1].clone() if time else state.hidden  # it may be changed in place, A(T) not with it
    else:
        last = (call.lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, outputs.shape[2])
        hidden = outputs.gather(1, last).squeeze(1) if time else state.hidden
        hidden = torch.where(call.lengths[:, None] > 0, hidden, state.hidden)

    lengths = None if call.lengths is None else call.lengths.clone()  # of what may change until the weights are read
    decay, rate = (c.clone() if isinstance(c, Tensor) else c for c in (rule.decay, rule.rate))

    def weights() -> Tensor:
        powers = decay_powers(decay, outputs)
        if lengths is None:
            scale, first = powers[:time].flip(0)[:, None], powers[time].to(outputs)
        else:
            left = lengths[:, None] - torch.arange(1, time + 1, device=outputs.device)
            scale, first = powers[left.clamp(min=0)][..., None], powers[lengths][:, None, None].to(outputs)
        written = rate * ((outputs * scale.to(outputs)).transpose(1, 2) @ outputs)
        return written if state.is_empty else written + first * state.weights

    final = FastWeightsState(hidden, weights, backend=backend)
    if not state.is_computed:
        final.pending = state.pending + 1
        if final.pending > PENDING:  # streamed on and on and never read: do not keep all of the past for it
            _ = final.weights
            final.pending = 0
    return final
