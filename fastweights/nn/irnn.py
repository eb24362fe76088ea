import torch
from jaxtyping import Float
from torch import Tensor, nn

from fastweights.nn.arguments import batched, check_sizes, embed, initial
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_rnn.symbols import last_hidden
from fastweights.rules import Hebbian


class IRNN(nn.Module):
    r"""A plain ReLU network whose recurrent weights start at a multiple of the identity.

        h(t) = relu(W h(t-1) + C x(t) + b)        at first W = recurrent_scale I, b = 0, C uniform in +-1/sqrt(hidden)

    It is called as `nn.RNN(batch_first=True)`: `output, state = rnn(input, state)`, state [1, batch, hidden]. It
    differs from `nn.RNN(nonlinearity="relu")`, which computes it (in `rnn`, whose two bias vectors add up to b), by
    the initial values alone. `recurrent_scale` is 0.5 in the table of Ba et al. 2016 and 1 in the paper that named it.
    `backend="torch"` leaves symbols to `nn.RNN`, too, which has a second derivative (see `last_of_symbols`).

    Paper: Le, Jaitly, Hinton 2015, https://arxiv.org/abs/1504.00941; initial values of Ba, Hinton, Mnih, Leibo,
    Ionescu 2016, https://arxiv.org/abs/1610.06258 (appendix A.1).
    """

    batch_first = True

    def __init__(
        self, input_size: int, hidden_size: int, *, recurrent_scale: float = 0.5, backend: str = "auto"
    ) -> None:
        super().__init__()
        check_sizes("IRNN", input_size=input_size, hidden_size=hidden_size)
        if backend not in ("auto", "torch"):
            raise ValueError(f"IRNN: got backend={backend!r}, wanted 'auto' or 'torch'")
        self.backend = backend
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.recurrent_scale = recurrent_scale
        self.rnn = nn.RNN(input_size, hidden_size, nonlinearity="relu", batch_first=True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        into, recurrent, *biases = self.rnn.all_weights[0]
        nn.init.uniform_(into, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        with torch.no_grad():
            nn.init.eye_(recurrent).mul_(self.recurrent_scale)
        for bias in biases:
            nn.init.zeros_(bias)

    def forward(
        self, input: Float[Tensor, "... time input"], state: Float[Tensor, "1 ... hidden"] | None = None
    ) -> tuple[Float[Tensor, "... time hidden"], Float[Tensor, "1 ... hidden"]]:
        batched("IRNN", input, self.input_size)
        initial("IRNN", "state", state, input, self.hidden_size)
        return self.rnn(input, state)

    def last_of_symbols(self, symbols: Tensor, features: Tensor) -> tuple[Tensor, str]:
        """`self(features[symbols])[0][:, -1]`, [batch, hidden], and what computed it.

        On a CPU by the kernels of `fast_weights_rnn`, without an inner loop: a training step takes about half of what
        it takes with `nn.RNN` (`python benchmarks/cpu_kernel.py baselines`).
        """
        into, recurrent, *biases = self.rnn.all_weights[0]
        fits = all(limits.readable(bias, features.dtype) and bias.shape == into.shape[:1] for bias in biases)
        if self.backend == "auto" and fits:
            settings = (Hebbian(), 0, "relu")
            last = last_hidden(features, into, biases[0] + biases[1], symbols, recurrent, None, None, *settings)
            if last is not None:
                return last, "cpu"
        return self(embed(symbols, features))[0][..., -1, :], "torch"

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, recurrent_scale={self.recurrent_scale:g}"
