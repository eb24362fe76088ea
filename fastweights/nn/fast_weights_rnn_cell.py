from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastweights.nn import learned_constants
from fastweights.nn.arguments import check_sizes
from fastweights.nn.fast_weights_layer import (
    describe,
    make_parameters,
    project,
    reset_parameters,
    run,
    stream_step,
)
from fastweights.ops import FastWeightsState
from fastweights.rules import Hebbian, Rule


class FastWeightsRNNCell(nn.Module):
    r"""One step of `FastWeightsRNN`: `state = cell(input, state)`, as `nn.GRUCell`, with a state in place of h.

    input: [batch, input_size] or [input_size]; state: a `FastWeightsState` with hidden [batch, hidden_size] (or
    [hidden_size]), a plain tensor (an empty memory), or None. `state.hidden` is the output. The options and the
    equation are those of `FastWeightsRNN`; parameters: weight_ih, weight_hh, gain, bias.

    Paper: Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rule: Rule = Hebbian(decay=0.95, rate=0.5),  # noqa: B008 - frozen
        learned: Sequence[str] = (),
        inner_steps: int = 1,
        layer_norm: bool = True,
        nonlinearity: str = "relu",
        backend: str = "auto",
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.rule, self.learned, self.inner_steps = rule, learned_constants.check_learned(rule, learned), inner_steps
        self.layer_norm, self.nonlinearity, self.backend = layer_norm, nonlinearity, backend
        self.has_bias = bool(bias)
        make_parameters(self, "", input_size, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def reset_parameters(self) -> None:
        reset_parameters(self, "")

    def forward(
        self,
        input: Tensor,
        state: FastWeightsState | Tensor | None = None,
        *,
        hx: FastWeightsState | Tensor | None = None,
    ) -> FastWeightsState:
        state = state if hx is None else hx  # the name that nn.GRUCell has for it
        if not isinstance(input, Tensor) or input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            got = f"shape {list(input.shape)}" if isinstance(input, Tensor) else type(input).__name__
            raise ValueError(f"input: got {got}, wanted [batch, {self.input_size}] or [{self.input_size}]")
        if isinstance(state, Tensor):
            state = FastWeightsState(state)
        if state is not None and not isinstance(state, FastWeightsState):
            raise TypeError(f"state: got {type(state).__name__}, wanted a FastWeightsState, a tensor or None")
        if not torch.is_grad_enabled() and input.dim() == 2:
            streamed = stream_step(self, "", input, state)
            if streamed is not None:
                return streamed
        if input.dim() == 1:
            lifted = None if state is None else state.map(lambda tensor: tensor[None])
            return self(input[None], lifted).map(lambda tensor: tensor[0])
        return run(self, "", project(self, "", input)[:, None], state, None)[1]

    def extra_repr(self) -> str:
        return describe(self)
