"""The gates of an update rule as a slow network: made of what `GATES` of the rule says, for any rule."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights.errors import UserError, near
from fastweights.nn.feature_maps import l2
from fastweights.rules import Gate, scanned
from fastweights.rules._scan import doubled

STEP = (1e-3, 0.1, 1e-4)  # ends between which softplus(bias) is log-uniform at the start, and its least
LEAST_RATE = 1e-3  # of a decay


class Gates(nn.Module):
    r"""From the tokens x, [batch, time, size], the gates of a rule by name, as `fast_weights_scan` takes them.

    Of each gate `rule.GATES` says its axes, its range, its form and where it starts (see `Gate`): in this way gates
    start as the papers start them. A projection has no bias but for those that the forms have.

    negative_eigenvalues: a sigmoid whose gate reaches to 2 is doubled. A strength above 1 turns what is stored under a
        key around: the transition has a negative eigenvalue (Grazzi et al. 2024, https://arxiv.org/abs/2411.12537). A
        rule without such a gate raises `UserError`.
    leave_out: gates that stay at the constant of the rule.
    """

    def __init__(
        self,
        rule: Any,
        size: int,
        heads: int,
        key_size: int,
        value_size: int,
        *,
        negative_eigenvalues: bool = False,
        leave_out: Sequence[str] = (),
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        known: Mapping[str, Gate] = rule.GATES
        for name in leave_out:
            if name not in known or known[name].constant is None:
                free = [gate for gate, told in known.items() if told.constant is not None]
                has = f"those of {type(rule).__name__} that may be left out: {', '.join(free) or 'none'}"
                raise UserError(f"leave_out: got {name!r}{near(name, free)}, wanted {has}")
        self.gates = {name: gate for name, gate in known.items() if name not in leave_out}
        self.heads, self.substeps = heads, getattr(rule, "substeps", 1)
        self.shapes = {"token": (heads,), "head": (heads,), "substep": (self.substeps, heads)}
        self.shapes |= dict.fromkeys(("key", "head key"), (heads, key_size))
        self.shapes |= dict.fromkeys(("value", "head value"), (heads, value_size))
        self.shapes["head value key"] = (heads, value_size, key_size)
        self.doubled = doubled(self.gates) if negative_eigenvalues else []
        if negative_eigenvalues and not self.doubled:
            able = ", ".join(name for name, kind in scanned().items() if doubled(kind.GATES))
            got = f"{type(rule).__name__}, none of whose gates may reach 2{' here' if doubled(known) else ''}"
            raise UserError(f"negative_eigenvalues: got {got}, wanted False, or a rule such as {able}")
        options: Any = {"device": device, "dtype": dtype}
        for name, gate in self.gates.items():
            units = math.prod(self.shapes[gate.axes])
            if gate.axes.startswith("head"):
                number = torch.empty(self.shapes[gate.axes], **options)
                self.register_parameter(f"{name}_number", nn.Parameter(number))
                continue
            bias = gate.form in ("soft decay",)
            if gate.rank is None:
                self.add_module(name, nn.Linear(size, units, bias=bias, **options))
            else:
                ranked = (nn.Linear(size, gate.rank, bias=False, **options), nn.Linear(gate.rank, units, **options))
                self.add_module(name, nn.Sequential(*ranked))
            if gate.form in ("decay", "softplus"):
                self.register_parameter(f"{name}_bias", nn.Parameter(torch.empty(units, **options)))
            if gate.form == "decay":
                self.register_parameter(f"{name}_rate_log", nn.Parameter(torch.empty(heads, **options)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for name, gate in self.gates.items():
            low, high = gate.start or (1.0, 1.0)
            if gate.axes.startswith("head"):
                number = getattr(self, f"{name}_number")
                number.uniform_(low, high).copy_(inverse(gate.form, number))
                continue
            for layer in getattr(self, name).modules():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
            if gate.form in ("decay", "softplus"):
                bias = getattr(self, f"{name}_bias")
                first, last, least = (low, high, 0.0) if gate.form == "softplus" and gate.start else STEP
                steps = bias.uniform_(math.log(first), math.log(last)).exp_().clamp_(min=least)
                bias.copy_(inverse("softplus", steps))
            if gate.form == "decay":
                getattr(self, f"{name}_rate_log").uniform_(low, high).clamp_(min=LEAST_RATE).log_()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        projected = self._projected(x)
        return {name: self._gate(name, gate, projected.get(name)) for name, gate in self.gates.items()}

    def _projected(self, x: Tensor) -> dict[str, Tensor]:
        """What the projections make of x, those that are plain matrices in one product: each alone takes as long."""
        layers = {name: getattr(self, name) for name, gate in self.gates.items() if not gate.axes.startswith("head")}
        plain = {name: layer for name, layer in layers.items() if x.shape[1] > 1 and is_plain(layer)}
        found = {name: layer(x) for name, layer in layers.items() if len(plain) < 2 or name not in plain}
        if len(plain) > 1:
            together = functional.linear(x, torch.cat([layer.weight for layer in plain.values()]))
            sizes = [layer.out_features for layer in plain.values()]
            found |= zip(plain, together.split(sizes, -1), strict=True)
        return found

    def _gate(self, name: str, gate: Gate, projected: Tensor | None) -> Tensor:
        shape = self.shapes[gate.axes]
        if projected is None:
            value = getattr(self, f"{name}_number")
        else:
            value = projected
            if gate.form in ("decay", "softplus"):
                value = value + getattr(self, f"{name}_bias")
            value = value if len(shape) == 1 else value.unflatten(-1, shape)
        if gate.axes == "substep":
            value = value.flatten(1, 2)
        if gate.form == "decay":
            rate = getattr(self, f"{name}_rate_log").exp()
            return -functional.softplus(value) * (rate if value.dim() == 3 else rate.unsqueeze(-1))
        value = FORMS[gate.form](value)
        return 2.0 * value if name in self.doubled else value


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a matrix and nothing more: neither another kind of layer put in its place, nor hooked."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return type(layer) is nn.Linear and layer.bias is None and not any(hooks)


FORMS: dict[str, Any] = {
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "logsigmoid": lambda x: functional.logsigmoid(x) / 16.0,
    "soft decay": lambda x: -math.exp(-0.5) * torch.sigmoid(x),
    "ridge": lambda x: 0.25 + functional.softplus(x),
    "unit": l2,
    "exp": torch.exp,
    "identity": lambda x: x,
}


def inverse(form: str, y: Tensor) -> Tensor:
    """x of y = form(x), of the forms that start somewhere."""
    if form in ("softplus", "ridge"):
        y = y - 0.25 if form == "ridge" else y
        return y + torch.log(-torch.expm1(-y))
    return {"exp": torch.log, "sigmoid": torch.logit, "identity": torch.clone}[form](y)
