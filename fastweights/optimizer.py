"""Adam over one flat buffer: clipping is one norm, the update one fused call, whatever the number of parameters."""

import math
from collections.abc import Sequence
from itertools import accumulate, groupby

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class FlatAdam:
    """Adam with clipping by global norm; the parameters of `module` become views of one buffer.

        g = gradient * min(1, clip / |gradient|)
        m = 0.9 m + 0.1 g;  v = 0.999 v + 0.001 g^2
        parameters -= learning_rate / (1 - 0.9^step) * m / (sqrt(v / (1 - 0.999^step)) + 1e-8)

    It differs from `torch.optim.Adam(fused=True)` by what surrounds the kernel, which is the same: there it costs ten
    times the kernel at 5,000 parameters. Gradients are gathered and given up (`parameter.grad` is None afterwards), so
    that the next backward pass hands its own over instead of adding to zeros.

    shares: what the learning rate is multiplied by, for each parameter in the order of `module.parameters()`; none: 1.
    decays: weight decay of each, apart from the gradient: parameters *= 1 - learning_rate * decay before the update;
        none: 0. (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.)

    Paper: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        clip: float,
        shares: Sequence[float] | None = None,
        decays: Sequence[float] | None = None,
    ) -> None:
        every = list(module.parameters())
        settings = zip(shares or [1.0] * len(every), decays or [0.0] * len(every), strict=True)
        chosen = [(p, both) for p, both in zip(every, settings, strict=True) if p.requires_grad]
        self.parameters = [p for p, _ in chosen]
        if len({(p.dtype, p.device) for p in self.parameters}) > 1:
            raise ValueError("FlatAdam: got parameters of several dtypes or devices, wanted one of each")
        self.learning_rate, self.clip = learning_rate, clip
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.gradient, self.mean, self.square = (torch.zeros_like(self.flat) for _ in range(3))
        self.steps = torch.zeros((), device=self.flat.device)
        ends = accumulate(p.numel() for p in self.parameters)
        places = [slice(end - p.numel(), end) for p, end in zip(self.parameters, ends, strict=True)]
        self.parts: list[tuple[float, float, list[list[Tensor]]]] = []  # neighbours of the same settings are one part
        for (share, decay), group in groupby(zip(chosen, places, strict=True), key=lambda each: each[0][1]):
            several = [place for _, place in group]
            part = slice(several[0].start, several[-1].stop)
            self.parts.append((share, decay, [[t[part]] for t in (self.flat, self.gradient, self.mean, self.square)]))
        self.views = [self.gradient[place].view_as(p) for p, place in zip(self.parameters, places, strict=True)]
        for parameter, place in zip(self.parameters, places, strict=True):
            parameter.data = self.flat[place].view_as(parameter)
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float | None = None) -> float:
        """One update from the gradients that have gathered; returns their norm before clipping and gives them up.

        A norm that is not finite updates nothing: the caller reads it and decides.
        """
        self._gather()
        norm = float(torch.linalg.vector_norm(self.gradient))
        if norm > self.clip:
            self.gradient.mul_(self.clip / norm)
        if math.isfinite(norm):
            self.steps += 1
            rate = self.learning_rate if learning_rate is None else learning_rate
            for share, decay, tensors in self.parts:
                torch._fused_adamw_(  # what torch.optim.AdamW(fused=True) calls  # pyright: ignore
                    *tensors, [], [self.steps], lr=rate * share, beta1=BETAS[0], beta2=BETAS[1], weight_decay=decay,
                    eps=EPSILON, amsgrad=False, maximize=False,
                )  # fmt: skip
        return norm

    def _gather(self) -> None:
        gradients = [p.grad for p in self.parameters]
        given = [g for g in gradients if g is not None]
        views = self.views
        if len(given) < len(gradients):  # what took no part in the loss has a gradient of zero
            self.gradient.zero_()
            views = [view for view, g in zip(views, gradients, strict=True) if g is not None]
        torch._foreach_copy_(views, given)  # pyright: ignore[reportPrivateImportUsage]
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        tensors = {"adam.step": self.steps, "adam.exp_avg": self.mean, "adam.exp_avg_sq": self.square}
        return tensors if self.steps else {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        if "adam.step" in tensors:
            self.steps.copy_(tensors["adam.step"])
            self.mean.copy_(tensors["adam.exp_avg"])
            self.square.copy_(tensors["adam.exp_avg_sq"])
