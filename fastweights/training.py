"""The one training loop, for every model: it writes a run folder and can go on with one, bit for bit."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights import __version__, provenance, runs
from fastweights.checkpoints import hash_weights, load_checkpoint, load_weights, random_state, save_checkpoint
from fastweights.config import Config
from fastweights.data import Data
from fastweights.evaluation import evaluate
from fastweights.nn.classifier import SequenceClassifier
from fastweights.nn.input_layers import centered_of, decays_of, rotated_of, shares_of
from fastweights.nn.models import build
from fastweights.optimizer import FlatAdam
from fastweights.runs import CHECKPOINT, CONFIG, FINAL, METRICS, TIMINGS, RunError
from fastweights.tasks import make_task

COUNT_EVERY = 256  # updates


class NonFiniteLoss(RuntimeError):
    """The loss or the gradient is no finite number any more; the last good checkpoint is kept."""


@dataclass
class Progress:
    """Where a run is. What it holds goes into the checkpoint, so that a run that was cut goes on exactly there."""

    update: int = 0
    epoch: int = 0
    batch: int = 0  # of the epoch under way
    loss: float = 0.0  # sums over the batches of the epoch under way
    correct: int = 0
    gradient_norm: float = 0.0
    done: bool = False

    @staticmethod
    def from_json(stored: dict[str, Any]) -> "Progress":
        progress = Progress(**stored)
        for name, value in asdict(Progress()).items():
            if type(got := getattr(progress, name)) is not type(value):
                raise TypeError(f"{name} is {got!r}, not a {type(value).__name__}")
        return progress


Watch = Callable[["Run"], None]  # called a few times a second


def train(
    model: str, config: Config, data: Data, folder: Path, *, resume: bool = False, watch: Watch = lambda run: None
) -> dict[str, Any]:
    """Train `model` into `folder`; returns the last row of its metrics.

    Raises `RunError` where the folder holds another run, `NonFiniteLoss` where training breaks down, and
    `KeyboardInterrupt` after Ctrl-C, once the checkpoint is written.
    """
    description = describe(model, config, data)
    if (folder / CONFIG).exists():
        check_same(folder, description, resume)  # a folder that is not ours stays untouched
    runs.make_folder(folder)
    with runs.only_one(folder), stop_signals() as stop:
        stored = check_same(folder, description, resume) if (folder / CONFIG).exists() else None
        for name in (CONFIG, METRICS, TIMINGS, CHECKPOINT, FINAL):
            for part in folder.glob(f".{name}.*.part"):  # of a process that was killed as it wrote
                part.unlink()
        run = Run(model, config, data, folder)
        if stored is not None and (folder / CHECKPOINT).exists():
            run.load(stored["config"])
        elif stored is not None or not any((folder / name).exists() for name in (METRICS, TIMINGS, FINAL, CHECKPOINT)):
            for name in (METRICS, TIMINGS):
                (folder / name).unlink(missing_ok=True)
            runs.write_json(folder / CONFIG, description | {"parameters": run.num_parameters})
        else:
            raise RunError(f"{folder}: got files of a run without its {CONFIG}; choose another --run")
        done = run.progress.done and (folder / FINAL).exists()
        row = run.finish(stop, watch)
        if not done:
            runs.write_json(folder / FINAL, run.final())
        return row


def describe(model: str, config: Config, data: Data) -> dict[str, Any]:
    """What config.json says of a run."""
    return {
        "fastweights": __version__,
        "torch": torch.__version__,
        "model": model,
        **({"source": source} if (source := provenance.source_of(model)) else {}),
        "task": {"name": data.task.NAME, "version": data.task.VERSION, **asdict(data.task)},
        "data": data.describe(),
        "config": config.as_json(),
    }


def check_same(folder: Path, description: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The stored description, if this is its run; how long it trains may change, unless the schedule hangs on it."""
    stored = runs.read_json(folder / CONFIG)
    if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
        raise RunError(f"{folder / CONFIG}: got no description of a run, wanted one; choose another --run")
    if not resume:
        raise RunError(
            f"{folder}: already holds a run of {stored.get('model')}; --resume goes on with it, or choose another --run"
        )
    wanted = json.loads(json.dumps(description))
    free = {"target_accuracy", "backend"} | ({"epochs"} if description["config"]["schedule"] == "constant" else set())
    with suppress(TypeError, ValueError):  # settings that are younger than the run have their default there
        stored = stored | {"config": json.loads(json.dumps(Config.from_json(stored["config"]).as_json()))}
    for part in ("model", "source", "task", "data", "config"):
        old, new = stored.get(part), wanted.get(part)
        if part == "config":
            old, new = ({k: v for k, v in side[part].items() if k not in free} for side in (stored, wanted))
        if part == "source" and part not in stored:
            continue  # of a run that is older than this
        if old != new:
            if part == "source":
                raise RunError(
                    f"{folder}: holds a run of {stored['model']} from before its file was changed; choose another --run"
                )
            if isinstance(old, dict) and isinstance(new, dict):
                name = next(k for k in [*new, *old] if old.get(k) != new.get(k))
                old, new, part = old.get(name), new.get(name), f"{part} {name}"
            raise RunError(f"{folder}: holds another run ({part} {old!r}, not {new!r}); choose another --run")
    return stored


