"""Which cells are run, and the jobs that they are."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from fastweights.errors import UserError, near
from fastweights.files import check_folder
from fastweights.jobs.job import Job
from fastweights.own import is_own
from fastweights.papers.cell import Cell
from fastweights.training.setup import Setup

KINDS = ("paper", "control", "beyond", "own", "search")


def choose(cells: list[Cell], only: str | None) -> list[Cell]:
    """The cells whose whole name, task or kind matches; a user's model has the name own, too: own-20."""
    if only is None:
        return cells
    try:
        pattern = re.compile(only)
    except re.error as error:
        raise UserError(f"--only {only}: got no regular expression ({error}), wanted one such as 'FW-.*'") from None
    chosen = [cell for cell in cells if any(map(pattern.fullmatch, names_of(cell)))]
    if not chosen:
        names = [cell.name for cell in cells]
        raise UserError(f"--only {only}: matches no cell{near(only, names)} (cells: {', '.join(names)}; "
                         f"or a kind: {', '.join(KINDS)})")  # fmt: skip
    return chosen


def names_of(cell: Cell) -> list[str]:
    also = [cell.name.replace(cell.row, "own", 1)] if cell.kind == "own" else []
    return [cell.name, cell.setup.task.NAME, cell.kind, *also]


def own_cells(paper: ModuleType, model: str, chosen: dict[tuple[str, str], Any]) -> list[Cell]:
    """A user's package.module:Class as cells beside those of the paper, at the settings of the row OWN_LIKE.

    chosen: what `--search` found for these cells, {(cell, model): settings}; it goes before those settings.
    """
    if not is_own(model):
        called = "called as Class(states_size, queries_size)" if hasattr(paper, "own") else "called as nn.GRU is"
        raise UserError(f"--model {model}: wanted package.module:Class, {called}")
    name = model.partition(":")[2]
    like = [cell for cell in paper.RUNS if cell.row == paper.OWN_LIKE and cell.kind == "paper"]
    cells = [
        replace(
            cell,
            name=cell.name.replace(paper.OWN_LIKE, name, 1),
            row=name,
            kind="own",
            setup=paper.own(model, cell) if hasattr(paper, "own") else Setup(model, cell.setup.task, cell.setup.config),
        )
        for cell in like
    ]
    if taken := sorted({cell.name for cell in cells} & {cell.name for cell in paper.RUNS}):
        raise UserError(f"--model {model}: the table has a {taken[0]} already; give the class another name")
    return [cell.with_settings(**chosen.get((cell.name, model), {})) for cell in cells]


def apart(setup: Setup) -> list[str]:
    """Which weights of the network learn at a rate of their own: 'weight_ih_l0 at 0.1'."""
    from fastweights.optim import parameter_groups

    model = setup.build()
    named = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, setup.config.groups, 1.0)
    shares = {named[parameter]: group["share"] for group in groups for parameter in group["params"]}
    own = {name.removeprefix("recurrent."): share for name, share in shares.items() if name.startswith("recurrent.")}
    return [f"{name} at {share:g}" for name, share in own.items() if share != 1]


def shortened(cells: list[Cell], epochs: dict[str, int]) -> list[Cell]:
    """The cells of `--quick`, and all cells of a user's own."""
    few = max(1, min(epochs.values()))
    return [
        replace(cell, seeds=1).with_settings(epochs=min(epochs.get(cell.name, few), cell.setup.config.epochs))
        for cell in cells
        if cell.name in epochs or cell.kind == "own"
    ]


def jobs_of(cells: Iterable[Cell], folder: Path, seeds: int | None) -> list[tuple[Cell, Job]]:
    """The first seed of every cell before the second of any: the whole table early, its intervals later."""
    pairs = []
    for cell in cells:
        first = cell.setup.config.seed
        for seed in range(first, first + (seeds or cell.seeds)):
            job = Job(cell.with_settings(seed=seed).setup, folder / f"{cell.name}-seed{seed}")
            check_folder(job.folder)
            pairs.append((seed - first, cell, job))
    pairs.sort(key=lambda each: each[0])
    return [(cell, job) for _, cell, job in pairs]
