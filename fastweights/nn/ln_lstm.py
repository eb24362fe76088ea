import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fastweights.nn.arguments import as_given, batched, check_sizes, final, initial, pair
from fastweights.ops.layer_norm import cut_at_zero


class LNLSTM(nn.Module):
    r"""A layer-normalised LSTM: recurrent and input pre-activations are normalised separately, and the cell is.

        (f, i, o, g) = LN(W_h h(t-1)) + LN(W_x x(t)) + b
        c(t) = sigmoid(f) c(t-1) + sigmoid(i) tanh(g)
        h(t) = sigmoid(o) tanh(LN(c(t)))

    It is called as `nn.LSTM(batch_first=True)`: `output, (hidden, cell) = rnn(input, (hidden, cell))`, both
    [1, batch, hidden]. It differs from `nn.LSTM` by the three layer norms (statistics over the 4 * hidden
    pre-activations together, and over the cells; epsilon 1e-5; each with its own gain and bias); the cell that is
    carried on is not normalised, only what the output gate reads.

    The rows of the weights, gains and biases are forget gate f, input gate i, output gate o, cell input g. At first
    the gains are 1 and the biases 0, but for `forget_bias` in the forget gate's part of b: 0 is the paper, 1 lets a
    cell last longer at the start. The recurrent weights are orthogonal, gate by gate; the input weights are uniform in
    +-1/sqrt(hidden); the scale of both cancels in the layer norm. No gradient comes back through the layer norm of a
    vector that is exactly zero (padding in front), where its slope is 316.

    Paper: Ba, Kiros, Hinton 2016, https://arxiv.org/abs/1607.06450 (supplementary, equations 20-22).
    """

    batch_first = True

    def __init__(self, input_size: int, hidden_size: int, *, forget_bias: float = 0.0) -> None:
        super().__init__()
        check_sizes("LNLSTM", input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.forget_bias = forget_bias
        self.weight_input = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_recurrent = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_input = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_input = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_recurrent = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_recurrent = nn.Parameter(torch.empty(4 * hidden_size))
        self.gain_cell = nn.Parameter(torch.empty(hidden_size))
        self.bias_cell = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight_input, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        for block in self.weight_recurrent.chunk(4):
            nn.init.orthogonal_(block)
        for gain in (self.gain_input, self.gain_recurrent, self.gain_cell):
            nn.init.ones_(gain)
        for bias in (self.bias, self.bias_input, self.bias_recurrent, self.bias_cell):
            nn.init.zeros_(bias)
        nn.init.constant_(self.bias[: self.hidden_size], self.forget_bias)

    def forward(
        self,
        input: Float[Tensor, "... time input"],
        state: tuple[Float[Tensor, "1 ... hidden"], Float[Tensor, "1 ... hidden"]] | None = None,
    ) -> tuple[Float[Tensor, "... time hidden"], tuple[Float[Tensor, "1 ... hidden"], Float[Tensor, "1 ... hidden"]]]:
        steps = batched("LNLSTM", input, self.input_size).transpose(0, 1)
        hidden, cell = pair("LNLSTM", state)
        hidden = initial("LNLSTM", "hidden state", hidden, input, self.hidden_size)
        cell = initial("LNLSTM", "cell state", cell, input, self.hidden_size)
        every, one = (4 * self.hidden_size,), (self.hidden_size,)
        inputs = functional.linear(cut_at_zero(steps), self.weight_input)
        inputs = functional.layer_norm(inputs, every, self.gain_input, self.bias_input + self.bias)
        weight = self.weight_recurrent.t()
        outputs: list[Tensor] = []
        for step in inputs.unbind():
            before = cut_at_zero(hidden)
            # in place where the backward pass needs the result alone: nn.LSTM does so too
            pre = functional.layer_norm(before @ weight, every, self.gain_recurrent, self.bias_recurrent).add_(step)
            gates, candidate = pre.unsafe_split_with_sizes([3 * self.hidden_size, self.hidden_size], dim=-1)
            forget, enter, leave = gates.sigmoid_().unsafe_chunk(3, dim=-1)
            cell = torch.addcmul(forget * cell, enter, candidate.tanh_())
            hidden = leave * functional.layer_norm(cut_at_zero(cell), one, self.gain_cell, self.bias_cell).tanh_()
            outputs.append(hidden)
        return as_given(input, outputs), (final(input, hidden), final(input, cell))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, forget_bias={self.forget_bias:g}"
