import torch
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.nn.arguments import embed
from fastweights.ops.cpu import limits
from fastweights.ops.lstm import LastHidden


class LSTM(nn.LSTM):
    r"""`nn.LSTM(input_size, hidden_size, batch_first=True)`, which reads symbols by kernels on a CPU.

        i, f, g, o = W_x x(t) + b_x + W_h h(t-1) + b_h
        c(t) = sigmoid(f) c(t-1) + sigmoid(i) tanh(g)
        h(t) = sigmoid(o) tanh(c(t))

    Its parameters have the names, the order and the first values of those of `nn.LSTM`, and it is called with, and
    returns, the same. With a `forget_bias` the biases are 0 at first, but for the forget gate's, which add up to it: at
    `nn.LSTM`'s a cell halves at every step before anything is learnt, at 1 it keeps 0.73 of itself. `backend="torch"`
    leaves symbols to `nn.LSTM`, too, which has a second derivative.

    Paper: Hochreiter, Schmidhuber 1997; Gers, Schmidhuber, Cummins 2000 (the forget gate);
    Jozefowicz, Zaremba, Sutskever 2015 (its bias 1 at first).
    """

    forget_bias: float | None = None

    def __init__(
        self, input_size: int, hidden_size: int, *, forget_bias: float | None = None, backend: str = "auto"
    ) -> None:
        if backend not in ("auto", "torch"):
            raise ValueError(f"LSTM: got backend={backend!r}, wanted 'auto' or 'torch'")
        super().__init__(input_size, hidden_size, batch_first=True)
        self.backend = backend
        self.forget_bias = forget_bias
        self._set_biases()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self._set_biases()

    def _set_biases(self) -> None:
        if self.forget_bias is not None:
            _, _, *biases = self.all_weights[0]
            for bias in biases:
                nn.init.zeros_(bias)
            nn.init.constant_(biases[0][self.hidden_size : 2 * self.hidden_size], self.forget_bias)

    def check_forward_args(self, input: Tensor, hidden: tuple[Tensor, Tensor], batch_sizes: Tensor | None) -> None:
        """As `nn.LSTM`, which on a CPU does not look at the shape of its weights and writes past their ends."""
        super().check_forward_args(input, hidden, batch_sizes)
        for name, weight, shape in zip(self._flat_weights_names, self._flat_weights, self._shapes(), strict=True):
            if weight is not None and weight.shape != shape:
                raise UserError(f"LSTM: got {name} of shape {list(weight.shape)}, wanted {list(shape)}")

    def _shapes(self) -> list[tuple[int, ...]]:
        rows = 4 * self.hidden_size
        return [(rows, self.input_size), (rows, self.hidden_size), (rows,), (rows,)]

    def last_of_symbols(self, symbols: Tensor, features: Tensor) -> tuple[Tensor, str]:
        """`self(features[symbols])[0][:, -1]`, [batch, hidden], and what computed it.

        symbols: [batch, time] integers; features: [number of symbols, input_size]. Raises IndexError where features
        has no such symbol. On a CPU a training step takes some 0.6 of what it takes with `nn.LSTM` (`python
        benchmarks/cpu_kernel.py baselines`); `forward` is not called there, nor are hooks on it.
        """
        into, recurrent, *biases = self.all_weights[0]
        if (
            self.backend == "auto"
            and limits.takes(features, into, recurrent, *biases)
            and self._fits(symbols, features)
        ):
            table = torch.addmm((biases[0] + biases[1])[:, None], into, features.t())
            return LastHidden.apply(table, recurrent, symbols), "cpu"
        return self(embed(symbols, features))[0][..., -1, :], "torch"

    def _fits(self, symbols: Tensor, features: Tensor) -> bool:
        """Whether the kernels, which do not look where they read, have all the numbers; else `nn.LSTM` says what is
        wrong."""
        return (
            all(weight.shape == shape for weight, shape in zip(self.all_weights[0], self._shapes(), strict=True))
            and features.dim() == 2
            and len(features) > 0
            and features.shape[1] == self.input_size
            and type(symbols) is Tensor
            and symbols.is_cpu
            and symbols.dtype in (torch.int32, torch.int64)
            and symbols.dim() == 2
            and symbols.numel() > 0
        )

    def extra_repr(self) -> str:
        given = "" if self.forget_bias is None else f", forget_bias={self.forget_bias:g}"
        return super().extra_repr() + given
