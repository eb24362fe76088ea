"""The search for a cell's settings: a grid at a short budget, judged on validation sequences of a seed of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from fastweights import provenance, runs
from fastweights.config import Config
from fastweights.papers import Cell
from fastweights.runner import Status
from fastweights.worker import Job

FILE = "search.json"
SEED = 1000  # no row of a table uses its sequences
SHARE = 8  # of a cell's epochs, one in so many
HOW = (
    f"Every combination of the grid for 1/{SHARE} of the cell's epochs, seed {SEED}; the lowest validation loss after "
    "the last epoch is chosen. No test sequences are drawn."
)


def grid_of(cell: Cell, grid: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    names = {**grid, **cell.grid}
    for values in product(*names.values()):
        yield dict(zip(names, values, strict=True))


def search_jobs(
    cells: list[Cell], grid: dict[str, tuple[Any, ...]], task: dict[str, Any], folder: Path
) -> list[tuple[Cell, dict[str, Any], Job]]:
    jobs = []
    for cell in cells:
        short = shortened(cell)
        for tried in grid_of(cell, grid):
            where = folder / "search" / "-".join([cell.name, *(text(value) for value in tried.values())])
            jobs.append((cell, tried, Job(cell.model, replace(short, **tried), where, task)))
    return jobs


def shortened(cell: Cell) -> Config:
    return replace(cell.config, epochs=max(1, cell.config.epochs // SHARE), seed=SEED, test_size=0)


def fixed_of(config: Config, searched: Iterable[str]) -> dict[str, Any]:
    """The settings that a search does not vary: an entry shows by them whether it is that of a cell as it is now."""
    return {name: value for name, value in config.as_json().items() if name not in searched}


def text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def outcome(jobs: list[tuple[Cell, dict[str, Any], Job]], statuses: list[Status]) -> dict[str, Any]:
    """What was tried for each cell and what is chosen, {cell: ...}; cells that are not complete are left out."""
    found: dict[str, Any] = {}
    for (cell, tried, job), status in zip(jobs, statuses, strict=True):
        begun = {"model": cell.model, "fixed": fixed_of(job.config, tried), "tried": []}
        entry = found.setdefault(cell.name, begun)
        row = status.row if status.state == "done" and status.row is not None else None
        entry["updates"] = row["update"] if row else entry.get("updates")
        loss = row["valid_loss"] if row else None
        error = 1 - row["valid_accuracy"] if row else None
        entry["tried"].append({**tried, "valid_loss": loss, "valid_error": error, "failed": status.error or None})
        good = [each for each in entry["tried"] if each["valid_loss"] is not None]
        if good:
            best = min(good, key=lambda each: each["valid_loss"])
            entry["chosen"] = {name: best[name] for name in tried}
    return found


def record(folder: Path, found: dict[str, Any]) -> None:
    """Into search.json, in place of what it had of these cells."""
    path = folder / FILE
    old = read(folder)
    runs.write_json(path, {"how": HOW, "cells": {**old, **found}, **provenance.here()})


def read(folder: Path) -> dict[str, Any]:
    """{cell: what was tried and chosen}; empty where nothing was searched."""
    path = folder / FILE
    if not path.exists():
        return {}
    found = runs.read_json(path)
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, dict) or not all(
        isinstance(entry, dict)
        and (type(entry.get("model")), type(entry.get("tried"))) == (str, list)
        and isinstance(entry.get("chosen", {}), dict)
        for entry in cells.values()
    ):
        raise runs.RunError(f"{path}: got no record of a search, wanted one; delete it, or choose another --results")
    return cells


def chosen(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """{(cell, model): settings}, as `Config` takes them."""
    return {
        (cell, entry["model"]): {n: tuple(v) if isinstance(v, list) else v for n, v in entry["chosen"].items()}
        for cell, entry in read(folder).items()
        if "chosen" in entry
    }
