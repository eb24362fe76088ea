"""Progress of many runs: one table that is drawn again and again, or lines where there is no terminal."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fastweights.commands.consoles import console
from fastweights.jobs.job import Job
from fastweights.jobs.runner import Status, run_all
from fastweights.training.metric import Metric

SHOWN = 12  # rows; of more runs, those that are under way
NAMED = 3  # runs that are told of by name when they are stopped
SILENCE = 30.0  # seconds after which a run without a terminal tells again how far it is
GAP = 2  # columns between those of a table
DROPPED = ("elapsed", "loss", "metric", "update")  # columns that a narrow terminal goes without, in this order
Label = Callable[[Job], str]
View = Callable[[list[Status]], None]


def run_live(
    jobs: list[Job],
    workers: int,
    label: Label,
    run: Callable[..., list[Status]] = run_all,
    shared: bool = False,
    then: View = lambda statuses: None,
) -> list[Status]:
    """Run the jobs and show how they come along. `then` is called with their states each time these are shown."""
    latest: list[Status] = []
    try:
        with view(label) as show:

            def tell(statuses: list[Status]) -> None:
                latest[:] = statuses
                show(statuses)
                then(statuses)

            return run(jobs, workers, tell, shared=shared)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(where_saved(latest, label)) from None


def where_saved(statuses: list[Status], label: Label) -> str:
    saved = [status for status in statuses if status.state == "stopped" and status.saved]
    if len(saved) > NAMED:
        return f"{len(saved)} runs are saved"
    return "; ".join(f"{label(status.job)} is saved at {place(status, status.saved)}" for status in saved)


def place(status: Status, update: int) -> str:
    return f"update {update:,} of {status.updates:,}"


@contextmanager
def view(label: Label) -> Iterator[View]:
    """What shows the states of runs: a table on a terminal that can draw one, else lines."""
    terminal = sys.stderr.isatty()  # and not what the variables of a build server say
    screen = console(stderr=True, force_terminal=terminal)
    if not terminal or screen.is_dumb_terminal:
        yield Printer(label, lambda line: print(line, file=sys.stderr, flush=True))
        return
    with Live(console=screen, refresh_per_second=4, transient=True) as live:
        notes = Notes(label, lambda line: live.console.print(line, soft_wrap=True))

        def draw(statuses: list[Status]) -> None:
            notes(statuses)
            live.update(progress_table(statuses, label, screen.width))

        yield draw


class Notes:
    """What runs say on standard error, and a line for each time that one was saved because somebody asked."""

    def __init__(self, label: Label, say: Callable[[str], None]) -> None:
        self.label, self.say = label, say
        self.told: dict[Path, int] = {}

    def __call__(self, statuses: list[Status]) -> None:
        for status in statuses:
            while status.said:
                self.say(status.said.pop(0).rstrip("\n"))
            if status.asked != self.told.get(status.job.folder, 0):
                self.told[status.job.folder] = status.asked
                self.say(f"{self.label(status.job)}: saved at {place(status, status.asked)}, and goes on")


class Printer:
    """Progress where there is no terminal: a line for each tenth of a run, and for each half minute without one."""

    def __init__(self, label: Label, say: Callable[[str], None]) -> None:
        self.label, self.say, self.notes = label, say, Notes(label, say)
        self.told: dict[Path, tuple[int, float]] = {}  # the tenth, and when

    def __call__(self, statuses: list[Status]) -> None:
        self.notes(statuses)
        now = time.monotonic()
        for status in statuses:
            if status.state not in ("running", "done") or (status.state == "done" and status.row is None):
                continue
            tenth, when = self.told.setdefault(status.job.folder, (0, now))
            reached = 10 if status.state == "done" else 10 * status.update // max(status.updates, 1)
            if reached > tenth or (status.state == "running" and now - when >= SILENCE):
                self.told[status.job.folder] = reached, now
                self.say(f"{self.label(status.job)}: {progress(status)}")


def progress(status: Status) -> str:
    """How far a run is, how good, and how long it takes."""
    if not status.updates:
        return "starting"
    said = [place(status, status.update)]
    if status.row is not None:
        metric = Metric.of(status.job.setup.task)
        said.append(f"{metric.name} {metric.show(metric.value(status.row))}")
    if status.state == "running" and status.seconds_left is not None:
        said.append(f"{status.seconds_left:.0f} s left")
    return ", ".join(said)


def progress_table(statuses: list[Status], label: Label, width: int) -> Group:
    """As wide as the terminal: columns are left out, names cut; a number is whole or not there."""
    shown = statuses
    if len(statuses) > SHOWN:
        shown = [status for status in statuses if status.state in ("running", "failed")][:SHOWN]
    columns = {name: [name, *values] for name, values in columns_of(shown, label).items()}
    columns["value"][0] = ""
    for name in DROPPED:
        if needed(columns) > width:
            del columns[name]
    room = max(1, width - needed({name: cells for name, cells in columns.items() if name != "model"}) - GAP)
    columns["model"] = [cell if len(cell) <= room else cell[: room - 1] + "…" for cell in columns["model"]]
    table = Table(box=None, pad_edge=False)
    for name, cells in columns.items():
        table.add_column(cells[0], justify="left" if name in ("model", "metric") else "right", no_wrap=True)
    for row in list(zip(*columns.values(), strict=True))[1:]:
        table.add_row(*(Text(cell) for cell in row))
    counts = Counter(status.state for status in statuses)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    return Group(table, f"{len(statuses)} runs: {summary}") if len(statuses) > SHOWN else Group(table)


def needed(columns: dict[str, list[str]]) -> int:
    return sum(max(map(len, cells)) + GAP for cells in columns.values()) - GAP


def columns_of(statuses: list[Status], label: Label) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {
        name: [] for name in ("model", "update", "metric", "value", "loss", "elapsed", "left")
    }
    for status in statuses:
        row, metric = status.row or {}, Metric.of(status.job.setup.task)
        found["model"].append(label(status.job))
        found["update"].append(f"{status.update:,} / {status.updates:,}" if status.updates else status.state)
        found["metric"].append(metric.name)
        found["value"].append(metric.show(metric.value(row)) if row else "")
        found["loss"].append(f"{row['valid_loss']:.4f}" if "valid_loss" in row else "")
        found["elapsed"].append(f"{status.seconds:.0f} s")
        found["left"].append(status.state if status.state != "running" else f"{status.seconds_left or 0:.0f} s")
    return found
