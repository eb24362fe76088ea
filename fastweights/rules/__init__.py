"""Update rules: what is written into the fast weights, and how it is read. Pure functions, one rule a file.

The dataclasses of this namespace are the rules that the command line knows by name: an import is a registration.
"""

from __future__ import annotations  # the command line reads the constants of a rule without torch

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fastweights.rules.cosine import Cosine as Cosine
from fastweights.rules.delta import Delta as Delta
from fastweights.rules.hebbian import Hebbian as Hebbian

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Rule(Protocol):
    """What the reference backend asks of a rule: a frozen dataclass of constants with these two methods.

    `weights` is `[*batch, value, key]`; leading axes broadcast. A rule may take more by name: the gates (`strength`,
    `forget`) that a slow network emits at a step. It may have `bound(read, boundary)`: what is added to the boundary in
    place of the read.
    """

    def write(self, weights: Tensor, key: Tensor, value: Tensor) -> Tensor: ...

    def read(self, weights: Tensor, query: Tensor) -> Tensor: ...


def registered() -> dict[str, Any]:
    """The rules of this library by their names."""
    return {name: kind for name, kind in globals().items() if isinstance(kind, type) and is_dataclass(kind)}
