"""How well a model does, and how sure that is over several seeds."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from fastweights.decoding import greedy
from fastweights.tasks import Batch, Stats, Task, add_up
from fastweights.tasks.pairs import Symbols, trimmed

EVALUATION_BATCH = 1000
DECODED_TOGETHER = 250  # sources, each with a state of its own
RESAMPLES = 10_000
RANGE = 3  # values of which the bootstrap interval is the range: each end is drawn in a 27th of the resamples


def parts(batch: Batch, pairs: bool = False) -> Iterator[Batch]:
    """The sequences of a set, so many at a time.

    pairs: the answers are sequences. Padding that a whole part has is cut off, and lines of one source, one below the
    other, stay in one part: they are judged together.
    """
    size = DECODED_TOGETHER if pairs else EVALUATION_BATCH
    first = 0
    while first < batch.size:
        last = first + size
        while pairs and last < batch.size and same_source(batch, last):
            last += 1
        part = batch.select(slice(first, last))
        yield trimmed(part) if pairs else part
        first = last


def same_source(batch: Batch, place: int) -> bool:
    """Whether a line has the source of the line before it."""
    assert batch.lengths is not None
    return all(torch.equal(each[place], each[place - 1]) for each in (batch.inputs, batch.lengths))


@torch.no_grad()
def evaluate(model: nn.Module, task: Task, batches: Iterable[Batch]) -> dict[str, float]:
    """The mean of each statistic of the task over all that is asked; of pairs also what its `judge` says."""
    training = model.training
    model.eval()
    several: list[Stats] = []
    for batch in batches:
        several.append(task.loss(model, batch)[1])
        if hasattr(task, "judge"):
            several.append(task.judge(batch, decoded(model, task, batch)))  # pyright: ignore[reportAttributeAccessIssue]
    model.train(training)
    return means(add_up(several))


def decoded(model: nn.Module, task: Task, batch: Batch) -> list[Symbols]:
    """What the model answers by itself, without END."""
    if not batch.size:
        return []
    symbols, lengths, _ = greedy(model, batch.inputs, batch.lengths, limit=longest_answer(task, batch.inputs.shape[1]))
    return [row[:length] for row, length in zip(symbols.tolist(), lengths.tolist(), strict=True)]


def longest_answer(task: Task, steps: int) -> int:
    """Symbols at which decoding stops, of a source of so many steps."""
    return getattr(task, "longest_answer", 2 * steps + 10)


def means(sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: value / max(count, 1.0) for name, (value, count) in sums.items()}


class Estimate(NamedTuple):
    mean: float
    interval: tuple[float, float] | None  # None where there is one seed


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean and its bootstrap 95% interval (percentiles of 10,000 resamples; the same for the same values).

    Up to RANGE values it is from the lowest to the highest, and too short: of three normal values it covers the mean in
    three cases of four.
    """
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean, None)
    generator = random.Random(0)
    means = sorted(sum(generator.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    tail = RESAMPLES * 25 // 1000
    return Estimate(mean, (means[tail], means[-1 - tail]))
