"""Constants of an update rule as parameters: one unbounded number each, mapped into the range of the constant."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

EDGE = 1e-4  # how far inside its range a learned constant starts that was given on the edge of it


def check_learned(rule: Any, learned: Sequence[str]) -> tuple[str, ...]:
    ranges = getattr(rule, "RANGES", {})
    if isinstance(learned, str):
        raise TypeError(f"learned: got the string {learned!r}, wanted a tuple of names, such as ({learned!r},)")
    for name in learned:
        if name not in ranges:
            raise ValueError(
                f"learned: got {name!r}, wanted constants of {type(rule).__name__} "
                f"({', '.join(ranges) or 'it has none that can be learned'})"
            )
    return tuple(learned)


def with_learned(rule: Any, raw: Mapping[str, Tensor]) -> Any:
    """The rule with the constants that the raw parameters stand for."""
    return replace(rule, **{name: from_raw(rule, name, value) for name, value in raw.items()})


def from_raw(rule: Any, name: str, raw: Tensor) -> Tensor:
    """low + (high - low) sigmoid(raw), or low + softplus(raw) where the range has no upper end."""
    low, high = rule.RANGES[name]
    return low + (high - low) * torch.sigmoid(raw) if math.isfinite(high) else low + functional.softplus(raw)


def to_raw(rule: Any, name: str) -> float:
    low, high = rule.RANGES[name]
    value = float(getattr(rule, name))
    if math.isfinite(high):
        part = min(max((value - low) / (high - low), EDGE), 1 - EDGE)
        return math.log(part / (1 - part))
    return math.log(math.expm1(max(value - low, EDGE)))
