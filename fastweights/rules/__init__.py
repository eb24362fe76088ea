"""Update rules: what is written into the fast weights, and how it is read. Pure functions, one rule a file."""

from typing import Any, Protocol

from torch import Tensor

from fastweights.rules.delta import Delta
from fastweights.rules.hebbian import Hebbian

__all__ = ["Delta", "Hebbian", "Rule"]


class Rule(Protocol):
    """What the reference backend asks of a rule: a frozen dataclass of constants with these two methods.

    `weights` is `[*batch, value, key]`; leading axes broadcast. `gates` are what a slow network emits a step.
    """

    def write(self, weights: Tensor, key: Tensor, value: Tensor, **gates: Any) -> Tensor: ...

    def read(self, weights: Tensor, query: Tensor) -> Tensor: ...
