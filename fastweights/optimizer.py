"""Adam over one flat buffer: clipping is one norm, the update one fused call for all parameters of like settings."""

import math
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor, nn

from fastweights.soap import BETAS, EPSILON, Rotated

fused_adamw: Any = torch._fused_adamw_  # of torch.optim.AdamW  # pyright: ignore[reportPrivateImportUsage]


class FlatAdam:
    """Adam with clipping by global norm; the parameters of `module` become views of one buffer.

        gradient -= its mean over each row, where centered
        g = gradient * min(1, clip / |gradient|)
        m = 0.9 m + 0.1 g;  v = 0.999 v + 0.001 g^2
        parameters *= 1 - share * learning_rate * decay
        parameters -= share * learning_rate / (1 - 0.9^step) * m / (sqrt(v / (1 - 0.999^step)) + 1e-8)

    It differs from `torch.optim.AdamW(fused=True)` by what surrounds the kernel, which is the same: there it costs ten
    times the kernel at 5,000 parameters. Gradients are gathered and given up (`parameter.grad` is None afterwards), so
    that the next backward pass hands its own over instead of adding to zeros.

    shares, decays: one of each parameter, in the order of `module.parameters()`; none: 1 and 0.
    rotated: for each parameter, whether it is a matrix that SOAP updates instead (see `Rotated`); none: none is.
    centered: for each parameter, whether it is a matrix whose gradient is centered; none: none is.

    Papers: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; for the decay Loshchilov and Hutter 2019,
    https://arxiv.org/abs/1711.05101; for the centering Yong et al. 2020, https://arxiv.org/abs/2004.01461.
    """

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        clip: float,
        shares: Sequence[float] | None = None,
        decays: Sequence[float] | None = None,
        rotated: Sequence[bool] | None = None,
        centered: Sequence[bool] | None = None,
    ) -> None:
        every = list(module.parameters())
        shares = [1.0] * len(every) if shares is None else shares
        decays = [0.0] * len(every) if decays is None else decays
        rotated = [False] * len(every) if rotated is None else rotated
        centered = [False] * len(every) if centered is None else centered
        settings = [own for p, *own in zip(every, shares, decays, rotated, strict=True) if p.requires_grad]
        self.parameters = [p for p in every if p.requires_grad]
        if len({(p.dtype, p.device) for p in self.parameters}) > 1:
            raise ValueError("FlatAdam: got parameters of several dtypes or devices, wanted one of each")
        self.learning_rate, self.clip = learning_rate, clip
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.gradient, self.mean, self.square = (torch.zeros_like(self.flat) for _ in range(3))
        self.steps = torch.zeros((), device=self.flat.device)
        ends = accumulate(p.numel() for p in self.parameters)
        places = [slice(end - p.numel(), end) for p, end in zip(self.parameters, ends, strict=True)]
        self.parts: list[tuple[float, float, list[list[Tensor]]]] = []  # neighbours of the same settings are one part
        for (share, decay, turned), indices in groupby(range(len(places)), key=settings.__getitem__):
            several = list(indices)
            if turned:
                continue
            part = slice(places[several[0]].start, places[several[-1]].stop)
            self.parts.append((share, decay, [[t[part]] for t in (self.flat, self.gradient, self.mean, self.square)]))
        self.views = [self.gradient[place].view_as(p) for p, place in zip(self.parameters, places, strict=True)]
        learning = [own for p, own in zip(every, centered, strict=True) if p.requires_grad]
        self.centered = [view for view, own in zip(self.views, learning, strict=True) if own]
        for parameter, place in zip(self.parameters, places, strict=True):
            parameter.data = self.flat[place].view_as(parameter)
            parameter.grad = None
        self.matrices: list[Rotated] = []
        for p, place, (share, decay, turned) in zip(self.parameters, places, settings, strict=True):
            if turned:
                gradient, mean, square = (t[place].view_as(p) for t in (self.gradient, self.mean, self.square))
                self.matrices.append(Rotated(p.data, gradient, mean, square, share, decay))

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
            learning_rate = self.learning_rate if learning_rate is None else learning_rate
            for share, decay, tensors in self.parts:
                fused_adamw(
                    *tensors, [], [self.steps], lr=learning_rate * share, weight_decay=decay,
                    beta1=BETAS[0], beta2=BETAS[1], eps=EPSILON, amsgrad=False, maximize=False,
                )  # fmt: skip
            for matrix in self.matrices:
                matrix.step(learning_rate, int(self.steps))
        return norm

    def _gather(self) -> None:
        gradients = [p.grad for p in self.parameters]
        given = [g for g in gradients if g is not None]
        views = self.views
        if len(given) < len(gradients):  # what took no part in the loss has a gradient of zero
            self.gradient.zero_()
            views = [view for view, g in zip(views, gradients, strict=True) if g is not None]
        torch._foreach_copy_(views, given)  # pyright: ignore[reportPrivateImportUsage]
        for view in self.centered:
            view.sub_(view.mean(1, keepdim=True))
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        if not self.steps:
            return {}
        tensors = {"adam.step": self.steps, "adam.exp_avg": self.mean, "adam.exp_avg_sq": self.square}
        for index, matrix in enumerate(self.matrices):
            tensors |= {f"soap.{index}.{name}": tensor for name, tensor in matrix.state().items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        if "adam.step" in tensors:
            self.steps.copy_(tensors["adam.step"])
            self.mean.copy_(tensors["adam.exp_avg"])
            self.square.copy_(tensors["adam.exp_avg_sq"])
            for index, matrix in enumerate(self.matrices):
                for name, tensor in matrix.state().items():
                    tensor.copy_(tensors[f"soap.{index}.{name}"])
