"""The one training loop, whatever is asked: a batch, its loss, an update; what is known of it adds up."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from fastweights.errors import UserError
from fastweights.optim import FlatAdamW, parameter_groups
from fastweights.tasks import Batch, Stats, Task, add_up
from fastweights.training.config import Config
from fastweights.training.evaluation import means
from fastweights.training.source import Source

COUNT_EVERY = 256  # updates


class NonFiniteLoss(UserError):
    """The loss or the gradient is no finite number any more; the last good checkpoint is kept."""


@dataclass
class Progress:
    """Where a run is. What it holds goes into the checkpoint, so that a run that was cut goes on exactly there."""

    update: int = 0
    epoch: int = 0
    sums: dict[str, tuple[float, float]] = field(default_factory=dict)  # of each statistic, over the epoch under way
    gradient_norm: float = 0.0
    done: bool = False

    @staticmethod
    def from_json(stored: Any) -> "Progress":
        """All of what a checkpoint holds of it. Raises `LookupError`, `TypeError` or `ValueError` otherwise."""
        wanted = vars(Progress())
        if not isinstance(stored, dict):
            raise TypeError(f"progress is {stored!r:.40}, not an object")
        if odd := sorted(wanted.keys() ^ stored.keys()):
            raise LookupError(f"progress {odd[0]!r} is {'missing' if odd[0] in wanted else 'unknown'}")
        for name, value in wanted.items():
            if type(got := stored[name]) is not type(value):
                raise TypeError(f"{name} is {got!r:.40}, not a {type(value).__name__}")
        sums = {name: (float(value), float(count)) for name, (value, count) in stored["sums"].items()}
        kept: dict[str, Any] = {**stored, "sums": sums}
        progress = Progress(**kept)
        if odd := progress.not_finite():
            raise ValueError(f"{odd[0]} is {odd[1]}")
        return progress

    def not_finite(self) -> tuple[str, float] | None:
        """The name and the value of a sum that is no finite number any more."""
        sums = {f"the sum of {name}": value + count for name, (value, count) in self.sums.items()}
        return not_finite({"gradient_norm": self.gradient_norm, **sums})


def not_finite(numbers: Mapping[str, Any]) -> tuple[str, float] | None:
    """The first of the numbers that is not finite, with its name."""
    odd = ((name, value) for name, value in numbers.items() if isinstance(value, float) and not math.isfinite(value))
    return next(odd, None)


def training_step(
    loss_of: Callable[[nn.Module, Batch], tuple[Tensor, Stats]], model: nn.Module, batch: Batch, optimizer: FlatAdamW
) -> tuple[float, float, Stats]:
    """Forward, loss, backward, clipping, Adam; returns the loss, the gradient norm and the statistics.

    A loss that is not finite has no backward pass (its norm is NaN), a norm that is not finite no update.
    """
    loss, stats = loss_of(model, batch)
    value, norm = loss.item(), math.nan
    if math.isfinite(value):
        loss.backward()
        optimizer.step()
        norm = optimizer.norm
    return value, norm, stats


class Loop:
    """Updates of one model on one task; `progress` says where it is."""

    def __init__(self, model: nn.Module, task: Task, source: Source, config: Config, updates: int) -> None:
        self.model, self.task, self.source, self.config, self.updates = model, task, source, config, updates
        groups = parameter_groups(model, config.groups, config.learning_rate)
        self.optimizer = FlatAdamW(groups, lr=config.learning_rate, clip=config.clip)
        self.progress = Progress()
        self.uncounted: list[Stats] = []

    def part(self) -> float:
        """What is left of learning rate and label smoothing."""
        return self.config.part(self.progress.update, self.updates)

    def learning_rate(self) -> float:
        return self.config.learning_rate * self.part()

    def update(self) -> str | None:
        """One more; returns what became of loss or gradient where that is not finite, and nothing was learnt."""
        progress, loss_of = self.progress, self.task.loss
        part = self.part()
        rate = self.config.learning_rate * part
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        if self.config.label_smoothing:
            loss_of = self.smoothed(self.config.label_smoothing * part)
        batch = self.source(progress.update, self.model)
        value, norm, stats = training_step(loss_of, self.model, batch, self.optimizer)
        if not math.isfinite(norm):
            return f"the loss became {value}" if not math.isfinite(value) else f"the gradient norm became {norm}"
        progress.update += 1
        progress.gradient_norm += norm
        self.uncounted.append(stats)
        if len(self.uncounted) >= COUNT_EVERY:
            self.count()
        return None

    def smoothed(self, share: float) -> Any:
        loss: Any = self.task.loss
        return lambda model, batch: loss(model, batch, smoothing=share)

    def count(self) -> None:
        """Add up what the updates since the last count know: one addition for many costs as much as one for each."""
        for name, (value, number) in add_up(self.uncounted).items():
            before, counted = self.progress.sums.get(name, (0.0, 0.0))
            self.progress.sums[name] = before + value, counted + number
        self.uncounted.clear()

    def end_epoch(self) -> dict[str, float]:
        """The means over the epoch, which is over."""
        self.count()
        progress = self.progress
        progress.epoch += 1
        found, progress.sums = means(progress.sums), {}
        return found
