"""Progress of many runs: one table that is drawn again and again, or lines where there is no terminal."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from fastweights.jobs.job import Job
from fastweights.jobs.runner import Status, run_all
from fastweights.training.metric import Metric

SHOWN = 12  # rows; of more runs, those that are under way
Label = Callable[[Job], str]


def run_live(
    jobs: list[Job],
    workers: int,
    label: Label,
    on_stop: str,
    run: Callable[..., list[Status]] = run_all,
    shared: bool = False,
    then: Callable[[list[Status]], None] = lambda statuses: None,
) -> list[Status]:
    """Run the jobs and show how they come along. `then` is called with their states each time these are shown."""
    console = Console(stderr=True)
    try:
        if not console.is_terminal:
            printer = Printer(label)

            def tell(statuses: list[Status]) -> None:
                printer(statuses)
                then(statuses)

            return run(jobs, workers, tell, shared=shared)
        with Live(console=console, refresh_per_second=4, transient=True) as live:

            def draw(statuses: list[Status]) -> None:
                live.update(progress_table(statuses, label))
                then(statuses)

            return run(jobs, workers, draw, shared=shared)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(on_stop) from None


class Printer:
    """Progress where there is no terminal: a line each time a run has come another tenth of its way."""

    def __init__(self, label: Label) -> None:
        self.label = label
        self.told: dict[Path, int] = {}

    def __call__(self, statuses: list[Status]) -> None:
        for status in statuses:
            tenth = 10 * status.update // status.updates if status.updates else -1
            if status.state == "done":
                tenth = 10
            if status.row is not None and tenth > self.told.get(status.job.folder, 0):
                self.told[status.job.folder] = tenth
                metric = Metric.of(status.job.setup.task)
                left = "" if not status.seconds_left else f", {status.seconds_left:.0f} s left"
                print(
                    f"{self.label(status.job)}: update {status.update:,} of {status.updates:,}, "
                    f"{metric.name} {metric.show(metric.value(status.row))}{left if status.state == 'running' else ''}",
                    file=sys.stderr,
                    flush=True,
                )


def progress_table(statuses: list[Status], label: Label) -> Group:
    table = Table(box=None, pad_edge=False)
    for name in ("model", "update", "metric", "", "loss", "elapsed", "left"):
        table.add_column(name, justify="left" if name in ("model", "metric") else "right")
    shown = statuses
    if len(statuses) > SHOWN:
        shown = [status for status in statuses if status.state in ("running", "failed")][:SHOWN]
    for status in shown:
        row, metric = status.row or {}, Metric.of(status.job.setup.task)
        table.add_row(
            label(status.job),
            f"{status.update:,} / {status.updates:,}" if status.updates else status.state,
            metric.name,
            metric.show(metric.value(row)) if row else "",
            f"{row['valid_loss']:.4f}" if "valid_loss" in row else "",
            f"{status.seconds:.0f} s",
            status.state if status.state != "running" else f"{status.seconds_left or 0:.0f} s",
        )
    counts = Counter(status.state for status in statuses)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    return Group(table, f"{len(statuses)} runs: {summary}") if len(statuses) > SHOWN else Group(table)
