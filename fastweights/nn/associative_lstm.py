import torch
from jaxtyping import Float
from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.nn.arguments import as_given, batched, check_sizes, embed, final, initial, pair
from fastweights.ops.associative_lstm import Recurrence
from fastweights.ops.cpu import limits

# A complex vector is its real and its imaginary part, two tensors [..., unit, batch]: with the batch as the last axis,
# all slices are contiguous and a permutation of the units copies whole rows.
Complex = tuple[Float[Tensor, "... unit batch"], Float[Tensor, "... unit batch"]]


def bound(vector: Complex) -> Complex:
    """Every complex number brought into the unit circle: z / max(1, |z|)."""
    real, imaginary = vector
    scale = (real * real + imaginary * imaginary).clamp(min=1.0).rsqrt()
    return real * scale, imaginary * scale


def multiply(left: Complex, right: Complex) -> Complex:
    """The product of complex numbers, unit by unit."""
    (a, b), (c, d) = left, right
    return a * c - b * d, a * d + b * c


def write(memory: Complex, keys: Complex, values: Complex) -> Complex:
    """The memory [copy, unit, batch] with every head's value [head, unit, batch] added under its key, which has an axis
    of copies: [head, copy, unit, batch]."""
    real, imaginary = multiply(keys, (values[0].unsqueeze(1), values[1].unsqueeze(1)))
    return memory[0] + real.sum(0), memory[1] + imaginary.sum(0)


def read(memory: Complex, keys: Complex) -> Complex:
    """What every head reads from the memory with its key, the mean over the copies: [head, unit, batch]."""
    real, imaginary = multiply(keys, memory)
    return real.mean(1), imaginary.mean(1)


