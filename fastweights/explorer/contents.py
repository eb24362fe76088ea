"""What the page is told: the task, some of its sequences, and the networks."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastweights.errors import UserError
from fastweights.explorer.packing import has_memory, pack, pack_network, why_not
from fastweights.tasks import NOTHING, AssociativeRetrieval, Copying, OwnLines, describe
from fastweights.training.looking import check_form, keys_of, symbol_names
from fastweights.training.metric import Metric
from fastweights.training.trained import TrainedRun

DRAWN, ORDERED = 24, 200  # sequences in the page, and those by which units are ordered
MOST_NUMBERS = 50_000  # in the sequences of the page
MOST_KEYS = 64  # in the map of codes
MOST_RUNS = 6  # as many as there are colours
PRINTED = {" ": "\N{MIDDLE DOT}", "\n": "\N{PILCROW SIGN}"}


def contents(runs: Sequence[TrainedRun]) -> dict[str, Any]:
    """All of the page that is not program. `UserError` where the runs cannot be shown on one page."""
    check(runs)
    task: Any = runs[0].task
    generator = torch.Generator().manual_seed(0)
    batch = task.draw(ORDERED, generator)
    named = len({run.name for run in runs}) == len(runs)
    return {
        "task": about(task, batch),
        "runs": [
            {
                "name": run.name if named else run.folder.name,
                "units": run.config.hidden_size,
                "result": result(run),
                "memory": has_memory(run.model),
                "network": pack_network(run.model, batch.inputs),
            }
            for run in sorted(runs, key=lambda run: not has_memory(run.model))
        ],
    }


def check(runs: Sequence[TrainedRun]) -> None:
    if len(runs) > MOST_RUNS:
        raise UserError(f"got {len(runs)} runs, wanted at most {MOST_RUNS} on a page; name their folders")
    first = describe(runs[0].task)
    for run in runs:
        if (other := describe(run.task)) != first:
            differs = next(name for name in {**first, **other} if first.get(name) != other.get(name))
            got = f"{differs} {first.get(differs)!r} in {runs[0].folder} and {other.get(differs)!r} in {run.folder}"
            raise UserError(f"got runs of two tasks ({got}), wanted runs of one task on a page")
    if getattr(runs[0].task, "ACTS", False):
        raise UserError(
            f"got runs of {runs[0].task.NAME}, which acts, wanted a task whose sequences can be drawn; "
            "`fastweights play` shows an episode"
        )
    check_form(runs[0].task)
    for run in runs:
        if reason := why_not(run.model):
            raise UserError(f"{run.folder}: {reason}")
    if not any(has_memory(run.model) for run in runs):
        names = ", ".join(dict.fromkeys(run.name for run in runs))
        raise UserError(
            f"{runs[0].folder}: got {names} without fast weights, wanted a run with a memory to look into, such as "
            "RNN-LN-FW; name it first, and this one is compared to it"
        )


def result(run: TrainedRun) -> str:
    """What validation came to, as a person reads it; empty where there is no curve."""
    if not run.curve:
        return ""
    metric = Metric.of(run.task)
    return f"{metric.name} {metric.show(metric.value(run.curve[-1]))}"


def guess(task: Any) -> str:
    """The guess floor of what `result` says, as a person reads it."""
    floor = task.floors.get(task.METRIC)
    return "" if floor is None else Metric.of(task).show(floor)


def about(task: Any, batch: Any) -> dict[str, Any]:
    spec, classified = task.spec, not batch.targets.is_floating_point()
    named = printed(task, getattr(task, "CLASSES", ()) or map(str, range(spec.outputs)))
    options = {name: value for name, value in describe(task).items() if type(value) in (int, float, bool, str)}
    return {
        "name": task.NAME,
        "grammar": grammar(task),
        "options": options,
        "inputs": spec.inputs,
        "outputs": spec.outputs,
        "symbols": symbols(task),
        "separated": bool(getattr(task, "separated", False)),
        "classes": named if classified else None,
        "every": spec.every,
        "keys": keys(task),
        "floor": task.floors.get("accuracy") if classified else None,
        "guess": guess(task),
        "drawn": sequences(task, batch),
    }


def keys(task: Any) -> list[int]:
    """Which symbols have a code; none where there are too many for a map."""
    found = keys_of(task).tolist() if task.spec.symbols else []
    return found if len(found) <= MOST_KEYS else []


def grammar(task: Any) -> str:
    """How the page reads what is typed: by the very rules of the task, as any of its symbols, or not at all."""
    if type(task) in (AssociativeRetrieval, Copying):
        return task.NAME
    return "symbols" if task.spec.symbols and hasattr(task, "CLASSES") and hasattr(task, "encode") else "drawn"


def symbols(task: Any) -> list[str] | None:
    if not task.spec.symbols:
        return None
    return printed(task, symbol_names(task) or map(str, range(task.spec.inputs)))


def printed(task: Any, names: Iterable[str]) -> list[str]:
    """The names; of a task whose sequences nobody types, with a mark for a blank and for the end of a line."""
    return [PRINTED.get(name, name) if grammar(task) == "drawn" else name for name in names]


def sequences(task: Any, batch: Any) -> dict[str, Any]:
    """The first that were drawn, each as long as it is; of a task that made them up, without answers."""
    count = max(1, min(DRAWN, len(batch.inputs), MOST_NUMBERS // max(1, batch.inputs[0].numel())))
    inputs, targets, lengths = batch.select(slice(count))
    if type(task) is OwnLines:
        targets = torch.full_like(targets, NOTHING)
    if targets.dim() > 2 or (targets.dim() == 2 and targets.shape[1] != inputs.shape[1]):
        targets = torch.full(inputs.shape[:1], NOTHING)  # nothing that the page could show
    steps: Tensor = torch.full((count,), inputs.shape[1]) if lengths is None else lengths
    return {"inputs": pack(inputs), "targets": pack(targets), "lengths": steps.tolist()}
