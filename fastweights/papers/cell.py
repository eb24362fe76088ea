from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastweights.training.setup import Setup


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a model at one size on one task, trained from several seeds."""

    name: str
    """As --only takes it: FW-20."""
    row: str
    """The model as the paper calls it."""
    kind: str
    """paper, control, beyond (what the paper does not have), or own (a user's model)."""
    setup: Setup
    """The seed of its settings is that of the first run; the others count up."""
    seeds: int = 3
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Settings that `--search` tries for this cell beside, or instead of, the grid of the paper file."""

    search: Mapping[str, Any] = field(default_factory=dict)
    """Settings that a search has in place of the cell's, such as how many epochs."""

    def with_settings(self, **settings: Any) -> "Cell":
        """The cell with other settings of its run, or of its task."""
        config, task = self.setup.config, self.setup.task
        of_run = {name: value for name, value in settings.items() if hasattr(config, name)}
        of_task = {name: value for name, value in settings.items() if name not in of_run}
        made: Any = replace(task, **of_task) if of_task else task  # pyright: ignore[reportArgumentType]
        return replace(self, setup=replace(self.setup, config=replace(config, **of_run), task=made))

    def setting(self, name: str) -> Any:
        """One setting of its run, or of its task."""
        return getattr(self.setup.config if hasattr(self.setup.config, name) else self.setup.task, name)
