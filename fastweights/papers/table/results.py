"""A finished run as one small JSON, results/NAME/CELL-seedN.json, and what the seeds of a cell come to."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NotRequired, TypedDict

from fastweights import files
from fastweights.files import FileError
from fastweights.forms import fault
from fastweights.jobs.job import Job
from fastweights.papers.cell import Cell
from fastweights.training import run_folder
from fastweights.training.config import Config
from fastweights.training.description import load_run
from fastweights.training.evaluation import Estimate, over_seeds
from fastweights.training.run_folder import RunError
from fastweights.training.setup import own_names, what_counts

CURVE_POINTS = 40
WANTED = "the result of a run; delete it, or choose another --results"
Record = dict[str, Any]
Measure = Callable[[Any, Any], dict[str, Any]]  # of a model and its task


class Judged(TypedDict):
    """What a row of metrics.jsonl has that is to become a result."""

    update: int
    valid_loss: float
    valid_accuracy: NotRequired[float]


class Curve(TypedDict):
    """Beside these, `valid_` with the metric of the task."""

    update: list[int]
    valid_loss: list[float]
    valid_accuracy: NotRequired[list[float]]


class Versions(TypedDict):
    torch: str


class Machine(TypedDict):
    cpu: str


class Result(TypedDict):
    """CELL-seedN.json: what readers rely on."""

    cell: str
    seed: int
    model: str
    network: run_folder.Network
    sources: NotRequired[dict[str, str]]
    task: run_folder.Named
    settings: Config
    parameters: int
    updates: int
    updates_to_99: NotRequired[int | None]
    seconds: float
    processor_seconds: NotRequired[float | None]
    measured: NotRequired[dict[str, Any]]
    test_error: NotRequired[float]
    test_loss: float
    test: NotRequired[dict[str, float]]
    backend: str
    commit: str
    versions: Versions
    machine: Machine
    curve: Curve


def record(cell: Cell, job: Job, measure: Measure | None = None, there: Path | None = None) -> Record:
    """What a run folder says of its run.

    measure: what else is told of its model and task. there: a result that has it already, if it is of these weights.
    """
    described, final = run_folder.read_description(job.folder), run_folder.read_final(job.folder)
    metrics = job.folder / run_folder.METRICS
    rows, timing = run_folder.read_rows(metrics), run_folder.read_last(job.folder / run_folder.TIMINGS)
    if said := fault(rows, list[Judged]):
        raise RunError(f"{metrics}: {said}, in a row of a result; delete the run, or choose another --run")
    final_of = {name.removeprefix("test_"): value for name, value in final.items() if name.startswith("test_")}
    found = {
        "cell": cell.name,
        "model": described["model"],
        "network": described["network"],
        **({"sources": described["sources"]} if "sources" in described else {}),
        "seed": job.setup.config.seed,
        "task": described["task"],
        "settings": described["config"],
        "data": described.get("data"),
        "parameters": described.get("parameters"),
        "updates": rows[-1]["update"],
        **to_99(rows),
        "seconds": round(timing["seconds"], 1),
        **({"processor_seconds": round(spent, 1)} if (spent := timing.get("processor_seconds")) is not None else {}),
        "backend": timing.get("backend"),
        "valid_loss": rows[-1]["valid_loss"],
        **errors(rows[-1], final),
        "test_loss": final.get("test_loss"),
        **({"test": more} if (more := others(final_of)) else {}),
        "weights_hash": final["weights_hash"],
        "commit": final["commit"],
        "versions": final["versions"],
        "machine": final["machine"],
        "curve": curve(rows, described["metric"]["name"]),
    }
    if measure is not None:
        found["measured"] = measured(measure, job, found["weights_hash"], there)
    if said := fault(found, Result):
        raise RunError(f"{job.folder}: {said}, in a run that is done; delete it, or choose another --run")
    return found


def to_99(rows: list[dict[str, Any]]) -> dict[str, Any]:
    if "valid_accuracy" not in rows[-1]:
        return {}
    return {"updates_to_99": next((row["update"] for row in rows if row["valid_accuracy"] >= 0.99), None)}


def errors(row: dict[str, Any], final: Any) -> dict[str, Any]:
    """What is wrong of the answers, where the task has an accuracy."""
    if "valid_accuracy" not in row:
        return {}
    right = final.get("test_accuracy")
    return {"valid_error": 1 - row["valid_accuracy"], "test_error": 1 - right if isinstance(right, float) else None}


def others(statistics: dict[str, float]) -> dict[str, float]:
    """Those beside loss and accuracy, which have names of their own in a result."""
    return {name: value for name, value in statistics.items() if name not in ("loss", "accuracy")}


def tested(record: Record, statistic: str) -> float:
    """A statistic of the test sequences, or what was measured of the trained network."""
    if statistic == "accuracy":
        return 1 - record["test_error"]
    return (
        record["test_loss"] if statistic == "loss" else (record.get("test", {}) | record.get("measured", {}))[statistic]
    )


def measured(measure: Measure, job: Job, weights_hash: str, there: Path | None) -> dict[str, Any]:
    if there is not None and files.exists(there):
        before = files.read_json(there, Result, WANTED)
        if before["weights_hash"] == weights_hash and "measured" in before:
            return before["measured"]
    import torch

    from fastweights.training.trained import one_thread

    with one_thread(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        model, task, _ = load_run(job.folder, own_names(job.setup.as_json()))
        return measure(model, task)


def curve(rows: list[dict[str, Any]], metric: str) -> dict[str, list[float]]:
    """The first and the last epoch, and some between them, closer at the beginning."""
    count, last = len(rows), len(rows) - 1
    places = {round(last * (step / (CURVE_POINTS - 1)) ** 1.5) for step in range(CURVE_POINTS)} if count else set()
    kept = [rows[place] for place in sorted(places)]
    wanted = dict.fromkeys(("update", "valid_loss", "valid_accuracy", f"valid_{metric}"))
    columns = [name for name in wanted if kept and name in kept[0]]
    return {name: [float(f"{row[name]:.5g}") if name != "update" else row[name] for row in kept] for name in columns}


def place(folder: Path, cell: Cell, seed: int) -> Path:
    return folder / f"{cell.name}-seed{seed}.json"


def write(path: Path, found: Record) -> None:
    compact = dict(found, curve=None)
    text = json.dumps(compact, indent=2).replace('"curve": null', f'"curve": {json.dumps(found["curve"])}')
    files.write(path, (text + "\n").encode())


def places(folder: Path, cell: Cell) -> list[tuple[int, Path]]:
    """The results of a cell that are there, (seed, file), in the order of their seeds."""
    found = (
        (re.fullmatch(rf"{re.escape(cell.name)}-seed(0|[1-9][0-9]{{0,18}})", path.stem), path)
        for path in folder.glob("*.json")
    )
    return sorted((int(match[1]), path) for match, path in found if match)


def load(path: Path, cell: Cell, seed: int) -> Record:
    """The result in a file, held to its form."""
    found = files.read_json(path, Result, WANTED)
    if (found["cell"], found["seed"]) != (cell.name, seed):
        raise FileError(f"{path}: got no result of this cell and seed, wanted {WANTED}")
    if len({len(column) for column in found["curve"].values()}) > 1:
        raise FileError(f"{path}: got a curve whose columns are not of one length, wanted {WANTED}")
    return found


def read(folder: Path, cells: list[Cell]) -> tuple[dict[str, list[Record]], list[Path]]:
    """The records of every cell by seed; and the files that are of another setup, or of another class, than their
    cell is now."""
    found: dict[str, list[Record]] = {cell.name: [] for cell in cells}
    stale: list[Path] = []
    for cell in cells:
        now = what_counts(cell.setup.as_json() | {"sources": cell.setup.sources})
        for seed, path in places(folder, cell):
            content = load(path, cell, seed)
            if what_counts(content | {"config": content["settings"]}) != now:
                stale.append(path)
            else:
                found[cell.name].append(content)
    return found, stale


def check(folder: Path, cells: list[Cell], coming: set[Path]) -> None:
    """Before anything is trained: raise where the results `coming` could not be written or would take the place of
    those of another model, or where one that stays is broken."""
    files.make_folder(folder)
    for cell in cells:
        for seed, path in places(folder, cell):
            try:
                there = load(path, cell, seed)["model"]
            except FileError:
                files.check(path)
                if path not in coming:
                    raise
                continue  # it is written anew
            if there != cell.setup.model and path in coming:
                raise RunError(f"{path}: got the result of {there} there, wanted one of {cell.setup.model}, or none; "
                               "choose another --results")  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """A row of the table."""

    name: str
    guess: float  # per cent: the error at the guess floor of its task
    reported: float | None  # per cent
    error: Estimate | None  # per cent of the test sequences; None: no run is done
    seeds: int
    to_99: float | None  # updates, the median over the seeds; None: some seed did not come there
    updates: int
    seconds: float  # mean
    parameters: int


def summarise(cell: Cell, records: list[Record], reported: dict[str, float]) -> Summary:
    guess = 100 * (1 - cell.setup.task.floors["accuracy"])
    if not records:
        return Summary(cell.name, guess, reported.get(cell.name), None, 0, None, 0, 0.0, 0)
    reached: list[int | None] = [each.get("updates_to_99") for each in records]
    return Summary(
        name=cell.name,
        guess=guess,
        reported=reported.get(cell.name),
        error=over_seeds([100 * each["test_error"] for each in records]),
        seeds=len(records),
        to_99=None if None in reached else median(filter(None, reached)),
        updates=max(each["updates"] for each in records),
        seconds=sum(each["seconds"] for each in records) / len(records),
        parameters=records[0]["parameters"],
    )
