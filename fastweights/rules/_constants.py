"""The one check that every constant of an update rule goes through."""

from __future__ import annotations

import math
from typing import Any

from fastweights.errors import UserError

Range = tuple[float, float]


def check_constants(rule: Any) -> None:
    """Raise unless each constant in `rule.RANGES` is a number, or a 0-d floating-point tensor, inside its range.

    A tensor on an accelerator is not read, for the device would have to wait; nor is one without a number of its own,
    as under `torch.compile`, `vmap` or fake tensors.
    """
    for name, (low, high) in rule.RANGES.items():
        _check(type(rule).__name__, name, getattr(rule, name), low, high)


def _check(owner: str, name: str, value: Any, low: float, high: float) -> None:
    wanted = f"a number in [{low:g}, {high:g}]" if math.isfinite(high) else f"a finite number >= {low:g}"
    number = value if type(value) in (int, float) else _number(owner, name, value, wanted)
    if number is not None and not (math.isfinite(number) and low <= number <= high):
        raise UserError(f"{owner}({name}={number:g}): wanted {wanted}")


def _number(owner: str, name: str, value: Any, wanted: str) -> float | None:
    """The number that a tensor holds; None where it is not to be read."""
    import torch

    if isinstance(value, torch.Tensor):
        dense = value.layout == torch.strided
        if value.numel() != 1 or value.dim() > 1 or not value.dtype.is_floating_point or not dense:
            raise ValueError(
                f"{owner}({name}=...): got a tensor of shape {tuple(value.shape)}, {value.dtype} and {value.layout}, "
                f"wanted {wanted} or a dense floating-point tensor of one element and at most one axis"
            )
        functorch = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
        abstract = functorch.peek_interpreter_stack() is not None or torch._C._len_torch_dispatch_stack() > 0
        if torch.compiler.is_compiling() or value.device.type != "cpu" or abstract:
            return None
        return float(value.detach())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner}({name}={value!r}): got {type(value).__name__}, wanted {wanted} or a 0-d tensor")
    return float(value)
