import math
import sys
import textwrap
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from rich.table import Table

from fastweights import files, tasks
from fastweights.commands import options as of
from fastweights.commands.faults import tell_faults
from fastweights.commands.live import run_live, where_saved
from fastweights.commands.parsing import parse
from fastweights.commands.tables import print_table
from fastweights.errors import UserError, plain
from fastweights.files import check_folder, readable_again, said_of
from fastweights.jobs.cores import usable
from fastweights.jobs.job import Job, job_data
from fastweights.jobs.runner import Status
from fastweights.tasks.pairs import unseen
from fastweights.training import networks, run_folder
from fastweights.training.config import Config
from fastweights.training.metric import Metric
from fastweights.training.setup import Setup

ABOUT = """Train one model into a run folder, or several side by side, a process each.

{models}
  The options are those of what is named: `train GRU-LN --help` has no rule."""
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class Asked:
    """What the arguments name: other options follow from it."""

    models: Sequence[str]
    task: Any  # its class
    task_name: str
    rule: str
    like: Any = None

    @staticmethod
    def by(arguments: Sequence[str], data: Path | None) -> "Asked":
        like = of.defaults_like(of.word_after(arguments, "--like"))
        liked = {} if like is None else like.setup.as_json()
        usual = liked.get("task", {}).get("name", "associative-retrieval")
        task = of.word_after(arguments, "--task") or (tasks.task_told(data, usual) if data else usual)
        rule = of.word_after(arguments, "--rule")
        models = of.models_in(arguments) or ["RNN-LN-FW"]
        rule = rule or liked.get("network", {}).get("rule", {}).get("name") or networks.default_rule(models)
        return Asked(models, tasks.find_task(task), task, rule, like)

    def defaults(self, part: str) -> dict[str, Any]:
        """Of the config, the network or the task: those of the cell that is named by --like."""
        if self.like is None:
            return {}
        made = getattr(self.like.setup, part)
        if part == "task" and type(made) is not self.task:
            return {}
        found = {each.name: getattr(made, each.name) for each in fields(made)}
        rule = found.pop("rule", None)
        if rule is not None and networks.as_json(made)["rule"]["name"] == self.rule:
            found |= {each.name: getattr(rule, each.name) for each in fields(rule)}
        return found

    def options(self) -> type:
        """The dataclass of all options."""
        parts = {
            "training": list(of.options_of(Config, self.defaults("config"))),
            "network": of.network_options(self.models, self.rule, self.defaults("network")),
            f"sequence of {self.task_name}": list(of.options_of(self.task, self.defaults("task"))),
        }
        own = [
            ("task", str, self.task_name, f"{', '.join(tasks.TASKS)}, or your own as package.module:Class."),
            ("model", tuple[str, ...], (), "More models, as package.module:Class; none: those named first."),
            ("like", str | None, None, "PAPER/CELL: that row's settings as defaults, such as ba2016-retrieval/FW-20."),
            ("run", Path | None, None, "The run folder (runs/MODEL); of several models the folder of theirs (runs)."),
            ("data", Path | None, None, "A folder with train.csv and valid.csv, or one CSV or TSV file; none: drawn."),
            ("resume", bool, False, "Go on with runs that are there already, and begin the others."),
            ("workers", int, usable(), "Models trained at a time; as many as cores."),
        ]  # fmt: skip
        names = {part: [name for name, _, _ in each] for part, each in parts.items()}
        of.check_apart({"train": ["models", "training", "network", "sequence", *(name for name, *_ in own)], **names})
        made: list[Any] = [("models", of.Models, ())]
        made += [(name, of.described(hint, text), field(default=default)) for name, hint, default, text in own]
        for part, each in parts.items():
            section = of.section(part, each)
            made.append((part.partition(" ")[0], section))
        names = textwrap.fill(f"Models: {', '.join(networks.NETWORKS)}, or your own as package.module:Class.", 78)
        about = ABOUT.format(models=names.replace("\n", "\n  "))  # lines that begin with a letter would be joined
        return make_dataclass("Train", made, frozen=True, kw_only=True, namespace={"__doc__": about})


def main(arguments: list[str]) -> int | None:
    with readable_again(of.data_in(arguments)) as data:
        return train(arguments, data)


