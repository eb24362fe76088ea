"""AdamW over one flat buffer: clipping is one norm, the update one fused call for all parameters of like settings."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from fastweights.errors import UserError
from fastweights.optim.flat_buffers import FlatBuffers
from fastweights.optim.group import KINDS

STEP = "adam.step"
fused_adamw: Any = torch._fused_adamw_  # of torch.optim.AdamW  # pyright: ignore[reportPrivateImportUsage]
add_param_group: Any = inspect.unwrap(Optimizer.add_param_group)  # its wrapper imports torch.compile, for over a second
profiling: Any = torch.autograd._profiler_enabled  # pyright: ignore[reportPrivateImportUsage]


@final
class FlatAdamW(Optimizer):
    """AdamW with clipping by global norm, whose parameters become views of one buffer.

        g = gradient * min(1, clip / |gradient|)        |.| over all parameters of all groups
        m = 0.9 m + 0.1 g;  v = 0.999 v + 0.001 g^2
        parameters *= 1 - lr * weight_decay
        parameters -= lr / (1 - 0.9^step) * m / (sqrt(v / (1 - 0.999^step)) + 1e-8)

    It differs from `torch.optim.AdamW(fused=True)` in these ways:

    - The kernel is the same. What surrounds it is not: there it costs ten times the kernel at 5,000 parameters.
    - Weight decay is 0 unless given.
    - Gradients are given up: after a step `parameter.grad` is None, so that the next backward pass hands its own over.
    - A gradient norm that is not finite updates nothing. `optimizer.norm` is that of the last step, before clipping.
    - A parameter outside the loss has a gradient of zero: its moments fade, it moves on, and its weights decay. There
      it stays as it is. Here, too, a parameter stays that does not require gradients.
    - A step without any gradient is refused.
    - Parameters need one dtype and one device. Where their data is moved later (`module.to`, `parameter.data = ...`),
      the next step takes it into new buffers.
    - With `kind="soap"`, the matrices of a group learn by SOAP (see `fastweights.optim.soap`), which has its own betas
      and eps.

    Schedulers, hooks and state dicts are as torch has them. A state dict of `torch.optim.AdamW` can be loaded here,
    and one of Adam's kind from here there. `module.load_state_dict(assign=True)` makes other parameters, which need a
    new optimizer.

    params: parameters, or param groups: dicts with `params`, and lr, weight_decay, betas, eps, kind and share where
        they differ. A group without lr learns at its share of `lr`. See `parameter_groups`.
    clip: the largest norm of all gradients together; None: any.

    Papers: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; for the decay Loshchilov and Hutter 2019,
    https://arxiv.org/abs/1711.05101.
    """

    _buffers: FlatBuffers | None = None  # none until all groups are there

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if clip is not None and not clip > 0:
            raise UserError(f"FlatAdamW: got clip={clip!r}, wanted a number > 0, or None for no clipping")
        self.clip, self.norm = clip, math.nan
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "share": 1.0, "kind": "adam"}
        super().__init__(params, defaults)
        self._lay_out()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Learn more parameters, such as those of a layer that was frozen; the others keep their moments."""
        if isinstance(param_group, dict) and "lr" not in param_group:
            param_group["lr"] = param_group.get("share", 1.0) * self.defaults["lr"]
        add_param_group(self, param_group)
        try:
            check_settings(param_group)
            if self._buffers is not None:
                self._lay_out()
        except Exception:
            self.param_groups.pop()
            raise

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update from the gradients that have gathered; returns what `closure` does, which may compute them."""
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
            or profiling()
        ):
            return self._watched_update(closure)
        return self._update(closure)

    step.hooked = True  # else torch wraps it, for 6 microseconds a step  # pyright: ignore[reportFunctionMemberAccess]

    @torch.no_grad()
    def _update(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        buffers = self._gather()
        norm = self.norm = float(torch.linalg.vector_norm(buffers.gradient))
        if not math.isfinite(norm):
            return loss
        if self.clip is not None and norm > self.clip:
            buffers.gradient.mul_(self.clip / norm)
        buffers.steps += 1
        groups = self.param_groups
        for index, tensors in buffers.parts:
            group = groups[index]
            beta1, beta2 = group["betas"]
            fused_adamw(
                *tensors, lr=group["lr"], weight_decay=group["weight_decay"],
                beta1=beta1, beta2=beta2, eps=group["eps"], amsgrad=False, maximize=False,
            )  # fmt: skip
        for index, matrix, step in buffers.matrices:
            matrix.step(groups[index]["lr"], groups[index]["weight_decay"], int(step))
        return loss

    _watched_update = Optimizer.profile_hook_step(_update)

    def _gather(self) -> FlatBuffers:
        """The buffers, the gradients in theirs; where parameters were moved, frozen or unfrozen, new buffers."""
        buffers = self._buffers
        if buffers is None or buffers.stale():
            buffers = self._lay_out()
        parameters, views = buffers.parameters, buffers.gradients
        given = [g for p in parameters if (g := p.grad) is not None]
        if len(given) < len(parameters):
            if not all(p.requires_grad for p in parameters):
                self._lay_out()
                return self._gather()
            buffers.gradient.zero_()
            views = [view for view, p in zip(views, parameters, strict=True) if p.grad is not None]
        if not given:
            raise UserError(
                "FlatAdamW.step: got no gradient of any parameter, wanted those of loss.backward(); where the model "
                "has other parameters by now, as after load_state_dict(assign=True), make a new optimizer"
            )
        torch._foreach_copy_(views, given)  # pyright: ignore[reportPrivateImportUsage]
        for parameter in parameters:
            parameter.grad = None
        return buffers

    def _lay_out(self) -> FlatBuffers:
        buffers = self._buffers = FlatBuffers(self.param_groups, self.state)
        self.state.update(buffers.state)
        return buffers

    def state_dict(self) -> dict[str, Any]:
        """As torch's: of each parameter step, exp_avg and exp_avg_sq, and of a matrix by SOAP its bases; copies."""
        stored = super().state_dict()
        state = {
            place: {name: value.clone() if isinstance(value, Tensor) else value for name, value in own.items()}
            for place, own in stored["state"].items()
        }
        return {**stored, "state": state}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "clip": self.clip, "norm": self.norm}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What unpickling and `load_state_dict` end with: groups and moments of an AdamW or of a FlatAdamW."""
        before = dict(self.__dict__)
        super().__setstate__(state)
        try:
            old = before.get("param_groups") or [self.defaults] * len(self.param_groups)
            for group, was in zip(self.param_groups, old, strict=True):
                for name in ("share", "kind"):
                    group.setdefault(name, was[name])
                check_settings(group)
            self._lay_out()
        except Exception:
            self.__dict__.update(before)
            raise

    def wanted(self) -> dict[str, Tensor]:
        """The tensors that hold the state: their names, shapes and dtypes are those that can be loaded."""
        return (self._buffers or self._lay_out()).tensors()

    def tensors(self) -> dict[str, Tensor]:
        """The state as a few flat tensors, for a file of tensors; none before the first step."""
        tensors = self.wanted()
        if not (steps := tensors[STEP].unique()).any():
            return {}
        return {**tensors, STEP: steps[0]} if len(steps) == 1 else tensors  # else of each parameter

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on where `tensors()` was called; other names are passed over, and without any of these all begins anew."""
        wanted = self.wanted()
        if not wanted.keys() & tensors.keys():
            tensors = {name: torch.zeros_like(tensor) for name, tensor in wanted.items()}
        for name, tensor in wanted.items():
            found = tensors.get(name)
            got = None if found is None else (list(found.shape), found.dtype)
            if got != (list(tensor.shape), tensor.dtype) and (name, got) != (STEP, ([], tensor.dtype)):
                raise UserError(
                    f"FlatAdamW: got {name} of {describe(found)}, wanted {describe(tensor)}; load the tensors of an "
                    "optimizer of the same parameters and groups"
                )
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])
        self._lay_out()  # parameters after as many steps share calls of the kernel


