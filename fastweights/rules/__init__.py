"""Update rules: what is written into the fast weights, and how it is read. Pure functions, one rule a file."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from fastweights.rules.delta import Delta
from fastweights.rules.hebbian import Hebbian

__all__ = ["Delta", "Hebbian", "Rule"]


@runtime_checkable
class Rule(Protocol):
    """What the reference backend asks of a rule: a frozen dataclass of constants with these two methods.

    `weights` is `[*batch, value, key]`; leading axes broadcast. A rule may take more by name: the gates (`strength`,
    `forget`) that a slow network emits at a step.
    """

    def write(self, weights: Tensor, key: Tensor, value: Tensor) -> Tensor: ...

    def read(self, weights: Tensor, query: Tensor) -> Tensor: ...
