"""One run, from its folder and back into it: it can be stopped at any moment and go on, bit for bit."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from fastweights import files
from fastweights.optim.flat_adamw import STEP
from fastweights.process import signals
from fastweights.process.signals import Heard
from fastweights.tasks import Batch, better
from fastweights.training import provenance, run_folder, source
from fastweights.training.checkpoints import (
    check_final,
    hash_weights,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    usable,
)
from fastweights.training.data import Data
from fastweights.training.description import check_header, check_same, describe, identity
from fastweights.training.evaluation import evaluate, parts
from fastweights.training.loop import Loop, NonFiniteLoss, Progress, not_finite
from fastweights.training.metric import Metric
from fastweights.training.run_folder import CHECKPOINT, CONFIG, FINAL, METRICS, TIMINGS, RunError
from fastweights.training.setup import Setup

VALID, TEST = 1, 2  # what is acted for them has generators of its own
WATCH_EVERY = 0.2  # seconds

Watch = Callable[["Run"], None]  # called a few times a second


def train(
    setup: Setup,
    data: Data,
    folder: Path,
    *,
    resume: bool = False,
    watch: Watch = lambda run: None,
    heard: Heard | None = None,
) -> dict[str, Any]:
    """Train the setup into `folder`; returns the last row of its metrics.

    Raises `RunError` where the folder holds another run, `NonFiniteLoss` where training breaks down, and
    `KeyboardInterrupt` after Ctrl-C and SIGTERM, once the checkpoint is written. `heard`: what a process is asked that
    takes its signals itself.
    """
    setup = replace(setup, task=data.task)  # a file of sequences tells how long they are
    description = describe(setup, data)
    if files.exists(folder / CONFIG):
        check_same(folder, description, resume)  # a folder that is not ours stays untouched
    files.make_folder(folder)
    taken = signals.heard(signals.POLITE) if heard is None else nullcontext(heard)
    with run_folder.only_one(folder), taken as heard:
        stored = check_same(folder, description, resume) if files.exists(folder / CONFIG) else None
        there = [name for name in run_folder.FILES if files.exists(folder / name)]
        for name in there:
            files.check(folder / name)
        files.remove_parts(folder, run_folder.FILES)
        run = Run(setup, data, folder, identity(description), heard)
        if stored is not None and CHECKPOINT in there:
            run.load(stored)
        elif stored is not None or not there:
            for name in (METRICS, TIMINGS, FINAL):
                (folder / name).unlink(missing_ok=True)
            files.write_json(folder / CONFIG, description | {"parameters": run.num_parameters})
        else:
            raise RunError(f"{folder / there[0]}: got a file of a run without its {CONFIG}; choose another --run")
        row = run.finish(watch)
        if not run.ended:
            files.write_json(folder / FINAL, run.final())
        return row


class Run:
    """One model on its way through its epochs."""

    def __init__(self, setup: Setup, data: Data, folder: Path, identity: str, heard: Heard) -> None:
        self.identity = identity  # of what config.json says
        self.heard, self.saved, self.asked = heard, 0, 0  # what is in the checkpoint; of that, what was asked for
        self.setup, self.config, self.task, self.folder = setup, setup.config, setup.task, folder
        self.device, self.data = self.config.device, data
        torch.manual_seed(self.config.seed)
        self.model = setup.build().to(self.device)
        self.num_parameters = sum(p.numel() for p in self.model.parameters())
        size, seed = self.config.batch_size, self.config.seed + 1  # the weights and the data have the seed itself
        train_set = None if self.config.fresh else data.train
        if train_set is None:
            self.batches = self.config.train_size // size
            update_sees = source.fresh(self.task, size, seed, self.device)
        else:
            self.batches = len(train_set.targets) // size
            renew, alike = getattr(self.task, "renew", None), self.task.spec.pairs
            update_sees = source.epochs(train_set, size, seed, renew, self.device, alike)
        self.updates = self.batches * self.config.epochs
        self.loop = Loop(self.model, self.task, update_sees, self.config, self.updates)
        self.clock = time.perf_counter()  # minus what earlier processes spent on this run
        self.processor_clock = time.process_time()  # likewise
        self.last_row: dict[str, Any] | None = None
        heard.unsaved = lambda: self.progress.update > self.saved

    @property
    def progress(self) -> Progress:
        return self.loop.progress

    @property
    def seconds(self) -> float:
        """Of training and validation, over all processes that worked on this run."""
        return time.perf_counter() - self.clock

    @property
    def ended(self) -> bool:
        """Whether final.json tells of these weights."""
        there = files.exists(self.folder / FINAL)
        return there and run_folder.read_final(self.folder)["update"] == self.progress.update

    def finish(self, watch: Watch) -> dict[str, Any]:
        watch(self)
        while not self.progress.done:
            self.epoch(watch)
            watch(self)
        assert self.last_row is not None
        return self.last_row

    def final(self) -> dict[str, Any]:
        """What is known of the weights at the end; nothing was chosen by the test sequences."""
        found: dict[str, Any] = {"update": self.progress.update, "weights_hash": hash_weights(self.model)}
        if self.data.test is not None or (self.data.train is None and self.config.test_size):
            found |= {f"test_{name}": value for name, value in self.judge(TEST).items()}
        return found | provenance.here()

    def judge(self, which: int) -> dict[str, float]:
        """The statistics over the validation or the test sequences; what is acted is always the same episodes."""
        valid, test = (self.data.valid, self.config.valid_size), (self.data.test, self.config.test_size)
        given, count = valid if which == VALID else test
        batches = parts(given, self.task.spec.pairs) if given is not None else self.acted(which, count)
        return evaluate(self.model, self.task, self.until_stopped(batches))

    def until_stopped(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.heard.stop:
                raise KeyboardInterrupt
            yield batch.to(self.device)

    def acted(self, which: int, count: int) -> Iterable[Batch]:
        size = self.config.batch_size
        for place, first in enumerate(range(0, count, size)):
            generator = source.generator_of(self.config.seed, which, place)
            yield self.task.draw(min(size, count - first), generator, self.model)

    def epoch(self, watch: Watch) -> None:
        began, first, told = self.seconds, self.progress.update, 0.0
        while self.progress.update < (self.progress.epoch + 1) * self.batches:
            if broken := self.loop.update():
                raise self.broken(broken, self.progress.update + 1)
            if self.heard.stop:
                self.stop(watch)
            if self.heard.save:
                self.heard.save = False
                self.save()
                self.asked = self.saved
                watch(self)
            if self.seconds - told > WATCH_EVERY:
                told = self.seconds
                watch(self)
        done = self.progress.update - first
        speed, states = done * self.config.batch_size / max(self.seconds - began, 1e-9), random_states(self.device)
        try:
            valid = self.judge(VALID)
        except KeyboardInterrupt:
            for name, state in states.items():  # it will be judged again
                set_random_state(name, state)
            self.stop(watch)
        else:
            self.end_epoch(speed, valid)

    def stop(self, watch: Watch) -> NoReturn:
        self.save()
        watch(self)
        raise KeyboardInterrupt

    def broken(self, what: str, update: int) -> NonFiniteLoss:
        kept = f"; the last good checkpoint is kept in {self.folder}"
        return NonFiniteLoss(
            f"{self.setup.model}: {what} at update {update}"
            f"{kept if files.exists(self.folder / CHECKPOINT) else ''}; try `fastweights train` with a smaller "
            "--learning-rate or --clip, and another --run"
        )

    def end_epoch(self, speed: float, valid: dict[str, float]) -> None:
        progress = self.progress
        norm, rate = progress.gradient_norm / self.batches, self.loop.learning_rate()
        trained = self.loop.end_epoch()
        row = {"model": self.setup.model, "epoch": progress.epoch, "update": progress.update}
        row |= {f"train_{name}": value for name, value in trained.items()}
        row |= {f"valid_{name}": value for name, value in valid.items()}
        row |= {"gradient_norm": norm, "learning_rate": rate}
        if odd := not_finite(row):
            raise self.broken(f"{odd[0]} became {odd[1]}", progress.update)
        progress.gradient_norm = 0.0
        progress.done = self.reached(row) or progress.epoch >= self.config.epochs
        self.last_row = row
        run_folder.append_row(self.folder / METRICS, row)
        timing = {
            "update": progress.update,
            "seconds": self.seconds,
            "processor_seconds": time.process_time() - self.processor_clock,
            "sequences_per_second": speed,
            "backend": self.model.backend,
        }
        run_folder.append_row(self.folder / TIMINGS, timing)
        self.save()

    def reached(self, row: dict[str, Any] | None) -> bool:
        """Whether validation has come to the target."""
        target = self.config.target
        if target is None or row is None:
            return False
        value = Metric.of(self.task).value(row)
        return value <= target if better(self.task) == "lower" else value >= target

    def save(self) -> None:
        self.loop.count()
        if odd := self.progress.not_finite():
            raise self.broken(f"{odd[0]} became {odd[1]}", self.progress.update)
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= self.loop.optimizer.tensors()
        tensors |= {f"random.{name}": state for name, state in random_states(self.device).items()}
        header = {"model": self.setup.model, "run": self.identity, "progress": asdict(self.progress)}
        save_checkpoint(self.folder / CHECKPOINT, tensors, header)
        self.saved = self.progress.update

    def check_place(self) -> None:
        """Raise where the progress that was stored is no place of this run."""
        at = self.progress
        if not (at.epoch >= 0 and 0 <= at.update - at.epoch * self.batches <= self.batches):
            raise ValueError(f"update {at.update} is not in epoch {at.epoch}")

    def check_state(self, tensors: dict[str, Tensor]) -> None:
        """Raise unless the state of optimizer and generators is all there, and that after as many updates."""
        own = {f"random.{name}": state for name, state in random_states(self.device).items()}
        wanted = self.loop.optimizer.wanted() | own
        state = {name: tensor for name, tensor in tensors.items() if not name.startswith("model.")}
        if odd := sorted(wanted.keys() - state.keys()):
            raise LookupError(f"{odd[0]} is missing")
        if odd := sorted(state.keys() - wanted.keys() - {"random.cuda"}):
            raise LookupError(f"{odd[0]} is unknown")
        for name, tensor in state.items():
            got, model = (tensor.dtype, list(tensor.shape)), wanted.get(name, tensor)
            if name == STEP and tensor.dim() == 0:
                model = model.new_zeros(())
            if got != (model.dtype, list(model.shape)):
                raise ValueError(f"{name} is {got}, not {(model.dtype, list(model.shape))}")
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise ValueError(f"{name} is not finite")
        if not bool((state[STEP] == self.progress.update).all()):
            raise ValueError(f"{STEP} is {state[STEP].flatten()[:3].tolist()} after {self.progress.update} updates")

    def load(self, stored: dict[str, Any]) -> None:
        path = self.folder / CHECKPOINT
        tensors, header = load_checkpoint(path)
        check_header(path, header, stored)
        load_weights(self.model, tensors, path)
        with usable(path):
            self.loop.progress = Progress.from_json(header["progress"])
            self.check_place()
            self.check_state(tensors)
            self.loop.optimizer.load_tensors(tensors)
            self.saved = self.progress.update
            for name in random_states(self.device):
                set_random_state(name, tensors[f"random.{name}"])
        check_final(self.folder, self.model, self.progress.update)
        self.keep_logged()
        self.progress.done = self.reached(self.last_row) or self.progress.epoch >= self.config.epochs
        now = json.loads(json.dumps(self.setup.as_json()))
        if any(stored[part] != now[part] for part in ("config", "network")):
            files.write_json(self.folder / CONFIG, stored | {part: now[part] for part in ("config", "network")})

    def keep_logged(self) -> None:
        """Of what was logged, what the checkpoint knows of; the rest is about to be done again."""
        ended = self.progress.epoch * self.batches  # where the last finished epoch ended
        for name in (METRICS, TIMINGS):  # both are read before one is written
            path = self.folder / name
            logged = [row for row in run_folder.read_rows(path) if row["update"] <= ended]
            if [row["update"] for row in logged] != [self.batches * n for n in range(1, self.progress.epoch + 1)]:
                raise RunError(
                    f"{path}: got {len(logged)} epochs up to the checkpoint, wanted its {self.progress.epoch}, each "
                    f"of {self.batches} updates; train again into another --run"
                )
            with files.said_of(path):
                for row in logged if name == METRICS else ():
                    Metric.of(self.task).value(row)
        for name in (METRICS, TIMINGS):
            run_folder.keep_rows(self.folder / name, ended)
        rows = run_folder.read_rows(self.folder / METRICS)
        self.last_row = rows[-1] if rows else None
        timings = run_folder.read_rows(self.folder / TIMINGS)
        if timings:
            self.clock -= timings[-1]["seconds"]
            self.processor_clock -= timings[-1].get("processor_seconds", 0.0)


def random_states(device: str) -> dict[str, torch.Tensor]:
    """Of torch's own generators, which dropout draws from."""
    states = {"torch": torch.random.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.startswith("cuda") else {})


def set_random_state(name: str, state: torch.Tensor) -> None:
    torch.random.set_rng_state(state) if name == "torch" else torch.cuda.set_rng_state(state)
