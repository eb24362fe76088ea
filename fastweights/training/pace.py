"""How fast a setup trains here on a free core, from a few updates that are timed before a run."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any

import torch

from fastweights.tasks import Batch
from fastweights.training.evaluation import evaluate
from fastweights.training.loop import Loop
from fastweights.training.setup import Setup
from fastweights.training.source import fresh, generator_of

TIMED, MOST = 0.25, 16  # seconds of updates, and how many of them
BEGIN = 3.0  # seconds of a process before its first update: it imports torch
NO_MATTER = (
    "seed", "learning_rate", "schedule", "clip", "epochs", "target", "train_size", "valid_size", "test_size",
)  # fmt: skip


@dataclass(frozen=True)
class Pace:
    """Seconds of an update, and of a sequence that is drawn or judged."""

    update: float
    drawn: float
    judged: float

    def seconds(self, setup: Setup, sizes: tuple[int, int] | None = None) -> float:
        """Of a whole run of the setup. sizes: training and validation sequences that are given, and not drawn."""
        config = setup.config
        train, valid = sizes or (config.train_size, config.valid_size)
        judged = config.epochs * valid + config.test_size
        draws = not sizes and not getattr(setup.task, "ACTS", False)
        drawn = config.test_size + config.valid_size + (0 if config.fresh else config.train_size) if draws else 0
        return (
            BEGIN + config.epochs * (train // config.batch_size) * self.update
            + judged * self.judged + drawn * self.drawn
        )  # fmt: skip


def mean_of(paces: Iterable[Pace]) -> Pace:
    rows = [astuple(each) for each in paces]
    return Pace(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


def shape_of(setup: Setup) -> str:
    """What a pace hangs on: setups that differ in a rate or a number of epochs have the same."""
    found = setup.as_json()
    config = {name: value for name, value in found["config"].items() if name not in NO_MATTER}
    network = {name: without_floats(value) for name, value in found["network"].items()}
    return json.dumps([found["model"], network, found["task"], config])


def without_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_floats(each) for name, each in value.items()}
    return None if isinstance(value, float) else value


def pace_of(setup: Setup, given: Batch | None = None) -> Pace:
    """Updates on one batch, or on those that the task draws for every update. given: of a file."""
    config, task, threads = setup.config, setup.task, torch.get_num_threads()
    torch.set_num_threads(1)  # as a run has
    try:
        now = clock_of(config.device)

        def clock(do: Callable[[], Any]) -> tuple[Any, float]:
            began = now()
            return do(), now() - began

        torch.manual_seed(config.seed)
        model = setup.build().to(config.device)
        anew = fresh(task, config.batch_size, config.seed, config.device)
        batch, drawn = given, 0.0
        if batch is None:
            draw = lambda: task.draw(config.batch_size, generator_of(0), model)  # noqa: E731
            clock(draw)  # what is read once, such as files
            batch, drawn = clock(draw)
        same: Batch = batch.to(config.device)
        renewed = config.fresh or getattr(task, "ACTS", False)
        loop = Loop(model, task, anew if renewed else lambda update, model: same, config, updates=10**9)
        _, longest = clock(loop.update)  # what is compiled or loaded once
        seconds: list[float] = []
        while not seconds or (sum(seconds) + longest < TIMED and len(seconds) < MOST):
            seconds.append(clock(loop.update)[1])
            longest = max(seconds)
        evaluate(model, task, [same])
        _, judged = clock(lambda: evaluate(model, task, [same]))
        return Pace(sum(seconds) / len(seconds), drawn / config.batch_size, judged / config.batch_size)
    finally:
        torch.set_num_threads(threads)


def clock_of(device: str) -> Callable[[], float]:
    """Processor time, which other processes do not lengthen; where another device computes, that of the clock."""
    return time.process_time if device == "cpu" else time.perf_counter
