"""Parameters, their gradients and their moments, each as one buffer."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.optim.soap import Rotated

MOMENTS = ("exp_avg", "exp_avg_sq")


class FlatBuffers:
    """The parameters of param groups in four buffers, in the order of the groups; they become views of the first.

    Moments and steps are taken over from `state`, the state of an optimizer: {parameter: {"step", "exp_avg",
    "exp_avg_sq", and of a matrix by SOAP its covariances and bases}}. A parameter without any begins at zero. So does
    one whose state is of the other kind, Adam or SOAP: the squares mean something else there.

    Parameters that do not require gradients stay where they are, in `frozen`.
    """

    @torch.no_grad()
    def __init__(self, groups: Sequence[Mapping[str, Any]], state: Mapping[Tensor, dict[str, Tensor]]) -> None:
        every = [(p, index, group["kind"] == "soap") for index, group in enumerate(groups) for p in group["params"]]
        self.frozen = [p for p, _, _ in every if not p.requires_grad]
        self.parameters: list[Tensor] = [p for p, _, _ in every if p.requires_grad]
        kinds = [(index, soap and p.dim() == 2) for p, index, soap in every if p.requires_grad]
        states = [state.get(p, {}) for p in self.parameters]
        states = [own if ("left" in own) == turned else {} for own, (_, turned) in zip(states, kinds, strict=True)]
        check(self.parameters, states)
        old = [p.detach().reshape(-1) for p in self.parameters]
        self.flat = torch.cat(old) if old else torch.zeros(0)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.flat) for _ in range(3))
        steps = [float(own["step"]) if own else 0.0 for own in states]
        self.steps = torch.tensor(steps, dtype=torch.float32, device=self.flat.device)  # of each parameter
        buffers = (self.flat, self.gradient, self.mean, self.square)
        ends = accumulate(p.numel() for p in self.parameters)
        places = [slice(end - p.numel(), end) for p, end in zip(self.parameters, ends, strict=True)]
        self.gradients: list[Tensor] = []  # views
        self.state: dict[Tensor, dict[str, Tensor]] = {}  # likewise
        self.matrices: list[tuple[int, Rotated, Tensor]] = []  # with the index of their group, and their step
        for p, place, own, (index, turned), step in zip(
            self.parameters, places, states, kinds, self.steps, strict=True
        ):
            p.data, gradient, mean, square = (buffer[place].view_as(p) for buffer in buffers)
            self.gradients.append(gradient)
            self.state[p] = {"step": step, "exp_avg": mean, "exp_avg_sq": square}
            if turned:
                self.matrices.append((index, Rotated(p.data, gradient, mean, square), step))
                self.state[p] |= self.matrices[-1][1].state()
            for name, tensor in self.state[p].items():
                if own:
                    tensor.copy_(own[name])
        self.parts: list[tuple[int, list[list[Tensor]]]] = []  # neighbours of one group, for one call of the kernel
        alike = [(*kind, step) for kind, step in zip(kinds, steps, strict=True)]
        for (index, turned, _), several in groupby(range(len(places)), key=alike.__getitem__):
            first, *others = several
            if not turned:
                part = slice(places[first].start, places[[first, *others][-1]].stop)
                self.parts.append((index, [*([buffer[part]] for buffer in buffers), [], [self.steps[first]]]))
        self.pointers = [p.data_ptr() for p in self.parameters]

    def tensors(self) -> dict[str, Tensor]:
        """All that a file has to hold beside the parameters."""
        found = {"adam.step": self.steps, "adam.exp_avg": self.mean, "adam.exp_avg_sq": self.square}
        for place, (_, matrix, _) in enumerate(self.matrices):
            found |= {f"soap.{place}.{name}": tensor for name, tensor in matrix.state().items()}
        return found

    def stale(self) -> bool:
        """Whether somebody gave a parameter other data, or one that was frozen its gradients back."""
        if [p.data_ptr() for p in self.parameters] != self.pointers:
            return True
        return bool(self.frozen) and any(p.requires_grad for p in self.frozen)


def check(parameters: list[Tensor], states: list[dict[str, Tensor]]) -> None:
    if len(set(parameters)) < len(parameters):
        raise UserError("FlatAdamW: got a parameter twice in one group, wanted each once")
    if len(kinds := {f"{p.dtype} on {p.device}" for p in parameters}) > 1:
        got = ", ".join(sorted(kinds))
        raise UserError(f"FlatAdamW: got parameters of several dtypes or devices ({got}), wanted one of each")
    for place, (parameter, own) in enumerate(zip(parameters, states, strict=True)):
        if own and (missing := {"step", *MOMENTS} - own.keys()):
            raise UserError(f"FlatAdamW: got a state without {sorted(missing)[0]}, wanted one of AdamW or FlatAdamW")
        wanted = shapes(parameter, "left" in own)
        for name, shape in wanted.items() if own else ():
            if name not in own or list(torch.as_tensor(own[name]).shape) != shape:
                got = list(torch.as_tensor(own[name]).shape) if name in own else "no tensor"
                raise UserError(
                    f"FlatAdamW: got {name} of shape {got} for parameter {place}, wanted {shape}; a parameter of "
                    "another shape needs a new optimizer"
                )


def shapes(parameter: Tensor, turned: bool) -> dict[str, list[int]]:
    """Those of the state of a parameter, by name; a step is one number."""
    found: dict[str, list[int]] = {name: list(parameter.shape) for name in MOMENTS}
    if turned:
        rows, columns = parameter.shape
        found |= {"left": [rows, rows], "left_covariance": [rows, rows]}
        found |= {"right": [columns, columns], "right_covariance": [columns, columns]}
    return found
