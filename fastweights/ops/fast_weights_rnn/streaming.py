"""One step without a gradient, in one call: what `FastWeightsRNNCell` does when tokens come one at a time."""

from torch import Tensor
from torch.autograd import forward_ad

from fastweights.ops.cpu import limits
from fastweights.ops.cpu.limits import fits
from fastweights.ops.fast_weights_rnn import cpu_passes
from fastweights.ops.fast_weights_rnn.cpu_passes import Memory
from fastweights.ops.state import FastWeightsState


def stream(
    x: Tensor,
    projection: Tensor | None,
    projection_bias: Tensor | None,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    state: FastWeightsState | None,
    memory: Memory,
    inner_steps: int,
    nonlinearity: str,
) -> FastWeightsState | None:
    """The state after one more step; None where only the op can say what is wrong, or run it.

    x: [batch, input_size] with its projection C [hidden, input_size]; [batch, hidden], projected already, without.
    `limits.runs` has been asked before.
    """
    dtype, (batch, features), slow = x.dtype, x.shape, recurrent.shape
    units = slow[0] if slow else 0
    if not batch or not units or forward_ad._current_level >= 0:
        return None
    if not (limits.plain(x, dtype) and fits(recurrent, dtype, units, units)):
        return None
    if (gain is None) != (bias is None):
        return None
    if features != units if projection is None else not fits(projection, dtype, units, features):
        return None
    for tensor in (projection_bias, gain, bias):
        if tensor is not None and not fits(tensor, dtype, units):
            return None
    hidden = weights = None
    if state is not None:
        hidden, weights = state
        if not (fits(hidden, dtype, batch, units) and fits(weights, dtype, batch, units, units)):
            return None
    relu = nonlinearity == "relu"
    new = cpu_passes.step(
        x, projection, projection_bias, recurrent, gain, bias, hidden, weights, memory, inner_steps, relu
    )
    return FastWeightsState(*new)