def train(arguments: list[str], data: Path | None) -> int | None:
    """data: what `--data` names, readable again and again."""
    asked = Asked.by(arguments, data)
    try:
        options: Any = parse(asked.options(), arguments, "fastweights train")
    except UserError as error:
        raise of.explained(error, asked.task) from None
    models = [*options.models, *options.model]
    if not models:
        raise UserError("got no model, wanted at least one, as in `fastweights train RNN-LN-FW`")
    if options.workers < 1:
        raise UserError(f"--workers {options.workers}: wanted an integer >= 1")
    if options.run is not None and not str(options.run).strip("."):
        raise UserError(f"--run {str(options.run)!r}: wanted a folder for the run, not this one")
    if len(set(models)) < len(models):
        raise UserError(f"got a model twice in {' '.join(models)}, wanted each once")
    jobs = make_jobs(asked, replace(options, data=data), models, of.flags_in(arguments))
    sequences = check(jobs, min(options.workers, len(jobs)))
    tell_reading(options.data, jobs[0].setup.task, sequences)
    short = short_names(models)
    statuses = run_live(jobs, options.workers, label=lambda job: short[job.setup.model])
    if any(status.row and not status.error for status in statuses):
        show_table(statuses)
    if faults := tell_faults(statuses):
        return faults
    for status in statuses:
        if status.error:
            raise UserError(status.error)
    if any(status.state == "stopped" for status in statuses):
        raise KeyboardInterrupt(where_saved(statuses, lambda job: short[job.setup.model]))
    folders = " ".join(str(status.job.folder) for status in statuses)
    print(f"runs: {plain(folders)}")
    return 0


def short_names(models: Sequence[str]) -> dict[str, str]:
    """As they are told: one's own by its class, where that is enough."""
    short = {model: model.rpartition(":")[2] for model in models}
    return short if len(set(short.values())) == len(short) else {model: model for model in models}


def make_jobs(asked: Asked, options: Any, models: Sequence[str], given: Container[str]) -> list[Job]:
    """given: the options that were written."""
    root = options.run or Path("runs")
    several = len(models) > 1
    base = Config() if asked.like is None else asked.like.setup.config
    task = of.task_from(asked.task_name, asked.task, vars(options.sequence))
    config = replace(base, **vars(options.training)).with_sizes(task, given)
    jobs = []
    for model in models:
        network = of.network_from(model, vars(options.network))
        folder = options.run if options.run and not several else root / model.replace(":", "-")
        if folder != options.run:
            check_folder(folder)
        jobs.append(Job(Setup(model, task, config, network), folder, options.data, options.resume))
    return jobs


def check(jobs: list[Job], together: int) -> Any:
    """All that can be known to be wrong before the first process starts; the sequences, where they were read."""
    from fastweights.training.description import check_same, describe
    from fastweights.training.trial import try_out

    sequences = job_data(jobs[0]) if jobs[0].data is not None else None
    setups = [job.setup if sequences is None else replace(job.setup, task=sequences.task) for job in jobs]
    for setup in setups:
        try_out(setup, together)  # its backend can run, too
    for job, setup in zip(jobs, setups, strict=True):
        if files.exists(job.folder / run_folder.CONFIG):
            sequences = sequences or job_data(job)
            check_same(job.folder, describe(setup, sequences), job.resume)
    return sequences


def tell_reading(data: Path | None, task: Any, sequences: Any) -> None:
    """How a file of the user's own symbols, or a folder of own pictures, was read."""
    path = data or next(iter(tasks.places(task).values()), None)
    task = task if sequences is None else sequences.task
    if path and hasattr(task, "summary") and (said := task.summary()):
        print(plain(f"note: {path} is read as {task.NAME}: {said}"), file=sys.stderr)
        if sequences is not None and task.spec.pairs and (count := unseen(sequences.train, sequences.valid)):
            some = f"{count:,} of {sequences.valid.size:,} pairs to validate on have a symbol that no trained pair has"
            print(plain(f"note: {path}: {some}"), file=sys.stderr)


def show_table(statuses: list[Status]) -> None:
    """The metric with its guess floor beside it, loss, gradient norm, speed, time and backend: 80 columns."""
    metric = Metric.of(statuses[0].job.setup.task)
    table = Table(box=None, pad_edge=False)
    has_loss = any("valid_loss" in (status.row or {}) for status in statuses)
    losses = ["loss"] if has_loss and metric.name != "loss" else []
    for name in ("model", metric.name, "guess", *losses, "grad", "updates", "seq/s", "time", "backend"):
        table.add_column(name, justify="left" if name in ("model", "backend") else "right", no_wrap=True)
    short = short_names([status.job.setup.model for status in statuses])
    for status in statuses:
        name = short[status.job.setup.model]
        if status.row is None or status.error:
            table.add_row(name, status.state)
        else:
            table.add_row(name, *cells(status.job.folder, status.row, losses))
    print_table(table)


def cells(folder: Path, row: Mapping[str, Any], losses: Sequence[str]) -> list[str]:
    """What the table says of one run, from its folder."""
    metric = Metric.stored(run_folder.read_description(folder))
    timing = run_folder.read_last(folder / run_folder.TIMINGS)
    with said_of(folder / run_folder.METRICS):
        shown = metric.show(metric.value(row))
    return [
        shown,
        metric.show(metric.floors.get(metric.name)),
        *(f"{row.get(f'valid_{name}', math.nan):.4f}" for name in losses),
        f"{row['gradient_norm']:.3f}",
        f"{row['update']:,}",
        f"{timing['sequences_per_second']:,.0f}",
        f"{timing['seconds']:.0f} s",
        timing["backend"],
    ]
