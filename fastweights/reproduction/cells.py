"""Which cells are run, and the jobs that they are."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from fastweights.config import near
from fastweights.papers import Cell
from fastweights.worker import Job

KINDS = ("paper", "control", "beyond", "own")


def choose(cells: list[Cell], only: str | None) -> list[Cell]:
    """The cells whose whole name, or whose kind, matches."""
    if only is None:
        return cells
    try:
        pattern = re.compile(only)
    except re.error as error:
        raise ValueError(f"--only {only}: got no regular expression ({error}), wanted one such as 'FW-.*'") from None
    chosen = [cell for cell in cells if pattern.fullmatch(cell.name) or pattern.fullmatch(cell.kind)]
    if not chosen:
        names = [cell.name for cell in cells]
        raise ValueError(f"--only {only}: matches no cell{near(only, names)} (cells: {', '.join(names)}; "
                         f"or a kind: {', '.join(KINDS)})")  # fmt: skip
    return chosen


def own_cells(paper: ModuleType, model: str, chosen: dict[tuple[str, str], Any]) -> list[Cell]:
    """A user's package.module:Class as cells beside those of the paper, at the settings of the row OWN_LIKE; C learns
    at the row's share of the learning rate where it has the name of that of nn.GRU, else at the whole of it.

    chosen: what `--search` found for these cells, {(cell, model): settings}; it goes before those settings.
    """
    from fastweights.nn.models import fitting

    if ":" not in model:
        raise ValueError(f"--model {model}: wanted package.module:Class, called as nn.GRU is")
    name = model.partition(":")[2]
    like = [cell for cell in paper.RUNS if cell.row == paper.OWN_LIKE and cell.kind == "paper"]
    cells = [
        replace(cell, name=cell.name.replace(paper.OWN_LIKE, name, 1), row=name, kind="own", model=model)
        for cell in like
    ]
    if taken := sorted({cell.name for cell in cells} & {cell.name for cell in paper.RUNS}):
        raise ValueError(f"--model {model}: the table has a {taken[0]} already; give the class another name")
    found = [replace(cell.config, **chosen.get((cell.name, model), {})) for cell in cells]
    return [replace(cell, config=fitting(model, config)) for cell, config in zip(cells, found, strict=True)]


def shortened(cells: list[Cell], epochs: dict[str, int]) -> list[Cell]:
    """The cells of `--quick`, and all cells of a user's own."""
    few = max(1, min(epochs.values()))
    return [
        replace(cell, seeds=1, config=replace(cell.config, epochs=min(epochs.get(cell.name, few), cell.config.epochs)))
        for cell in cells
        if cell.name in epochs or cell.kind == "own"
    ]


def jobs_of(cells: Iterable[Cell], task: dict[str, Any], folder: Path, seeds: int | None) -> list[tuple[Cell, Job]]:
    """The first seed of every cell before the second of any: the whole table early, its intervals later."""
    pairs = [
        (seed, cell) for cell in cells for seed in range(cell.config.seed, cell.config.seed + (seeds or cell.seeds))
    ]
    pairs.sort(key=lambda pair: pair[0] - pair[1].config.seed)
    return [
        (cell, Job(cell.model, replace(cell.config, seed=seed), folder / f"{cell.name}-seed{seed}", task))
        for seed, cell in pairs
    ]
