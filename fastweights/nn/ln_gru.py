import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fastweights.nn.arguments import as_given, batched, check_sizes, final, initial
from fastweights.ops.layer_norm import cut_at_zero


class LNGRU(nn.Module):
    r"""A layer-normalised GRU: the recurrent and the input pre-activations are normalised separately.

        (z, r) = LN(W_h h(t-1)) + LN(W_x x(t))                 each gate reads its own half of the pre-activations
        c      = tanh(LN(W x(t)) + sigmoid(r) * LN(U h(t-1)))
        h(t)   = (1 - sigmoid(z)) h(t-1) + sigmoid(z) c

    It is called as `nn.GRU(batch_first=True)`: `output, state = rnn(input, state)`, state [1, batch, hidden]. It
    differs from `nn.GRU` by the four layer norms (statistics over the 2 * hidden pre-activations of both gates
    together, over the hidden ones of the candidate; epsilon 1e-5; each with its own gain and bias, and no other bias),
    and in that an open update gate z lets the candidate in, where PyTorch's keeps the old hidden vector.

    The rows of the weights, gains and biases are update gate z, reset gate r, candidate, in this order. At first the
    gains are 1 and the biases 0; the recurrent weights are orthogonal, gate by gate; the input weights are uniform in
    +-1/sqrt(hidden). Their scale cancels in the layer norm, so pre-activations have unit variance from the start.
    No gradient comes back through the layer norm of a vector that is exactly zero (padding in front), where its slope
    is 316.

    Paper: Ba, Kiros, Hinton 2016, https://arxiv.org/abs/1607.06450 (supplementary, equations 26-28).
    """

    batch_first = True

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        check_sizes("LNGRU", input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.weight_input = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_recurrent = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.gain_input = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_input = nn.Parameter(torch.empty(3 * hidden_size))
        self.gain_recurrent = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_recurrent = nn.Parameter(torch.empty(3 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight_input, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        for block in self.weight_recurrent.chunk(3):
            nn.init.orthogonal_(block)
        for gain, bias in ((self.gain_input, self.bias_input), (self.gain_recurrent, self.bias_recurrent)):
            nn.init.ones_(gain)
            nn.init.zeros_(bias)

    def forward(
        self, input: Float[Tensor, "... time input"], state: Float[Tensor, "1 ... hidden"] | None = None
    ) -> tuple[Float[Tensor, "... time hidden"], Float[Tensor, "1 ... hidden"]]:
        steps = cut_at_zero(batched("LNGRU", input, self.input_size).transpose(0, 1))
        hidden = initial("LNGRU", "state", state, input, self.hidden_size)
        both, one = (2 * self.hidden_size,), (self.hidden_size,)
        sizes = [2 * self.hidden_size, self.hidden_size]
        to_gates, to_candidate = self.weight_input.split(sizes)
        gates_gain, candidate_gain = self.gain_input.split(sizes)
        gates_bias, candidate_bias = self.bias_input.split(sizes)
        gates_in = functional.layer_norm(functional.linear(steps, to_gates), both, gates_gain, gates_bias)
        candidates_in = functional.layer_norm(
            functional.linear(steps, to_candidate), one, candidate_gain, candidate_bias
        )
        to_gates, to_candidate = (block.t() for block in self.weight_recurrent.split(sizes))
        gates_gain, candidate_gain = self.gain_recurrent.split(sizes)
        gates_bias, candidate_bias = self.bias_recurrent.split(sizes)
        hidden = hidden.to(gates_in.dtype)  # under autocast it is not that of the input
        outputs: list[Tensor] = []
        for gate_in, candidate_in in zip(gates_in.unbind(), candidates_in.unbind(), strict=True):
            before = cut_at_zero(hidden)
            # in place where the backward pass needs the result alone: nn.GRU does so too
            gates = functional.layer_norm(before @ to_gates, both, gates_gain, gates_bias).add_(gate_in).sigmoid_()
            update, reset = gates.unsafe_chunk(2, dim=-1)
            recall = functional.layer_norm(before @ to_candidate, one, candidate_gain, candidate_bias)
            hidden = torch.lerp(hidden, torch.addcmul(candidate_in, reset, recall).tanh_(), update)
            outputs.append(hidden)
        return as_given(input, outputs), final(input, hidden)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"
