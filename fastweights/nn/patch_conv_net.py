import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UserError
from fastweights.nn.arguments import as_given, batched, check_sizes


class PatchConvNet(nn.Module):
    r"""A convolutional network over a sequence of patches, with no recurrence: what a reader of glimpses is held to.

        f_0(t) = relu(W_0 x(t) + b_0)                                      the same weights for every patch
        f_n(t) = relu(W_n [f_n-1(k t), ..., f_n-1(k t + k - 1)] + b_n)     k = joins[n-1] neighbours become one

    The first layer is a convolution of the picture whose kernel is a patch and whose stride is one, too. The others
    join neighbours: by joins=(6, 4) the six glimpses of a quadrant, then the four quadrants. Missing neighbours at the
    end are zeros, and of what is left over in time the mean is taken.

    It is called as `nn.RNN(batch_first=True)` is, `output, None = net(input)`. The output [batch, time, hidden] is the
    last layer, the same at every step: each step knows the whole sequence, so that only an answer at the end is one.

    Paper: the ConvNet that is compared in Ba, Hinton, Mnih, Leibo, Ionescu 2016, https://arxiv.org/abs/1610.06258
    (section 4.2), which says that it has three layers and the same patches, and no more.
    """

    batch_first = True

    def __init__(self, input_size: int, hidden_size: int, *, joins: Sequence[int] = (6, 4)) -> None:
        super().__init__()
        check_sizes("PatchConvNet", input_size=input_size, hidden_size=hidden_size)
        if not joins or any(isinstance(each, bool) or not isinstance(each, int) or each < 1 for each in joins):
            raise UserError(f"PatchConvNet: got joins={tuple(joins)!r}, wanted integers >= 1")
        self.input_size, self.hidden_size, self.joins = input_size, hidden_size, tuple(joins)
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(hidden_size))
        self.joining = nn.ModuleList(nn.Linear(each * hidden_size, hidden_size) for each in joins)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Weights of a variance of two over the fan in (He et al. 2015), but for those of the input, as in all
        networks here; biases 0."""
        nn.init.uniform_(self.weight_ih_l0, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        nn.init.zeros_(self.bias_ih_l0)
        for layer in self.joining:
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            bound = math.sqrt(6 / weight.shape[1])
            nn.init.uniform_(weight, -bound, bound)
            nn.init.zeros_(bias)

    def forward(
        self, input: Float[Tensor, "... time input"], state: None = None
    ) -> tuple[Float[Tensor, "... time hidden"], None]:
        if state is not None:
            raise UserError("PatchConvNet: got a state, wanted none: it has no recurrence")
        x = batched("PatchConvNet", input, self.input_size)
        features = functional.linear(x, self.weight_ih_l0, self.bias_ih_l0).relu()
        for count, layer in zip(self.joins, self.joining, strict=True):
            if missing := -features.shape[1] % count:
                features = functional.pad(features, (0, 0, 0, missing))
            features = layer(features.reshape(len(features), -1, count * self.hidden_size)).relu()
        last = features[:, 0] if features.shape[1] == 1 else features.mean(1)
        return as_given(input, [last] * x.shape[1]), None

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, joins={self.joins}"
