"""A setup is tried out before the first process starts: what is wrong with it is known at once."""

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fastweights.errors import UserError, out_of_memory
from fastweights.optim import parameter_groups
from fastweights.own import place_of
from fastweights.tasks import Batch, Spec, Stats, better
from fastweights.training.evaluation import decoded
from fastweights.training.fits import check_run, check_weights
from fastweights.training.setup import Setup, own_parts
from fastweights.training.source import generator_of

FEW = 3  # sequences
PROTOCOLS = {
    "task": "fastweights.tasks.Task",
    "rule": "fastweights.rules.Rule",
    "memory": "fastweights.nn.memories.Memory",
}  # of classes of the user's


def try_out(setup: Setup, together: int = 1) -> None:
    """Build the network, answer a few sequences and take a gradient; what is wrong is said in one line.

    together: runs that are to fit into memory at a time.
    """
    config, task = setup.config, setup.task
    check_device(config.device)
    if config.label_smoothing and not smooths(task):
        raise UserError(
            f"--label-smoothing {config.label_smoothing:g}: the loss of {task.NAME} has no labels, wanted 0"
        )
    if task.METRIC.endswith("accuracy") and config.target is not None and not 0 <= config.target <= 1:
        raise UserError(f"--target {config.target:g}: wanted an {task.METRIC} from 0 to 1")
    wanted = f"wanted output, state = model(input), the output [batch, time, {config.hidden_size}]"
    with out_of_memory("--hidden-size or --embedding-sizes"):
        with own_faults(setup, wanted):
            check_constants(setup)
            check_weights(setup)
            check_run(setup, together)
        model = setup.build()
        parameter_groups(model, config.groups, config.learning_rate)
        with own_faults(setup, wanted):
            batch = task.draw(FEW, generator_of(0), model)
            check_drawn(setup, batch, model)
            loss, stats = task.loss(model, batch)
            loss.backward()
            if hasattr(task, "judge"):
                stats = {**stats, **judged(setup, model, batch)}
            check_stats(setup, loss, stats)
            if batch.lengths is None and batch.targets.dim() <= 2:
                check_samples(setup, model, batch.inputs, wanted)


def check_constants(setup: Setup) -> None:
    """What a task says of itself."""
    task = setup.task
    if not isinstance(task.spec, Spec) or min(task.spec.inputs, task.spec.outputs) < 1:
        raise UserError(f"task {task.NAME}: got the spec {task.spec!r}, wanted Spec(inputs, outputs), both at least 1")
    if better(task) not in ("higher", "lower"):
        raise UserError(f"task {task.NAME}: got BETTER = {better(task)!r}, wanted 'higher' or 'lower'")
    floors = task.floors
    if not isinstance(floors, Mapping) or not all(isinstance(value, int | float) for value in floors.values()):
        raise UserError(f"task {task.NAME}: got the floors {floors!r}, wanted {{statistic: number}}")
    try:
        json.dumps(setup.as_json())
    except TypeError as error:
        raise UserError(f"task or rule of {setup.model}: got a field that is no JSON ({error}), wanted one") from None


def check_drawn(setup: Setup, batch: Batch, model: torch.nn.Module) -> None:
    """As many sequences as were asked for, and the same from the same generator."""
    task = setup.task
    if len(batch.targets) != FEW or len(batch.inputs) != FEW:
        raise UserError(f"task {task.NAME}: got {len(batch.inputs)} sequences from draw({FEW}, ...), wanted {FEW}")
    if not getattr(task, "ACTS", False) and task.draw(FEW, generator_of(0), model).hash != batch.hash:
        raise UserError(f"task {task.NAME}: got other sequences from the same generator, wanted no other randomness")


@torch.no_grad()
def judged(setup: Setup, model: torch.nn.Module, batch: Batch) -> Stats:
    """What the task says of answers that the model gives by itself."""
    task: Any = setup.task
    stats = task.judge(batch, decoded(model.eval(), task, batch))
    if not isinstance(stats, Mapping):
        raise UserError(f"task {task.NAME}: got {type(stats).__name__} of judge, wanted {{name: (sum, count)}}")
    return stats


def check_stats(setup: Setup, loss: torch.Tensor, stats: Stats) -> None:
    task = setup.task
    if not isinstance(stats, Mapping) or task.METRIC not in stats:
        got = ", ".join(map(str, stats)) if isinstance(stats, Mapping) else type(stats).__name__
        raise UserError(f"task {task.NAME}: got the statistics {got}, wanted {{name: (sum, count)}} with {task.METRIC}")
    for name, pair in stats.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(x, torch.Tensor) for x in pair)):
            raise UserError(f"task {task.NAME}: got {pair!r} as its {name}, wanted two tensors (sum, count)")
        if any(each.numel() != 1 for each in pair):
            raise UserError(f"task {task.NAME}: got a {name} of {pair[0].numel()} numbers, wanted a sum and a count")
    if not bool(torch.isfinite(loss)):
        raise UserError(f"got a loss of {loss.item()} before anything is learnt, wanted a finite number")


def smooths(task: object) -> bool:
    """Whether the loss of the task takes smoothed labels."""
    return "smoothing" in inspect.signature(getattr(task, "loss")).parameters  # noqa: B009 - of any class


@torch.no_grad()
def check_samples(setup: Setup, model: torch.nn.Module, inputs: torch.Tensor, wanted: str) -> None:
    """Raise where the answer to a sequence depends on those beside it."""
    model.eval()
    together, again = model(inputs), model(inputs)
    apart = torch.cat([model(inputs[:1]), model(inputs[1:])])
    if torch.equal(together, again) and not torch.allclose(together, apart, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise UserError(
            f"model {setup.model!r}: got other outputs for a sequence when another is asked beside it; {wanted}"
        )


@contextmanager
def own_faults(setup: Setup, wanted: str) -> Iterator[None]:
    """What breaks in a class of the user's is the user's; without one it is a fault of this library."""
    own = own_parts(setup.as_json())
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if not own:
            raise
        if setup.model not in own:
            wanted = f"wanted what {' and '.join(PROTOCOLS[part] for part in dict.fromkeys(own.values()))} says"
        said, place = f": {error}" if str(error) else "", place_of(error)
        where = f" in {place.name} ({Path(place.filename).name}, line {place.lineno})" if place else ""
        got = f"{type(error).__name__}{where} when tried out{said}"
        raise UserError(f"{', '.join(own)}: got {got}; {wanted}") from error


def check_device(name: str) -> None:
    """Raise unless torch can compute on the device called `name`."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index is not None):
        raise UserError(f"--device {name}: wanted cpu or cuda")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UserError(
            f"--device {name}: torch sees {count} GPUs here, wanted one, and a build of torch for it; or cpu"
        )
