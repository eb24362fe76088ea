"""The search for a cell's settings: a grid at a short budget, judged on validation sequences of a seed of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from fastweights import files
from fastweights.errors import UserError
from fastweights.files import check_folder
from fastweights.forms import fault
from fastweights.jobs.job import Job
from fastweights.jobs.runner import Status
from fastweights.optim.group import Group
from fastweights.papers.cell import Cell
from fastweights.papers.table.results import Judged
from fastweights.training import provenance
from fastweights.training.config import Config

FILE = "search.json"
SEED = 1000  # no row of a table uses its sequences
SHARE = 8  # of a cell's epochs, one in so many
HOW = (
    f"Every combination of the grid, seed {SEED}, for 1/{SHARE} of the cell's epochs or what the paper file says; "
    "the lowest validation loss after the last epoch is chosen. No test sequences are drawn."
)


class Tried(TypedDict):
    valid_loss: float | None


class Entry(TypedDict):
    model: str
    tried: list[Tried]
    chosen: NotRequired[dict[str, Any]]


class Complete(Entry):
    updates: int


class Search(TypedDict):
    """search.json."""

    cells: dict[str, Entry]


def grid_of(cell: Cell, grid: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    names = {**grid, **cell.grid}
    for values in product(*names.values()):
        yield dict(zip(names, values, strict=True))


def search_jobs(
    cells: list[Cell], grid: dict[str, tuple[Any, ...]], folder: Path
) -> list[tuple[Cell, dict[str, Any], Job]]:
    jobs = []
    for cell in cells:
        for tried in grid_of(cell, grid):
            check_folder(folder / "search")
            where = folder / "search" / "-".join([cell.name, *(text(value) for value in tried.values())])
            jobs.append((cell, tried, Job(shortened(cell).with_settings(**tried).setup, where)))
    return jobs


def shortened(cell: Cell) -> Cell:
    short = {"epochs": max(1, cell.setup.config.epochs // SHARE), "seed": SEED, "test_size": 0}
    return cell.with_settings(**short | dict(cell.search))


def fixed_of(cell: Cell, searched: Iterable[str]) -> dict[str, Any]:
    """What a search does not vary: an entry shows by it whether it is that of a cell as it is now."""
    stored = shortened(cell).setup.as_json()
    searched = list(searched)
    settings, task = ({k: v for k, v in stored[part].items() if k not in searched} for part in ("config", "task"))
    return {"network": stored["network"], "task": task, **settings}


def text(value: Any) -> str:
    """A setting in a table: of groups how those learn that do not learn by Adam without decay."""
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict | Group):
        groups = [each if isinstance(each, Group) else Group(**each) for each in value]
        told = ["soap"] * any(each.kind == "soap" for each in groups)
        told += [f"decay={each.decay:g}" for each in groups if each.decay]
        return "+".join(told) or "adam"
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "adam"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_json(value: Any) -> Any:
    return [asdict(each) if isinstance(each, Group) else each for each in value] if isinstance(value, tuple) else value


def outcome(jobs: list[tuple[Cell, dict[str, Any], Job]], statuses: list[Status]) -> dict[str, Any]:
    """What was tried for each cell and what is chosen, {cell: ...}; cells that are not complete are left out."""
    found: dict[str, Any] = {}
    for (cell, tried, _), status in zip(jobs, statuses, strict=True):
        begun = {"model": cell.setup.model, "fixed": fixed_of(cell, tried), "tried": []}
        entry = found.setdefault(cell.name, begun)
        row = status.row if status.state == "done" and fault(status.row, Judged) is None else None
        entry["updates"] = row["update"] if row else entry.get("updates")
        loss = row["valid_loss"] if row else None
        error = 1 - row["valid_accuracy"] if row and "valid_accuracy" in row else None
        told = {name: as_json(value) for name, value in tried.items()}
        entry["tried"].append({**told, "valid_loss": loss, "valid_error": error, "failed": status.error or None})
        good = [each for each in entry["tried"] if each["valid_loss"] is not None]
        if good:
            best = min(good, key=lambda each: each["valid_loss"])
            entry["chosen"] = {name: best[name] for name in tried}
    return found


def record(folder: Path, found: dict[str, Any]) -> None:
    """Into search.json, in place of what it had of these cells."""
    path = folder / FILE
    old = read(folder)
    files.write_json(path, {"how": HOW, "cells": {**old, **found}, **provenance.here()})


def read(folder: Path) -> dict[str, Any]:
    """{cell: what was tried and chosen}; empty where nothing was searched."""
    path = folder / FILE
    if not files.exists(path):
        return {}
    cells = files.read_json(path, Search, "the record of a search; delete it, or choose another --results")["cells"]
    with files.said_of(path):
        for name, entry in cells.items():
            if "chosen" in entry and (said := fault(entry, Complete, f"cells.{name}")):
                raise UserError(said)
            chosen = entry.get("chosen", {})
            for each in (chosen, *entry["tried"]):
                if missing := chosen.keys() - each.keys():
                    raise UserError(f"cells.{name}: got a try without {min(missing)}, wanted what is chosen there")
                of_config({setting: each[setting] for setting in chosen})
    return cells


def chosen(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """{(cell, model): settings}, as `Config` takes them."""
    return {
        (cell, entry["model"]): entry["chosen"] | of_config(entry["chosen"])
        for cell, entry in read(folder).items()
        if "chosen" in entry
    }


def of_config(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that a run has, as `Config` takes them; the others are its task's."""
    own = {name: value for name, value in settings.items() if name in Config.__dataclass_fields__}
    made = Config.from_json(own)
    return {name: getattr(made, name) for name in own}