def training_step(
    model: nn.Module,
    optimizer: FlatAdam,
    tokens: Tensor,
    targets: Tensor,
    learning_rate: float,
    label_smoothing: float = 0.0,
) -> tuple[float, float, Tensor]:
    """Forward, cross-entropy, backward, clipping, Adam; returns the loss, the gradient norm and the logits.

    A loss that is not finite has no backward pass (its norm is NaN), a norm that is not finite no update.
    """
    logits = model(tokens)
    loss = functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    value, norm = loss.item(), math.nan
    if math.isfinite(value):
        loss.backward()
        norm = optimizer.step(learning_rate)
    return value, norm, logits.detach()


class Run:
    """One model on its way through its epochs."""

    def __init__(self, name: str, config: Config, data: Data, folder: Path) -> None:
        self.name, self.config, self.data, self.folder = name, config, data, folder
        torch.manual_seed(config.seed)
        self.model: SequenceClassifier = build(name, config, len(data.task.SYMBOLS), len(data.task.CLASSES))
        self.num_parameters = sum(p.numel() for p in self.model.parameters())
        shares, decays = shares_of(self.model, config), decays_of(self.model, config)
        rotated, centered = rotated_of(self.model, config), centered_of(self.model, config)
        self.optimizer = FlatAdam(self.model, config.learning_rate, config.clip, shares, decays, rotated, centered)
        self.generator = torch.Generator().manual_seed(config.seed + 1)  # of the order of the sequences
        self.order = self.generator.get_state()  # at the beginning of the epoch under way
        self.progress = Progress()
        self.clock = time.perf_counter()  # minus what earlier processes spent on this run
        self.batches = len(data.train.tokens) // config.batch_size
        self.updates = self.batches * config.epochs
        self.last_row: dict[str, Any] | None = None
        self.uncounted: list[tuple[Tensor, Tensor]] = []  # logits and targets whose answers are still to be counted

    def schedule(self) -> float:
        """What is left of learning rate and label smoothing: 1 at first, towards 0 along the cosine."""
        if self.config.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * self.progress.update / self.updates))

    def learning_rate(self) -> float:
        return self.config.learning_rate * self.schedule()

    @property
    def seconds(self) -> float:
        """Of training and validation, over all processes that worked on this run."""
        return time.perf_counter() - self.clock

    def finish(self, stop: threading.Event, watch: Watch) -> dict[str, Any]:
        while not self.progress.done:
            self.epoch(stop, watch)
        watch(self)
        assert self.last_row is not None
        return self.last_row

    def final(self) -> dict[str, Any]:
        """What is known of the weights at the end; nothing was chosen by the test sequences."""
        found: dict[str, Any] = {"update": self.progress.update, "weights_hash": hash_weights(self.model)}
        if self.data.test is not None:
            score = evaluate(self.model, self.data.test)
            found |= {"test_loss": score.loss, "test_accuracy": score.accuracy}
        return found | provenance.here()

    def epoch(self, stop: threading.Event, watch: Watch) -> None:
        progress, size = self.progress, self.config.batch_size
        self.generator.set_state(self.order)
        order = torch.randperm(len(self.data.train.tokens), generator=self.generator)
        tokens, targets = self.data.train.tokens[order], self.data.train.targets[order]
        if self.config.renamed_keys:
            tokens = self.data.task.rename_keys(tokens, self.generator)
        began, first, told = self.seconds, progress.batch, 0.0
        for batch in range(first, self.batches):
            part = slice(batch * size, (batch + 1) * size)
            self.update(tokens[part], targets[part])
            if stop.is_set():
                self.save()
                raise KeyboardInterrupt
            if self.seconds - told > 0.2:
                told = self.seconds
                watch(self)
        speed = (self.batches - first) * size / max(self.seconds - began, 1e-9)
        self.end_epoch(speed)

    def update(self, tokens: Tensor, targets: Tensor) -> None:
        progress = self.progress
        smoothing = self.config.label_smoothing * self.schedule()
        value, norm, logits = training_step(
            self.model, self.optimizer, tokens, targets, self.learning_rate(), smoothing
        )
        if not math.isfinite(norm):
            what = f"the loss became {value}" if not math.isfinite(value) else f"the gradient norm became {norm}"
            kept = f"; the last good checkpoint is kept in {self.folder}" if (self.folder / CHECKPOINT).exists() else ""
            raise NonFiniteLoss(
                f"{self.name}: {what} at update {progress.update + 1}{kept}; try `fastweights train` with a smaller "
                "--learning-rate or --clip, and another --run"
            )
        progress.update += 1
        progress.batch += 1
        progress.loss += value
        progress.gradient_norm += norm
        self.uncounted.append((logits, targets))
        if len(self.uncounted) >= COUNT_EVERY:
            self.count()

    def count(self) -> None:
        """The right answers since the last count: one count for many updates costs as much as one for each."""
        if self.uncounted:
            logits, targets = (torch.cat(parts) for parts in zip(*self.uncounted, strict=True))
            self.progress.correct += int((logits.argmax(1) == targets).sum())
            self.uncounted.clear()

    def end_epoch(self, speed: float) -> None:
        self.count()
        progress, count = self.progress, self.batches
        valid = evaluate(self.model, self.data.valid)
        progress.epoch += 1
        row = {
            "model": self.name,
            "epoch": progress.epoch,
            "update": progress.update,
            "train_loss": progress.loss / count,
            "train_accuracy": progress.correct / (count * self.config.batch_size),
            "valid_loss": valid.loss,
            "valid_accuracy": valid.accuracy,
            "gradient_norm": progress.gradient_norm / count,
            "learning_rate": self.learning_rate(),
        }
        target = self.config.target_accuracy
        reached = target is not None and valid.accuracy >= target
        progress.done = reached or progress.epoch >= self.config.epochs
        progress.batch, progress.loss, progress.correct, progress.gradient_norm = 0, 0.0, 0, 0.0
        self.order = self.generator.get_state()
        self.last_row = row
        runs.append_row(self.folder / METRICS, row)
        timing = {
            "update": progress.update,
            "seconds": self.seconds,
            "sequences_per_second": speed,
            "backend": self.model.backend,
        }
        runs.append_row(self.folder / TIMINGS, timing)
        self.save()

    def save(self) -> None:
        self.count()
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= self.optimizer.state()
        tensors |= {"random.order": self.order, "random.torch": random_state()}
        header = {"model": self.name, "progress": asdict(self.progress)}
        save_checkpoint(self.folder / CHECKPOINT, tensors, header)

    def check_place(self) -> None:
        """Raise where the progress that was stored is no place of this run."""
        at = self.progress
        if not (0 <= at.batch <= self.batches and at.epoch >= 0 and at.update == at.epoch * self.batches + at.batch):
            raise ValueError(f"batch {at.batch} of epoch {at.epoch} is not update {at.update}")

    def load(self, stored: dict[str, Any]) -> None:
        path = self.folder / CHECKPOINT
        tensors, header = load_checkpoint(path)
        if header.get("model") != self.name:
            raise RunError(f"{path}: got the checkpoint of {header.get('model')}, wanted one of {self.name}")
        load_weights(self.model, tensors, path)
        try:
            for name, tensor in tensors.items():
                if name.startswith(("adam.", "soap.")) and not bool(tensor.isfinite().all()):
                    raise ValueError(f"{name} is not finite")
            self.optimizer.load_state(tensors)
            self.order = tensors["random.order"]
            self.generator.set_state(self.order)
            torch.random.set_rng_state(tensors["random.torch"])
            self.progress = Progress.from_json(header["progress"])
            self.check_place()
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise RunError(
                f"{path}: got a checkpoint that no run can go on from ({reason}), wanted one that `fastweights train` "
                "has written; train again into another --run"
            ) from None
        ended = self.progress.epoch * self.batches  # where the last finished epoch ended
        for name in (METRICS, TIMINGS):  # both are read before one is written
            logged = [row for row in runs.read_rows(self.folder / name) if row["update"] <= ended]
            if len(logged) != self.progress.epoch:
                raise RunError(
                    f"{self.folder / name}: got {len(logged)} epochs up to the checkpoint, wanted its "
                    f"{self.progress.epoch}; train again into another --run"
                )
        for name in (METRICS, TIMINGS):
            runs.keep_rows(self.folder / name, ended)
        rows = runs.read_rows(self.folder / METRICS)
        self.last_row = rows[-1] if rows else None
        timings = runs.read_rows(self.folder / TIMINGS)
        self.clock -= timings[-1]["seconds"] if timings else 0.0
        target = self.config.target_accuracy
        reached = target is not None and self.last_row is not None and self.last_row["valid_accuracy"] >= target
        self.progress.done = reached or self.progress.epoch >= self.config.epochs
        if self.config.as_json() != stored:
            description = runs.read_json(self.folder / CONFIG)
            runs.write_json(self.folder / CONFIG, description | {"config": self.config.as_json()})


def load_run(folder: Path, model: str | None = None) -> tuple[SequenceClassifier, dict[str, Any]]:
    """The trained model of a run folder and its description; `model`: what it must be."""
    described = runs.read_description(folder)
    name = described["model"]
    try:
        config, task = Config.from_json(described["config"]), make_task(described["task"])
    except (TypeError, ValueError) as error:
        raise RunError(f"{folder / CONFIG}: got no description of a run ({error}), wanted one") from None
    if model is not None and name != model:
        raise RunError(f"{folder}: holds a run of {name}, not of {model}; name another --run")
    if ":" in name and model is None:  # a file must not choose what is imported
        raise RunError(f"{folder}: holds a run of {name}; name that model yourself to have it imported")
    path = folder / CHECKPOINT
    tensors, header = load_checkpoint(path)
    if header.get("model") != name:
        raise RunError(f"{path}: got the checkpoint of {header.get('model')}, wanted one of {name}")
    classifier = build(name, replace(config, backend="auto"), len(task.SYMBOLS), len(task.CLASSES))
    load_weights(classifier, tensors, path)
    return classifier.eval(), described


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and a polite kill set, instead of breaking off in the middle of an update."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
