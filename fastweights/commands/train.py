import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from fastweights import runs
from fastweights.cli import parse
from fastweights.commands.live import run_live
from fastweights.config import Config
from fastweights.runner import Status
from fastweights.tasks import AssociativeRetrieval, make_task
from fastweights.worker import Job, job_data


@dataclass(frozen=True)
class Train:
    """Train one model into a run folder, or several side by side, a process each.

    Models: RNN-LN-FW (fast weights), RNN-LN, CONTROL, GRU-LN, LSTM-LN, GRU, LSTM,
      IRNN, A-LSTM, RNN-LN-FW0, or your own as package.module:Class.
    """

    models: tyro.conf.Positional[tuple[str, ...]]
    """The models to train."""
    config: tyro.conf.OmitArgPrefixes[Config] = Config()
    task: tyro.conf.OmitArgPrefixes[AssociativeRetrieval] = AssociativeRetrieval()
    run: Path | None = None
    """The run folder (runs/MODEL); with several models, the folder of their run folders (runs)."""
    data: Path | None = None
    """A folder with train.csv and valid.csv, or one CSV file; none: sequences are drawn."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with the runs that are there already."""
    workers: int = max(1, os.cpu_count() or 1)
    """Models trained at a time."""


def main(arguments: list[str]) -> None:
    options = parse(Train, arguments, "fastweights train")
    if not options.models:
        raise ValueError("got no model, wanted at least one, as in `fastweights train RNN-LN-FW`")
    if options.workers < 1:
        raise ValueError(f"--workers {options.workers}: wanted an integer >= 1")
    if options.run is not None and not str(options.run).strip("."):
        raise ValueError(f"--run {str(options.run)!r}: wanted a folder for the run, not this one")
    if len(set(options.models)) < len(options.models):
        raise ValueError(f"got a model twice in {' '.join(options.models)}, wanted each once")
    jobs = make_jobs(options)
    check(jobs)
    statuses = run_live(
        jobs,
        options.workers,
        label=lambda job: job.model,
        on_stop="the runs are saved; the same command with --resume goes on with them",
    )
    if any(status.row and not status.error for status in statuses):
        show_table(statuses)
    for status in statuses:
        if status.error:
            raise RuntimeError(status.error)
    folders = " ".join(str(status.job.folder) for status in statuses)
    print(f"runs: {folders}")


def make_jobs(options: Train) -> list[Job]:
    root = options.run or Path("runs")
    several = len(options.models) > 1
    task = {"name": options.task.NAME, **asdict(options.task)}
    return [
        Job(
            model=model,
            config=options.config,
            folder=options.run if options.run and not several else root / model.replace(":", "-"),
            task=task,
            data=options.data,
            resume=options.resume,
        )
        for model in options.models
    ]


def check(jobs: list[Job]) -> None:
    """All that can be known to be wrong before the first process starts."""
    from fastweights.nn.models import try_out
    from fastweights.training import check_same, describe

    for job in jobs:
        try_out(job.model, job.config)  # its backend can run, too
    holding = [job for job in jobs if (job.folder / runs.CONFIG).exists()]
    if not holding and jobs[0].data is None:
        return
    sequences = job_data(jobs[0])
    if len(sequences.train.targets) < jobs[0].config.batch_size:
        raise ValueError(
            f"{jobs[0].data}: got {len(sequences.train.targets)} training sequences, "
            f"wanted at least one batch of {jobs[0].config.batch_size}; choose a smaller --batch-size"
        )
    for job in holding:
        check_same(job.folder, describe(job.model, job.config, sequences), job.resume)


def show_table(statuses: list[Status]) -> None:
    """Accuracy with the guess floor beside it, loss, gradient norm, speed, time and backend: 80 columns."""
    table = Table(box=None, pad_edge=False)
    columns = ("model", "accuracy", "guess", "loss", "grad", "updates", "seq/s", "time", "backend")
    for name in columns:
        table.add_column(name, justify="left" if name in ("model", "backend") else "right", no_wrap=True)
    short = {status.job.model: status.job.model.rpartition(":")[2] for status in statuses}
    if len(set(short.values())) < len(short):
        short = {model: model for model in short}
    for status in statuses:
        name = short[status.job.model]
        if status.row is None or status.error:
            table.add_row(name, status.state)
            continue
        row, folder = status.row, status.job.folder
        timing = runs.read_last(folder / runs.TIMINGS)
        table.add_row(
            name,
            f"{row['valid_accuracy']:.2%}",
            f"{guess_floor(folder):.1%}",
            f"{row['valid_loss']:.4f}",
            f"{row['gradient_norm']:.3f}",
            f"{row['update']:,}",
            f"{timing['sequences_per_second']:,.0f}",
            f"{timing['seconds']:.0f} s",
            timing["backend"],
        )
    Console(soft_wrap=True).print(table)


def guess_floor(folder: Path) -> float:
    task: dict[str, Any] = json.loads((folder / runs.CONFIG).read_text())["task"]
    return make_task(task).guess_floor
