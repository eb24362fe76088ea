from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastweights.config import Config


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a model at one size, trained from several seeds."""

    name: str
    """As --only takes it: FW-20."""
    row: str
    """The model as the paper calls it."""
    kind: str
    """paper, control, beyond (what the paper does not have), or own (a user's model)."""
    model: str
    config: Config
    """Its seed is that of the first run; the others count up."""
    seeds: int = 3
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """What `--search` tries for this cell beside, or instead of, the grid of the paper file."""
