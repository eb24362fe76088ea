import re
import textwrap
from collections.abc import Sequence
from dataclasses import field, make_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastweights import files, tasks
from fastweights.commands import grid
from fastweights.commands import options as of
from fastweights.commands.grid import Setting
from fastweights.commands.many import complain, need_cluster, train
from fastweights.commands.parsing import parse
from fastweights.commands.train import Asked, tell_reading
from fastweights.errors import UserError, plain
from fastweights.jobs.cores import usable
from fastweights.jobs.job import Job, job_data
from fastweights.training import networks, run_folder

if TYPE_CHECKING:
    from fastweights.jobs.runner import Status

ABOUT = """Train every combination of the values given, each from several seeds.

Any option of `train` takes several values, as in
  `fastweights sweep RNN-LN-FW GRU-LN --learning-rate 4e-3 8e-3 --seeds 3`.
  A list is one word, such as 50,100. The same command goes on where it was.

{models}
  The options are those of what is named: `sweep GRU-LN --help` has no rule."""
MOST = 1000  # settings, and runs
LONGEST = 150  # characters of the name of a folder


def main(arguments: list[str]) -> int:
    with files.readable_again(of.data_in(arguments)) as data:
        return sweep(arguments, data)


def sweep(arguments: list[str], data: Path | None) -> int:
    """data: what `--data` names, readable again and again."""
    if "--resume" in arguments:
        raise UserError("--resume: got it where it always holds: the same command goes on; leave it out")
    if len(words := of.words_after(arguments, "--seed")) > 1:
        raise UserError(f"--seed {' '.join(words)}: wanted one, the first; `--seeds 3` trains three from there")
    models = of.words_after(arguments, None) + of.words_after(arguments, "--model")
    for model in models:
        networks.network_of(model)
    like = of.word_after(arguments, "--like")
    first = Asked.by(["--like", like] if like else [], data)
    usual = networks.default_rule(models) if models and not like else first.rule
    given: dict[str, Sequence[Any]] = {
        "task": of.words_after(arguments, "--task") or [first.task_name],
        "rule": of.words_after(arguments, "--rule") or [usual],
    }
    asked = [
        Asked(list(dict.fromkeys(models)) or first.models, tasks.find_task(task), task, rule, first.like)
        for task in dict.fromkeys(given["task"])
        for rule in dict.fromkeys(given["rule"])
    ]
    parts = grid.all_parts(asked)
    try:
        options: Any = parse(options_class(asked, parts), arguments, "fastweights sweep")
    except UserError as error:
        raise of.explained(error, asked[0].task) from None
    check_options(options, models, arguments)
    written = of.flags_in(arguments)
    for part, each in parts.items():
        for option in each:
            if option[0] in written:
                given[option[0]] = grid.values_of(option, getattr(getattr(options, part), option[0]))
    rows = grid.settings(asked, given, options.seed, MOST)
    seeds = range(options.seed, options.seed + options.seeds)
    if len(rows) * len(seeds) > MOST:
        raise UserError(
            f"got a grid of {len(rows) * len(seeds):,} runs, wanted at most {MOST:,}; leave some values out"
        )
    if len(rows) * len(seeds) == 1:
        raise UserError("got one setting and one seed, wanted several values of an option, several models or more "
                        "--seeds; `fastweights train` trains one")  # fmt: skip
    root = options.run or Path("runs/sweep")
    pairs = [(row, job_of(row, seed, root, data)) for seed in seeds for row in rows]
    sequences = check(rows, [job for _, job in pairs], min(options.workers, len(pairs)))
    tell_reading(options.data, rows[0].setup.task, sequences)
    return run_all(rows, pairs, options, root)


