"""One step without a gradient, in one call: what `FastWeightsRNNCell` does when tokens come one at a time."""

from typing import Any

from torch import Tensor
from torch.autograd import forward_ad

from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_rnn import cpu_passes
from fastweights.ops.state import FastWeightsState
from fastweights.rules import Hebbian


def stream(
    x: Tensor,
    projection: Tensor | None,
    projection_bias: Tensor | None,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    state: FastWeightsState | None,
    rule: Any,
    inner_steps: int,
    nonlinearity: str,
) -> FastWeightsState | None:
    """The state after one more step; None where only the op can say what is wrong, or run it.

    x: [batch, input_size] with its projection C [hidden, input_size]; [batch, hidden], projected already, without.
    """
    dtype, batch, units = x.dtype, x.shape[0], recurrent.shape[0]
    hidden = weights = None
    if state is not None:
        hidden = state.hidden
        weights = None if state.is_empty else state.weights
        if hidden.dtype is not dtype or not hidden.is_cpu or hidden.shape != (batch, units):
            return None
        if weights is not None and (weights.dtype is not dtype or not weights.is_cpu):
            return None
    if type(rule) is not Hebbian or not batch or not limits.runs(dtype) or forward_ad._current_level >= 0:
        return None
    for tensor in (x, projection, projection_bias, recurrent, gain, bias):
        if tensor is not None and (tensor.dtype is not dtype or not tensor.is_cpu):
            return None
    constants = (float(rule.decay), float(rule.rate))
    relu = nonlinearity == "relu"
    new = cpu_passes.step(
        x, projection, projection_bias, recurrent, gain, bias, hidden, weights, constants, inner_steps, relu
    )
    return FastWeightsState.of(*new, "cpu")
