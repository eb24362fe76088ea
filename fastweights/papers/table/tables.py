"""The tables of a paper, for a terminal of 80 columns and for the page: the paper's errors beside ours, or, where the
paper file has METRICS, one of all tasks and then one for each of them."""

import re
from types import ModuleType
from typing import NamedTuple

from rich.table import Table

from fastweights.papers.cell import Cell
from fastweights.papers.table.results import Record, Summary, summarise
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
    return TASKS if hasattr(paper, "METRICS") else ERRORS


def tables(paper: ModuleType, cells: list[Cell], found: dict[str, list[Record]]) -> list[Titled]:
    if not hasattr(paper, "METRICS"):
        reported = paper.REPORTED["error"]
        return [Titled("", HEADS, [fields(summarise(cell, found[cell.name], reported)) for cell in cells])]
    sorted_out = {task: [cell for cell in cells if task == cell.setup.task.NAME] for task in paper.METRICS}
    by_task = {task: of for task, of in sorted_out.items() if of}
    each = [of_task(of, found, paper.METRICS[name]) for name, of in by_task.items()]
    return [of_all(by_task, found, paper.METRICS), *each] if len(by_task) > 1 else each


def of_all(
    by_task: dict[str, list[Cell]], found: dict[str, list[Record]], metrics: dict[str, dict[str, str]]
) -> Titled:
    """A row for each network, and the first metric of each task."""
    first = {task: next(iter(metrics[task].items())) for task in by_task}
    heads = ("network", *(re.sub("[- ]", "\n", f"{task} {label}") for task, (label, _) in first.items()))
    rows: dict[str, dict[str, str]] = {"guess": {}}
    for task, cells in by_task.items():
        statistic = first[task][1]
        rows["guess"][task] = show(statistic, cells[0].setup.task.floors[statistic])
        for cell in cells:
            rows.setdefault(cell.row, {})[task] = measured(found[cell.name], statistic)[0]
    return Titled(
        "All tasks", heads, [(row, *(values.get(task, "") for task in by_task)) for row, values in rows.items()]
    )


def of_task(cells: list[Cell], found: dict[str, list[Record]], metrics: dict[str, str]) -> Titled:
    """A row for each network, and all metrics of the task."""
    task, config = cells[0].setup.task, cells[0].setup.config
    updates = config.train_size // config.batch_size * config.epochs
    heads = ("network", *(head for label in metrics for head in (label, "95%")), "seeds", "time", "params")
    guess = [told for statistic in metrics.values() for told in (show(statistic, task.floors[statistic]), "")]
    rows = [("guess", *guess, "", "", "")]
    for cell in cells:
        records = found[cell.name]
        values = [told for statistic in metrics.values() for told in measured(records, statistic)]
        time = f"{sum(each['seconds'] for each in records) / len(records):.0f}s" if records else ""
        params = thousands(records[0]["parameters"]) if records else ""
        rows.append((cell.row, *values, str(len(records)), time, params))
    title = f"{task.NAME}: {updates:,} updates of {config.batch_size} sequences, learning rate {config.learning_rate:g}"
    return Titled(title, heads, rows)


def measured(records: list[Record], statistic: str) -> tuple[str, str]:
    """The mean over the seeds, and its interval."""
    if not records:
        return "", ""
    mean, interval = over_seeds([1 - r["test_error"] if statistic == "accuracy" else r["test_loss"] for r in records])
    return show(statistic, mean), "" if interval is None else "-".join(show(statistic, end) for end in interval)


def fields(row: Summary) -> tuple[str, ...]:
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
