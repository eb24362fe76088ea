"""A cell of one's own: `fastweights train examples.minimal_gated_unit:MinimalGatedUnit`."""

import torch
from torch import Tensor, nn


class MinimalGatedUnit(nn.Module):
    r"""A GRU with one gate.

        f(t) = sigmoid(W_f x(t) + U_f h(t-1));  c(t) = tanh(W_c x(t) + U_c (f(t) h(t-1)))
        h(t) = (1 - f(t)) h(t-1) + f(t) c(t)

    Paper: Zhou, Wu, Zhang, Zhou 2016, https://arxiv.org/abs/1603.09420.
    """

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool = True) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(2 * hidden_size, input_size))  # named as in nn.GRU
        self.gate, self.candidate = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        nn.init.uniform_(self.weight_ih_l0, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps = (inputs @ self.weight_ih_l0.T).chunk(2, dim=-1)  # [batch, time, hidden] each
        hidden = torch.zeros_like(steps[0][:, 0]) if state is None else state
        outputs = []
        for to_gate, to_candidate in zip(*(each.unbind(1) for each in steps), strict=True):
            forget = torch.sigmoid(to_gate + self.gate(hidden))
            hidden = torch.lerp(hidden, torch.tanh(to_candidate + self.candidate(forget * hidden)), forget)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), hidden
