"""The recurrence line by line with the explicit matrix A(t): slow, any rule, any dtype. The truth for the others."""

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.fast_weights_rnn.call import EPSILON, Call
from fastweights.ops.state import FastWeightsState


def why_not(call: Call) -> str | None:
    return None


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    hidden, rule, inputs = call.hidden, call.rule, call.inputs
    weights = hidden.new_zeros(*hidden.shape, hidden.shape[-1]) if call.weights is None else call.weights
    valid, outputs = call.valid, []
    if valid is not None:  # not even a NaN may come out of the padding, nor a gradient go in
        inputs = torch.where(valid[..., None], inputs, 0.0)
    for t in range(inputs.shape[1]):
        inside = None if valid is None else valid[:, t, None]
        before = hidden if inside is None else torch.where(inside, hidden, 0.0)
        boundary = inputs[:, t] + before @ call.recurrent.T
        new = settle(call, boundary, weights)
        if inside is None:
            hidden, weights = new, rule.write(weights, key=new, value=new).to(weights.dtype)
            outputs.append(new)
        else:
            new = torch.where(inside, new, 0.0)
            hidden = torch.where(inside, new, hidden)
            written = rule.write(weights, key=new, value=new).to(weights.dtype)
            weights = torch.where(inside[..., None], written, weights)
            outputs.append(new)
    stacked = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(inputs)
    if not call.need_state:
        return stacked, None
    if not outputs:  # what was given stays apart from what is returned
        weights = weights.clone()
    return stacked, FastWeightsState(hidden.clone(), weights)


def settle(call: Call, boundary: Tensor, weights: Tensor) -> Tensor:
    """The inner loop of one step: from the boundary W h(t) + C x(t+1), [batch, hidden], to h(t+1)."""
    if call.inner_steps == 0:
        return nonlinearity(call, layer_norm(call, boundary))
    hidden = nonlinearity(call, boundary)
    for _ in range(call.inner_steps):
        hidden = nonlinearity(call, layer_norm(call, boundary + call.rule.read(weights, hidden)))
    return hidden


def layer_norm(call: Call, x: Tensor) -> Tensor:
    """Over the units of each sample; the identity where the call has neither gain nor bias."""
    if call.gain is None:
        return x
    return functional.layer_norm(x, x.shape[-1:], call.gain, call.bias, EPSILON)


def nonlinearity(call: Call, x: Tensor) -> Tensor:
    return torch.relu(x) if call.nonlinearity == "relu" else torch.tanh(x)
