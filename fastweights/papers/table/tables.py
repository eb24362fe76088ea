"""The tables of a paper, for a terminal of 80 columns and for the page: the paper's errors beside ours, or, where the
paper file has METRICS, one of all tasks and then one for each of them."""

import re
from collections.abc import Iterable
from dataclasses import fields
from types import ModuleType
from typing import Any, NamedTuple

from rich.table import Table

from fastweights.papers.cell import Cell
from fastweights.papers.table.results import Record, Summary, summarise, tested
from fastweights.tasks import Task
from fastweights.training.evaluation import over_seeds
from fastweights.training.metric import show

HEADS = ("model", "paper", "ours", "95%", "seeds", "guess", "to 99%", "updates", "time", "params")
ERRORS = "error in per cent of the test sequences; guess: that at the guess floor"
TASKS = "means over seeds, of test sequences; 95%: their interval; guess: the guess floor"


class Titled(NamedTuple):
    """A table; its first column is one of names, and a terminal breaks heads into lines where they say so."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


def legend(paper: ModuleType) -> str:
    return getattr(paper, "LEGEND", TASKS if hasattr(paper, "METRICS") else ERRORS)


def tables(paper: ModuleType, cells: list[Cell], found: dict[str, list[Record]]) -> list[Titled]:
    if hasattr(paper, "tables"):
        return paper.tables(cells, found)
    if not hasattr(paper, "METRICS"):
        reported = paper.REPORTED["error"]
        return [Titled("", HEADS, [error_fields(summarise(cell, found[cell.name], reported)) for cell in cells])]
    cells = [cell for cell in cells if cell.kind != "search"]
    by_task: dict[Task, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: list(paper.METRICS).index(cell.setup.task.NAME)):
        by_task.setdefault(cell.setup.task, []).append(cell)
    each = [of_task(of, found, paper.METRICS[task.NAME], title(task, by_task)) for task, of in by_task.items()]
    more = paper.more(cells, found) if hasattr(paper, "more") else []
    return [*([of_all(by_task, found, paper.METRICS)] if len(by_task) > 1 else []), *each, *more]


def title(task: Task, among: Iterable[Task]) -> str:
    """The name of a task, and what tells it from others of that name."""
    twins: list[Any] = [other for other in among if other.NAME == task.NAME]
    names = [field.name for field in fields(twins[0]) if len({getattr(other, field.name) for other in twins}) > 1]
    return " ".join([task.NAME, *(f"{name.replace('_', ' ')} {getattr(task, name)}" for name in names)])


def of_all(
    by_task: dict[Task, list[Cell]], found: dict[str, list[Record]], metrics: dict[str, dict[str, str]]
) -> Titled:
    """A row for each network, and the first metric of each task."""
    first = {task: next(iter(metrics[task.NAME].items())) for task in by_task}
    named = {task: f"{title(task, by_task)} {label}" for task, (label, _) in first.items()}
    heads = ("network", *(re.sub("[- ]", "\n", head) for head in named.values()))
    rows: dict[str, dict[Task, str]] = {"guess": {}}
    for task, cells in by_task.items():
        statistic = first[task][1]
        rows["guess"][task] = show(statistic, task.floors.get(statistic))
        for cell in cells:
            rows.setdefault(cell.row, {})[task] = measured(found[cell.name], statistic)[0]
    return Titled(
        "All tasks", heads, [(row, *(values.get(task, "") for task in by_task)) for row, values in rows.items()]
    )


def of_task(cells: list[Cell], found: dict[str, list[Record]], metrics: dict[str, str], name: str) -> Titled:
    """A row for each network, and all metrics of the task."""
    task, config = cells[0].setup.task, cells[0].setup.config
    updates = config.train_size // config.batch_size * config.epochs
    heads = ("network", *(head for label in metrics for head in (label, "95%")), "seeds", "time", "params")
    guess = [told for statistic in metrics.values() for told in (show(statistic, task.floors.get(statistic)), "")]
    rows = [("guess", *guess, "", "", "")]
    for cell in cells:
        records = found[cell.name]
        values = [told for statistic in metrics.values() for told in measured(records, statistic)]
        time = f"{sum(each['seconds'] for each in records) / len(records):.0f}s" if records else ""
        params = thousands(records[0]["parameters"]) if records else ""
        rows.append((cell.row, *values, str(len(records)), time, params))
    told = f"{name}: {updates:,} updates of {config.batch_size} sequences"
    if len({cell.setup.config.learning_rate for cell in cells}) == 1:
        told += f", learning rate {config.learning_rate:g}"
    return Titled(told, heads, rows)


def measured(records: list[Record], statistic: str) -> tuple[str, str]:
    """The mean over the seeds, and its interval."""
    if not records:
        return "", ""
    mean, interval = over_seeds([tested(record, statistic) for record in records])
    same = interval is None or (interval[0] == interval[1] and statistic.endswith("bytes"))  # no chance is in those
    return show(statistic, mean), "" if same else "-".join(show(statistic, end) for end in interval or ())


def error_fields(row: Summary) -> tuple[str, ...]:
    """Errors in per cent; `guess`: that of the guess floor."""
    paper = "" if row.reported is None else f"{row.reported:.2f}"
    if row.error is None:
        return (row.name, paper, "", "", "0", f"{row.guess:.2f}", "", "", "", "")
    interval = "" if row.error.interval is None else "{:.2f}-{:.2f}".format(*row.error.interval)
    return (
        row.name, paper, f"{row.error.mean:.2f}", interval, str(row.seeds), f"{row.guess:.2f}",
        "never" if row.to_99 is None else thousands(row.to_99), thousands(row.updates),
        duration(row.seconds), thousands(row.parameters),
    )  # fmt: skip


def thousands(number: float) -> str:
    if number < 1000:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}k" if number < 100_000 else f"{number / 1000:.0f}k"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 3600 else f"{seconds / 3600:.1f}h"


def terminal(shown: Titled) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for place, head in enumerate(shown.heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in shown.rows:
        table.add_row(*row)
    return table


def markdown(shown: Titled) -> str:
    title = [f"### {shown.title}", ""] if shown.title else []
    lines = ["| " + " | ".join(shown.heads).replace("\n", " ") + " |", "| --- |" + " ---: |" * (len(shown.heads) - 1)]
    return "\n".join([*title, *lines, *("| " + " | ".join(row) + " |" for row in shown.rows)])