class AssociativeLSTM(nn.Module):
    r"""Associative LSTM (A-LSTM): an LSTM whose cells are a holographic memory of key-value pairs, kept in copies.

        gates, keys, updates = W_x x(t) + W_h h(t-1) + b        g = sigmoid(.) for gates; r_i, r_o, u = bound(.)
        c_s(t) = g_f c_s(t-1) + sum_k (P_s r_i,k) (g_i,k u_k)                       copies s, heads k
        h(t)   = mean_k g_o,k bound( mean_s (P_s r_o,k) c_s(t) )                    bound(z) = z / max(1, |z|)

    Vectors are complex, `hidden_size` / 2 complex units given as their real parts followed by their imaginary parts,
    and their products are those of complex numbers unit by unit; gates are real, one a complex unit. It is called as
    `nn.LSTM(batch_first=True)`, but its cell state is [1, batch, num_copies, hidden]. It differs from `nn.LSTM` by
    writing under a key and reading with a key: what was written under r is read with its conjugate, plus noise from
    the other pairs, which is independent between the copies because P_s, a fixed permutation of the units a copy
    (buffer `permutations`, drawn from `seed`), shuffles the keys: its variance falls as 1 / num_copies.

    Where this goes beyond the paper, or may differ from it:
    1. Heads. Ba et al. 2016 give their A-LSTM "3 read-write heads" and do not write them down. Here a head is an input
       key, an input gate, an update, an output key and an output gate of its own; all heads write to the same memory,
       under one forget gate, and the mean of what they read is h, so that h has `hidden_size` numbers whatever
       `num_heads` is. With `num_heads=1` the equations are the paper's.
    2. The update is bounded by `bound`, as the keys are, and not by tanh.
    3. Initial values: weights uniform in +-1/sqrt(hidden), as in `nn.LSTM`; biases 0, but for `forget_bias` = 1.

    Paper: Danihelka, Wayne, Uria, Kalchbrenner, Graves 2016, https://arxiv.org/abs/1602.03032.
    """

    batch_first = True
    permutations: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_copies: int = 4,
        num_heads: int = 3,
        forget_bias: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(
            "AssociativeLSTM",
            input_size=input_size,
            hidden_size=hidden_size,
            num_copies=num_copies,
            num_heads=num_heads,
        )
        if hidden_size % 2:
            raise UserError(
                f"AssociativeLSTM: got hidden_size={hidden_size}, wanted an even number: a complex unit is two numbers"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_copies = num_copies
        self.num_heads = num_heads
        self.forget_bias = forget_bias
        units = hidden_size // 2
        # rows of the weights: forget gate; then, head by head within each, input gates, output gates, and the real and
        # the imaginary parts of updates, of input keys and of output keys
        self._sections = [units] + 8 * [num_heads * units]
        rows = sum(self._sections)
        self.weight_input = nn.Parameter(torch.empty(rows, input_size))
        self.weight_recurrent = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows))
        self.seed = seed
        self.register_buffer("permutations", torch.empty(num_copies, units, dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for weight in (self.weight_input, self.weight_recurrent):
            nn.init.uniform_(weight, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        nn.init.zeros_(self.bias)
        nn.init.constant_(self.bias[: self.hidden_size // 2], self.forget_bias)
        generator = torch.Generator().manual_seed(self.seed)
        for permutation in self.permutations:
            permutation.copy_(torch.randperm(len(permutation), generator=generator, device="cpu"))

    def copies(self, keys: Complex) -> Complex:
        """The keys [head, unit, batch] as each copy of the memory sees them, P_s r: [head, copy, unit, batch]."""
        order, shape = self.permutations.flatten(), self.permutations.shape
        real, imaginary = keys
        return real.index_select(1, order).unflatten(1, shape), imaginary.index_select(1, order).unflatten(1, shape)

    def forward(
        self,
        input: Float[Tensor, "... time input"],
        state: tuple[Float[Tensor, "1 ... hidden"], Float[Tensor, "1 ... copy hidden"]] | None = None,
    ) -> tuple[
        Float[Tensor, "... time hidden"], tuple[Float[Tensor, "1 ... hidden"], Float[Tensor, "1 ... copy hidden"]]
    ]:
        steps = batched("AssociativeLSTM", input, self.input_size)
        hidden, memory = pair("AssociativeLSTM", state)
        hidden = initial("AssociativeLSTM", "hidden state", hidden, input, self.hidden_size)
        memory = initial("AssociativeLSTM", "cell state", memory, input, self.num_copies, self.hidden_size)
        if limits.takes(steps, hidden, memory, *self._weights()) and self._fits():
            slow = self.weight_input, self.weight_recurrent, self.bias, self.permutations
            output, memory = Recurrence.apply(steps, hidden, memory, *slow)
            hidden = output[:, -1].clone()
            return (output if input.dim() == 3 else output[0]), (final(input, hidden), final(input, memory))
        # other devices and dtypes, autocast and torch.func: the equations as they stand
        if self.permutations.is_meta and not input.is_meta:  # torch would leave the result as the memory was
            raise UserError(
                f"permutations: got them on meta, wanted {input.device}; call reset_parameters, or load them"
            )
        hidden, memory = hidden.t(), memory.permute(1, 2, 0).chunk(2, dim=1)
        columns = steps.permute(2, 1, 0)  # [input, time, batch]
        inputs = torch.addmm(self.bias[:, None], self.weight_input, columns.flatten(1)).unflatten(1, columns.shape[1:])
        outputs: list[Tensor] = []
        for step in inputs.unbind(1):
            pre = torch.addmm(step, self.weight_recurrent, hidden).split(self._sections)
            forget, enter, leave, *vectors = (rows.unflatten(0, (-1, self.hidden_size // 2)) for rows in pre)
            forget, enter, leave = forget.sigmoid(), enter.sigmoid(), leave.sigmoid()
            updates, input_keys, output_keys = (bound((vectors[i], vectors[i + 1])) for i in (0, 2, 4))
            memory = (forget * memory[0], forget * memory[1])
            memory = write(memory, self.copies(input_keys), (enter * updates[0], enter * updates[1]))
            real, imaginary = bound(read(memory, self.copies(output_keys)))
            hidden = torch.cat([(leave * real).mean(0), (leave * imaginary).mean(0)])
            outputs.append(hidden.t())
        memory = torch.cat(memory, dim=1).permute(2, 0, 1)
        return as_given(input, outputs), (final(input, hidden.t()), final(input, memory))

    def last_of_symbols(self, symbols: Tensor, features: Tensor) -> tuple[Tensor, str]:
        """`self(features[symbols])[0][:, -1]`, [batch, hidden], and the backend that ran it.

        Where there are fewer symbols than features, the weights meet each symbol once, and a step picks its column.
        """
        if (
            len(features) >= self.input_size
            or symbols.shape[1] == 0
            or not (limits.takes(features, *self._weights()) and self._fits())
        ):
            inputs = embed(symbols, features)
            ran = "cpu" if limits.takes(inputs, *self._weights()) and self._fits() else "torch"
            return self(inputs)[0][:, -1], ran
        steps = embed(symbols, torch.eye(len(features), dtype=features.dtype, device=features.device))
        hidden = features.new_zeros(len(symbols), self.hidden_size)
        memory = features.new_zeros(len(symbols), self.num_copies, self.hidden_size)
        slow = self.weight_input @ features.t(), self.weight_recurrent, self.bias, self.permutations
        return Recurrence.apply(steps, hidden, memory, *slow)[0][:, -1], "cpu"

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weight_input, self.weight_recurrent, self.bias

    def _fits(self) -> bool:
        """Whether the kernels, which do not look where they read, have all numbers; else torch says what is wrong."""
        rows, units = sum(self._sections), self.hidden_size // 2
        wanted = [(rows, self.input_size), (rows, self.hidden_size), (rows,), (self.num_copies, units)]
        given = (*self._weights(), self.permutations)
        return all(each.shape == shape for each, shape in zip(given, wanted, strict=True)) and limits.plain(
            self.permutations, torch.int64
        )

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, num_copies={self.num_copies}, num_heads={self.num_heads}, "
            f"forget_bias={self.forget_bias:g}"
        )