def options_class(asked: Sequence[Asked], parts: dict[str, list[of.Option]]) -> type:
    own = [
        ("task", tuple[str, ...], (asked[0].task_name,), f"{', '.join(tasks.TASKS)}, or package.module:Class."),
        ("model", tuple[str, ...], (), "More models, as package.module:Class."),
        ("like", str | None, None, "PAPER/CELL: that row's settings as defaults, such as ba2016-retrieval/FW-20."),
        ("seeds", int, 3, "Runs of each setting."),
        ("seed", int, 0, "Of the first of them; the others count up."),
        ("run", Path | None, None, "The folder of the run folders and of the results (runs/sweep)."),
        ("data", Path | None, None, "A folder with train.csv and valid.csv, or one CSV file; none: drawn."),
        ("workers", int, usable(), "Runs at a time, one thread each."),
        ("cluster", Literal["ray"] | None, None, "Run over the cluster that RAY_ADDRESS names, or a local one."),
    ]  # fmt: skip
    names = {part: [name for name, _, _ in each] for part, each in parts.items()}
    of.check_apart({"sweep": ["models", *grid.PARTS, *(name for name, *_ in own)], **names})
    made: list[Any] = [("models", of.Models, ())]
    made += [(name, of.described(hint, text), field(default=default)) for name, hint, default, text in own]
    made += [(part, of.section(part, [grid.several(option) for option in each])) for part, each in parts.items()]
    listed = textwrap.fill(f"Models: {', '.join(networks.NETWORKS)}, or your own as package.module:Class.", 78)
    about = ABOUT.format(models=listed.replace("\n", "\n  "))  # lines that begin with a letter would be joined
    return make_dataclass("Sweep", made, frozen=True, kw_only=True, namespace={"__doc__": about})


def check_options(options: Any, models: Sequence[str], arguments: Sequence[str]) -> None:
    if not models:
        raise UserError("got no model, wanted at least one, as in `fastweights sweep RNN-LN-FW --decay .9 .95`")
    for what, names in (("model", models), ("--task", options.task), ("--rule", of.words_after(arguments, "--rule"))):
        for place, name in enumerate(names):
            if name in names[:place]:
                raise UserError(f"got the {what.strip('-')} {name} twice, wanted each once")
    for option in ("seeds", "workers"):
        if getattr(options, option) < 1:
            raise UserError(f"--{option} {getattr(options, option)}: wanted an integer >= 1")
    if options.run is not None and not str(options.run).strip("."):
        raise UserError(f"--run {str(options.run)!r}: wanted a folder for the runs, not this one")
    if options.run is not None and options.run.exists() and not options.run.is_dir():
        raise UserError(f"--run {options.run}: got a file, wanted a folder for the runs")
    need_cluster(options.cluster)


def job_of(row: Setting, seed: int, root: Path, data: Path | None) -> Job:
    setup = replace(row.setup, config=replace(row.setup.config, seed=seed))
    return Job(setup, root / f"{folder_name(row.name)}-seed{seed}", data)


def folder_name(name: str) -> str:
    """The name without what no folder has in its name; where that takes something away, its hash makes up for it."""
    plain = re.sub(r"[^\w.,+=-]", "-", name)[:LONGEST]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}"


def check(rows: Sequence[Setting], jobs: Sequence[Job], together: int) -> Any:
    """All that can be known to be wrong before the first process starts; the sequences, where they were read."""
    from fastweights.commands import outcome
    from fastweights.training.description import check_same
    from fastweights.training.trial import try_out

    data = job_data(jobs[0]) if jobs[0].data is not None else None
    for row in rows:
        try_out(row.setup if data is None else replace(row.setup, task=data.task), together)
    for path in (jobs[0].folder.parent / outcome.RUNS, jobs[0].folder.parent / outcome.TABLE):
        files.check(path)
    for job in jobs:
        files.check_folder(job.folder)
        if files.exists(job.folder / run_folder.CONFIG):
            setup = job.setup if data is None else replace(job.setup, task=data.task)
            stored = run_folder.read_description(job.folder)
            described = data.describe() if data is not None else stored.get("data", {})
            check_same(job.folder, setup.as_json() | {"sources": setup.sources, "data": described}, resume=True)
    return data


def run_all(rows: Sequence[Setting], pairs: Sequence[tuple[Setting, Job]], options: Any, root: Path) -> int:
    from fastweights.commands import outcome
    from fastweights.commands.tables import print_table

    found: dict[Path, outcome.Row] = {}

    def keep(statuses: "list[Status]") -> None:
        before = len(found)
        for status, (row, job) in zip(statuses, pairs, strict=True):
            if status.state == "done" and job.folder not in found:
                found[job.folder] = outcome.row_of(row, job)
        if len(found) > before:
            outcome.write(root, outcome.summarise(rows, list(found.values()), options.seeds), list(found.values()))

    statuses = train([job for _, job in pairs], options.workers, options.cluster, keep)
    for title, table, best in outcome.tables(outcome.summarise(rows, list(found.values()), options.seeds)):
        print(title)
        print_table(table)
        print(f"{best}\n" if best else "")
    print(plain(f"runs: {root}; results: {root / outcome.RUNS}, {root / outcome.TABLE}"))
    return complain(statuses)