def describe(tensor: Tensor | None) -> str:
    return "no tensor" if tensor is None else f"shape {list(tensor.shape)}, {str(tensor.dtype).removeprefix('torch.')}"


def check_settings(group: Mapping[str, Any]) -> None:
    if missing := [name for name in ("lr", "betas", "eps", "weight_decay") if name not in group]:
        raise UserError(f"FlatAdamW: got the state of an optimizer without {', '.join(missing)}, wanted one of AdamW")
    for name in ("lr", "weight_decay", "share", "eps"):
        if not (math.isfinite(group[name]) and group[name] >= 0):
            raise UserError(f"FlatAdamW: got {name}={group[name]!r}, wanted a finite number >= 0")
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise UserError(f"FlatAdamW: got betas={group['betas']!r}, wanted two numbers from 0 to below 1")
    if group["kind"] not in KINDS:
        raise UserError(f"FlatAdamW: got kind={group['kind']!r}, wanted one of {', '.join(KINDS)}")
    coupled = group["weight_decay"] and not group.get("decoupled_weight_decay", True)
    if coupled or group.get("amsgrad") or group.get("maximize"):
        got = "amsgrad" if group.get("amsgrad") else "maximize" if group.get("maximize") else "Adam's weight decay"
        raise UserError(f"FlatAdamW: got the state of an optimizer with {got}, wanted one of AdamW without")
