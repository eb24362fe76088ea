"""Constants of an update rule as parameters: one unbounded number each, mapped into the range of the constant."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.errors import UserError

MOST = 700.0  # that a learned constant may start above a range without an upper end
EDGE = 1e-4  # how far inside its range a learned constant starts that was given on the edge of it


def check_learned(rule: Any, learned: Sequence[str] | None, inner_steps: int) -> tuple[str, ...]:
    """The names of the constants that are learned; None: those that the rule learns where nobody says."""
    if learned is None:
        return getattr(rule, "LEARNED", ()) if inner_steps else ()  # what is never read has no gradient
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
    """low + (high - low) sigmoid(z), or low + softplus(z) where the range has no upper end; z = raw, times the rule's
    `SPEED`: an optimizer like Adam moves every parameter by about its learning rate, whatever its size."""
    low, high = rule.RANGES[name]
    raw = raw * getattr(rule, "SPEED", 1.0)
    return low + (high - low) * torch.sigmoid(raw) if math.isfinite(high) else low + functional.softplus(raw)


def number(rule: Any, name: str, raw: float) -> float:
    """`from_raw` of one number, in a fraction of the time: a streamed step takes microseconds."""
    low, high = rule.RANGES[name]
    z = raw * getattr(rule, "SPEED", 1.0)
    if math.isfinite(high):
        return low + (high - low) / (1.0 + math.exp(-z)) if z > -700.0 else low
    return low + max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def slope(rule: Any, name: str, value: float) -> float:
    """The derivative of `number` by what it was computed from, where it is `value`."""
    low, high = rule.RANGES[name]
    part = (value - low) / (high - low) if math.isfinite(high) else -math.expm1(low - value)
    return getattr(rule, "SPEED", 1.0) * part * (high - value if math.isfinite(high) else 1.0)


def to_raw(rule: Any, name: str) -> float:
    low, high = rule.RANGES[name]
    value, speed = float(getattr(rule, name)), getattr(rule, "SPEED", 1.0)
    if math.isfinite(high):
        part = min(max((value - low) / (high - low), EDGE), 1 - EDGE)
        return math.log(part / (1 - part)) / speed
    if value - low > MOST:
        raise UserError(f"{type(rule).__name__}({name}={value:g}): wanted at most {low + MOST:g}, for it is learned")
    return math.log(math.expm1(max(value - low, EDGE))) / speed
