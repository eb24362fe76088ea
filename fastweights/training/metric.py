"""The figure that a task is judged by: its name, which way it is better, and what guessing reaches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastweights.errors import UserError
from fastweights.tasks import Task, better

SHARES = ("accuracy", "error_rate")  # how the names of metrics end that are shares


@dataclass(frozen=True)
class Metric:
    name: str
    better: str = "higher"
    floors: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(task: Task) -> "Metric":
        return Metric(task.METRIC, better(task), dict(task.floors))

    @staticmethod
    def stored(description: Mapping[str, Any]) -> "Metric":
        """From what config.json says of a run."""
        return Metric(**{name: description["metric"][name] for name in ("name", "better", "floors")})

    @property
    def column(self) -> str:
        """Of metrics.jsonl."""
        return f"valid_{self.name}"

    def value(self, row: Mapping[str, Any]) -> float:
        if not isinstance(found := row.get(self.column), int | float):
            raise UserError(
                f"got an epoch without a number {self.column!r}, wanted one; train again into another --run"
            )
        return found

    def show(self, value: float | None) -> str:
        return show(self.name, value)


def show(name: str, value: float | None) -> str:
    """A share of what is asked in per cent, bytes as a whole number, anything else as the number that it is."""
    if value is None:
        return ""
    if name.endswith("bytes"):
        return f"{value:,.0f}"
    return f"{value:.2%}" if name.endswith(SHARES) else f"{value:.4f}"
