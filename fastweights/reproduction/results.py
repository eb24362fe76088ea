"""A finished run as one small JSON, results/NAME/CELL-seedN.json, and what the seeds of a cell come to."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fastweights import runs
from fastweights.config import Config
from fastweights.evaluation import Estimate, over_seeds
from fastweights.papers import Cell
from fastweights.runs import RunError
from fastweights.worker import Job

CURVE_POINTS = 40
Record = dict[str, Any]


def record(cell: Cell, job: Job) -> Record:
    """What a run folder says of its run."""
    described, final = runs.read_json(job.folder / runs.CONFIG), runs.read_json(job.folder / runs.FINAL)
    rows = runs.read_rows(job.folder / runs.METRICS)
    timing = runs.read_rows(job.folder / runs.TIMINGS)[-1]
    at_99 = next((row["update"] for row in rows if row["valid_accuracy"] >= 0.99), None)
    return {
        "cell": cell.name,
        "model": described["model"],
        "seed": job.config.seed,
        "task": described["task"],
        "settings": described["config"],
        "data": described["data"],
        "parameters": described["parameters"],
        "updates": rows[-1]["update"],
        "updates_to_99": at_99,
        "seconds": round(timing["seconds"], 1),
        "backend": timing["backend"],
        "valid_loss": rows[-1]["valid_loss"],
        "valid_error": 1 - rows[-1]["valid_accuracy"],
        "test_loss": final.get("test_loss"),
        "test_error": 1 - final["test_accuracy"] if "test_accuracy" in final else None,
        "weights_hash": final["weights_hash"],
        "commit": final["commit"],
        "versions": final["versions"],
        "machine": final["machine"],
        "curve": curve(rows),
    }


def curve(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """The first and the last epoch, and some between them, closer at the beginning."""
    count, last = len(rows), len(rows) - 1
    places = {round(last * (step / (CURVE_POINTS - 1)) ** 1.5) for step in range(CURVE_POINTS)} if count else set()
    kept = [rows[place] for place in sorted(places)]
    columns = ("update", "valid_loss", "valid_accuracy")
    return {name: [float(f"{row[name]:.5g}") if name != "update" else row[name] for row in kept] for name in columns}


def write(folder: Path, found: Record) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found['cell']}-seed{found['seed']}.json"
    compact = dict(found, curve=None)
    text = json.dumps(compact, indent=2).replace('"curve": null', f'"curve": {json.dumps(found["curve"])}')
    runs.write_atomically(path, (text + "\n").encode())


def read(folder: Path, cells: list[Cell]) -> tuple[dict[str, list[Record]], list[Path]]:
    """The records of every cell by seed; and the files whose settings are not those of their cell any more."""
    found: dict[str, list[Record]] = {cell.name: [] for cell in cells}
    by_name, stale = {cell.name: cell for cell in cells}, []
    for path in sorted(folder.glob("*-seed*.json")):
        content = runs.read_json(path)
        if not isinstance(content, dict) or not {"cell", "seed", "settings", "model"} <= content.keys():
            raise RunError(f"{path}: got no result of a run, wanted one; delete it, or choose another --results")
        cell = by_name.get(content["cell"])
        if cell is None:
            continue
        if (content["model"], settings(content["settings"])) != (cell.model, settings(cell.config.as_json())):
            stale.append(path)
        else:
            found[cell.name].append(content)
    for records in found.values():
        records.sort(key=lambda content: content["seed"])
    return found, stale


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """What two runs of one cell have in common; a setting that is younger than a run had its default there."""
    complete = json.loads(json.dumps(Config().as_json() | config))
    return {k: v for k, v in complete.items() if k not in ("seed", "backend")}


@dataclass(frozen=True)
class Summary:
    """A row of the table."""

    name: str
    reported: float | None  # per cent
    error: Estimate | None  # per cent of the test sequences; None: no run is done
    seeds: int
    to_99: float | None  # updates, the median over the seeds; None: some seed did not come there
    updates: int
    seconds: float  # mean
    parameters: int


def summarise(cell: Cell, records: list[Record], reported: dict[str, float]) -> Summary:
    if not records:
        return Summary(cell.name, reported.get(cell.name), None, 0, None, 0, 0.0, 0)
    reached = [each["updates_to_99"] for each in records]
    return Summary(
        name=cell.name,
        reported=reported.get(cell.name),
        error=over_seeds([100 * each["test_error"] for each in records]),
        seeds=len(records),
        to_99=None if None in reached else median(reached),
        updates=max(each["updates"] for each in records),
        seconds=sum(each["seconds"] for each in records) / len(records),
        parameters=records[0]["parameters"],
    )
