from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.nn import learned_constants
from fastweights.nn.arguments import check_sizes
from fastweights.nn.recurrent_layer import (
    check_floats,
    describe,
    make_parameters,
    project,
    reset_parameters,
    run,
    stream_step,
)
from fastweights.ops import FastWeightsState
from fastweights.ops.state import as_state
from fastweights.rules import Cosine, Rule


class FastWeightsRNNCell(nn.Module):
    r"""One step of `FastWeightsRNN`: `hidden, weights = cell(input, (hidden, weights))`, as `nn.LSTMCell`.

    input: [batch, input_size] or [input_size]; state: a pair of hidden [batch, hidden_size] and weights [batch,
    hidden_size, hidden_size], both without the batch axis where the input has none, or None: zeros. `hidden` is the
    output. The options and the equation are those of `FastWeightsRNN`; parameters: weight_ih, weight_hh, gain, bias.

    Paper: Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258.
    """

    ran: str | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        rule: Rule = Cosine(decay=0.92, rate=1.0),  # noqa: B008 - frozen
        learned: Sequence[str] | None = None,
        inner_steps: int = 1,
        layer_norm: bool = True,
        nonlinearity: str = "relu",
        backend: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.rule, self.learned, self.inner_steps = (
            rule,
            learned_constants.check_learned(rule, learned, inner_steps),
            inner_steps,
        )
        self.layer_norm, self.nonlinearity, self.backend = layer_norm, nonlinearity, backend
        self.has_bias = bool(bias)
        make_parameters(self, "", input_size, {"device": device, "dtype": dtype})
        self.reset_parameters()

    def reset_parameters(self) -> None:
        reset_parameters(self, "")

    def forward(
        self,
        input: Tensor,
        state: tuple[Tensor, Tensor] | None = None,
        *,
        hx: tuple[Tensor, Tensor] | None = None,
    ) -> FastWeightsState:
        if isinstance(input, Tensor):
            check_floats(input)
        if not isinstance(input, Tensor) or input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            got = f"shape {list(input.shape)}" if isinstance(input, Tensor) else type(input).__name__
            raise UserError(f"input: got {got}, wanted [batch, {self.input_size}] or [{self.input_size}]")
        given = as_state(state if hx is None else hx, "FastWeightsRNNCell, state")  # hx: as nn.LSTMCell has it
        if given is not None:
            shape = [*input.shape[:-1], self.hidden_size]
            for name, tensor, wanted in (("hidden", given[0], shape), ("weights", given[1], [*shape, shape[-1]])):
                if list(tensor.shape) != wanted:
                    raise UserError(
                        f"state: got {name} {list(tensor.shape)}, wanted {wanted} to go with an input "
                        f"{list(input.shape)}"
                    )
        if not (torch.compiler.is_compiling() or torch.is_grad_enabled()) and input.dim() == 2:
            streamed = stream_step(self, "", input, given)
            if streamed is not None:
                return streamed
        if input.dim() == 1:
            lifted = None if given is None else given.map(lambda tensor: tensor[None])
            return self(input[None], lifted).map(lambda tensor: tensor[0])
        final = run(self, "", project(self, "", input)[:, None], given, None, need_state=True)[1]
        assert final is not None
        return final

    def extra_repr(self) -> str:
        return describe(self)
