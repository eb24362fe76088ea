"""The recurrence line by line with the explicit matrix A(t): slow, any rule, any dtype. The truth for the others."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.ops.fast_weights_rnn.call import Call
from fastweights.ops.layer_norm import EPSILON, cut_at_zero
from fastweights.ops.state import FastWeightsState


def why_not(call: Call) -> str | None:
    return None


def run(call: Call) -> tuple[Tensor, FastWeightsState | None]:
    hidden, weights = call.hidden, first_weights(call)
    (inputs, valid), outputs = masked(call), []
    for t in range(inputs.shape[1]):
        inside = None if valid is None else valid[:, t]
        output, hidden, weights = step(call, inputs[:, t], inside, hidden, weights)
        outputs.append(output)
    stacked = torch.stack(outputs, dim=1) if outputs else torch.zeros_like(inputs)
    if not call.need_state:
        return stacked, None
    if not outputs:  # what was given stays apart from what is returned
        weights = weights.clone()
    return stacked, FastWeightsState(hidden.clone(), weights)


def first_weights(call: Call) -> Tensor:
    if call.weights is not None:
        return call.weights
    weights = call.hidden.new_zeros(*call.hidden.shape, call.hidden.shape[-1])
    for hidden in () if call.past is None else call.past.unbind(1):
        weights = call.rule.write(weights, key=hidden, value=hidden).to(weights.dtype)
    return weights


def masked(call: Call) -> tuple[Tensor, Tensor | None]:
    """The inputs, zero past a sequence's end, and which steps lie inside: not even a NaN may come out of the padding,
    nor a gradient go in."""
    valid = call.valid
    return call.inputs if valid is None else torch.where(valid[..., None], call.inputs, 0.0), valid


def step(
    call: Call, x: Tensor, inside: Tensor | None, hidden: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: its output, h(t+1) and A(t+1), from C x(t+1), h(t) and A(t). inside: [batch], None: all samples are."""
    if inside is None:
        new = settle(call, x + hidden @ call.recurrent.T, weights)
        return new, new, call.rule.write(weights, key=new, value=new).to(weights.dtype)
    inside = inside[:, None]
    new = settle(call, x + torch.where(inside, hidden, 0.0) @ call.recurrent.T, weights)
    new = torch.where(inside, new, 0.0)
    written = call.rule.write(weights, key=new, value=new).to(weights.dtype)
    return new, torch.where(inside, new, hidden), torch.where(inside[..., None], written, weights)


def settle(call: Call, boundary: Tensor, weights: Tensor) -> Tensor:
    """The inner loop of one step: from the boundary W h(t) + C x(t+1), [batch, hidden], to h(t+1)."""
    if call.inner_steps == 0:
        return nonlinearity(call, layer_norm(call, boundary))
    hidden = nonlinearity(call, boundary)
    for _ in range(call.inner_steps):
        read = call.rule.read(weights, hidden)
        hidden = nonlinearity(call, layer_norm(call, boundary + bounded(call.rule, read, boundary)))
    return hidden


def bounded(rule: Any, read: Tensor, boundary: Tensor) -> Tensor:
    """What a read adds to the boundary: itself, where the rule does not say."""
    return rule.bound(read, boundary) if hasattr(rule, "bound") else read


def layer_norm(call: Call, x: Tensor) -> Tensor:
    """Over the units of each sample; the identity where the call has neither gain nor bias."""
    if call.gain is None:
        return x
    return functional.layer_norm(cut_at_zero(x), x.shape[-1:], call.gain, call.bias, EPSILON)


def nonlinearity(call: Call, x: Tensor) -> Tensor:
    return torch.relu(x) if call.nonlinearity == "relu" else torch.tanh(x)
