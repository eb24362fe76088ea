"""One call of the op, checked: what every backend is handed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastweights.ops.lengths import check_lengths
from fastweights.ops.past import PastState
from fastweights.ops.state import FastWeightsState, as_state

NONLINEARITIES = ("relu", "tanh")


@dataclass(frozen=True)
class Call:
    """The arguments of `fast_weights_rnn` after the checks."""

    inputs: Tensor  # [batch, time, hidden]
    recurrent: Tensor  # [hidden, hidden]
    gain: Tensor | None  # [hidden]
    bias: Tensor | None  # [hidden]
    hidden: Tensor  # [batch, hidden], h(0)
    weights: Tensor | None  # [batch, hidden, hidden], A(0); None: zeros, which need not be read
    rule: Any
    inner_steps: int
    nonlinearity: str
    lengths: Tensor | None  # [batch], int64, on the device of the inputs
    need_state: bool = True
    past: Tensor | None = None  # [batch, steps, hidden], what A(0) was written of, the last of which is h(0)

    @property
    def valid(self) -> Tensor | None:
        """[batch, time], true where a step lies inside its sequence."""
        if self.lengths is None:
            return None
        return torch.arange(self.inputs.shape[1], device=self.inputs.device) < self.lengths[:, None]


def check(
    inputs: Tensor,
    recurrent: Tensor,
    gain: Tensor | None,
    bias: Tensor | None,
    state: FastWeightsState | PastState | None,
    rule: Any,
    inner_steps: int,
    nonlinearity: str,
    lengths: Tensor | None,
    need_state: bool = True,
) -> Call:
    if not isinstance(inputs, Tensor) or inputs.dim() != 3:
        got = f"shape {list(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"inputs: got {got}, wanted a tensor [batch, time, hidden]")
    if not inputs.dtype.is_floating_point:
        raise ValueError(f"inputs: got {inputs.dtype}, wanted a floating-point tensor")
    batch, _, hidden = inputs.shape
    if hidden == 0:
        raise ValueError("inputs: got 0 hidden units, wanted at least 1")
    if (gain is None) != (bias is None):
        given, missing = ("gain", "bias") if bias is None else ("bias", "gain")
        raise ValueError(f"got a {given} and no {missing}, wanted both (layer norm) or neither (no layer norm)")
    _check_tensor("recurrent", recurrent, inputs, hidden, hidden)
    if gain is not None and bias is not None:
        _check_tensor("gain", gain, inputs, hidden)
        _check_tensor("bias", bias, inputs, hidden)
    past = None
    if isinstance(state, PastState):
        past = state.past
        _check_tensor("state.past", past, inputs, batch, past.shape[1] if past.dim() == 3 else "steps", hidden)
        first, weights = state.hidden, None
    else:
        state = as_state(state)
        if state is not None:
            _check_tensor("state.hidden", state.hidden, inputs, batch, hidden)
            _check_tensor("state.weights", state.weights, inputs, batch, hidden, hidden)
        first, weights = (inputs.new_zeros(batch, hidden), None) if state is None else state
    check_settings(rule, inner_steps, nonlinearity)
    if lengths is not None:
        lengths = check_lengths(lengths, inputs)
    settings = (rule, inner_steps, nonlinearity, lengths, need_state, past)
    return Call(inputs, recurrent, gain, bias, first, weights, *settings)


def check_settings(rule: Any, inner_steps: int, nonlinearity: str) -> None:
    if isinstance(inner_steps, bool) or not isinstance(inner_steps, int) or inner_steps < 0:
        raise ValueError(f"inner_steps: got {inner_steps!r}, wanted an integer >= 0")
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"nonlinearity: got {nonlinearity!r}, wanted 'relu' or 'tanh'")
    if isinstance(rule, type) or not all(callable(getattr(rule, name, None)) for name in ("write", "read")):
        raise TypeError(f"rule: got {rule!r}, wanted an update rule, such as Hebbian(decay=0.95, rate=0.5)")


def _check_tensor(name: str, tensor: Tensor, inputs: Tensor, *shape: int | str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: got {type(tensor).__name__}, wanted a tensor {list(shape)}")
    if tensor.shape != shape:
        raise ValueError(
            f"{name}: got shape {list(tensor.shape)}, wanted {list(shape)} to go with inputs {list(inputs.shape)}"
        )
    if tensor.dtype != inputs.dtype or tensor.device != inputs.device:
        raise ValueError(
            f"{name}: got {tensor.dtype} on {tensor.device}, wanted {inputs.dtype} on {inputs.device} as the inputs"
        )
