import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fastweights.commands.many import complain, need_cluster, train
from fastweights.commands.parsing import MaybeCount, MaybeName, MaybePath, parse
from fastweights.errors import UserError, plain
from fastweights.jobs.cores import usable
from fastweights.papers import PAPERS, Cell, paper

if TYPE_CHECKING:
    from fastweights.jobs.runner import Status

MOST_SEEDS = 10_000  # of a cell
NOT_THE_TABLE = """
This is the shape of the result after a few minutes of training, with one seed:
it is not the table, which `fastweights reproduce {name}` makes."""


@dataclass(frozen=True)
class Reproduce:
    """Train the table of a paper, and print ours beside it.

    A run that is done is not done again, and one that was cut goes on; several
      runners may share a folder.
    """

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(help=f"The paper: {', '.join(PAPERS)}.")] = None
    only: MaybeName = None
    """A cell, a task, a kind (paper, control, beyond, own), or a regular expression for such a whole name; none: all.
    Rows of --model are named own, too: own-20."""
    seeds: MaybeCount = None
    """Runs a cell; none: as many as the paper file says."""
    missing: tyro.conf.FlagCreatePairsOff[bool] = False
    """Only the runs without a result in --results, wherever the others were trained."""
    workers: int = usable()
    """Runs at a time, one thread each."""
    run: MaybePath = None
    """The folder of the run folders; none: runs/NAME."""
    results: Path = Path("results")
    """Where the JSON files of finished runs go, in a folder NAME."""
    model: tuple[str, ...] = ()
    """Your own, package.module:Class, called as nn.GRU is (of g2p and reverse a memory, called as Class(states_size,
    queries_size)): more rows, with the settings of the paper's LSTM, GRU or attention.
    Its projection of the input learns as theirs does if its weight is named weight_ih_l0, as in nn.GRU."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """Three minutes: a few cells, trained too short. Its results stay in the run folder."""
    search: tyro.conf.FlagCreatePairsOff[bool] = False
    """Search the settings of the cells on validation sequences, and record that in search.json."""
    render: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write docs/papers.md and docs/figures from the results; trains nothing."""
    cluster: Literal["ray"] | None = None
    """Run over the cluster that RAY_ADDRESS names, or a local one of `workers` cores."""
    data_dir: MaybePath = None
    """The folder of the files that a task of the paper reads: MNIST's, or of ba2016-faces yours."""


def main(arguments: list[str]) -> int | None:
    options = parse(Reproduce, arguments, "fastweights reproduce")
    if options.name is None:
        raise UserError(f"got no paper, wanted one (papers: {', '.join(PAPERS)})")
    module = paper(options.name)
    for option in ("seeds", "workers"):
        value = getattr(options, option)
        if value is not None and value < 1:
            raise UserError(f"--{option} {value}: wanted an integer >= 1")
    if (options.seeds or 1) > MOST_SEEDS:
        raise UserError(f"--seeds {options.seeds}: wanted at most {MOST_SEEDS:,}")
    if options.quick + options.search + options.render > 1:
        raise UserError("got two of --quick, --search and --render, wanted one of them")
    for other in ("quick", "search", "render"):
        if options.missing and getattr(options, other):
            raise UserError(f"--missing: got --{other} too, which trains no run of the table; leave one of them out")
    need_cluster(options.cluster)
    if options.render:
        from fastweights.papers.table import pages

        if not options.results.is_dir():
            raise UserError(f"--results {options.results}: no such folder, wanted one with results to render")
        for path in pages.render(options.name, options.results):
            print(plain(str(path)))
        return None
    if options.run is not None and options.run.exists() and not options.run.is_dir():
        raise UserError(f"--run {options.run}: got a file, wanted a folder for the runs")
    root = options.run or Path("runs") / (options.name + ("-quick" if options.quick else ""))
    folder = root / "results" if options.quick else options.results / options.name
    cells = choose_cells(options, module, options.results / options.name)
    able = with_files(cells)
    check(able)
    if options.search:
        return search(options, module, able, root, folder)
    return reproduce(options, module, cells, able, root, folder)


def choose_cells(options: Reproduce, module: Any, folder: Path) -> list[Cell]:
    from fastweights.papers.table.cells import apart, choose, own_cells, shortened
    from fastweights.papers.table.search import chosen

    found = chosen(folder)
    own: dict[str, Cell] = {}
    for model in options.model:
        for cell in own_cells(module, model, found):
            if cell.name in own:
                twin = own[cell.name].setup.model
                raise UserError(
                    f"--model {model}: got {twin} too, and both are {cell.name} in the table; give one another name"
                )
            own[cell.name] = cell
        if cells := own_cells(module, model, found):
            told = ", ".join(apart(cells[0].setup)) or "no weight of its own at another"
            print(f"note: {model} learns at the row's learning rate, {told}", file=sys.stderr)
    cells = placed([*module.RUNS, *own.values()], options, getattr(module, "in_folder", moved))
    cells = choose(cells, options.only)
    if options.quick:
        cells = shortened(cells, module.QUICK)
        if not cells:
            raise UserError(f"--only {options.only}: none of it is in --quick ({', '.join(module.QUICK)})")
    return cells


def placed(cells: list[Cell], options: Reproduce, moved: Callable[[Cell, str], Cell]) -> list[Cell]:
    """The cells, the files of their tasks where --data-dir says."""
    from fastweights.tasks import places

    if options.data_dir is None:
        return cells
    if not any(places(cell.setup.task) for cell in cells):
        raise UserError(f"--data-dir {options.data_dir}: no task of {options.name} reads files; leave it out")
    return [moved(cell, str(options.data_dir)) for cell in cells]


def moved(cell: Cell, folder: str) -> Cell:
    """The cell whose task looks for its files in this folder."""
    from fastweights.tasks import places

    return cell.with_settings(**dict.fromkeys(places(cell.setup.task), folder))


def with_files(cells: list[Cell]) -> list[Cell]:
    """The cells whose task has all that it needs here; it is said of the others why they are left out."""
    tasks: dict[Any, str | None] = {cell.setup.task: None for cell in cells}
    for task in tasks:
        tasks[task] = task.missing() if hasattr(task, "missing") else None
    if all(tasks.values()):
        raise UserError(next(why for why in tasks.values() if why))
    for task, why in tasks.items():
        if why:
            print(f"note: {task.NAME} is left out: {why}", file=sys.stderr)
    return [cell for cell in cells if not tasks[cell.setup.task]]


def check(cells: list[Cell]) -> None:
    """All models can be built and called before the first process starts."""
    from fastweights.training.trial import try_out

    for cell in cells:
        try_out(cell.setup)


def reproduce(options: Reproduce, module: Any, cells: list[Cell], able: list[Cell], root: Path, folder: Path) -> int:
    """The `able` of the cells are trained, the results of all of them are shown."""
    from fastweights.commands.tables import print_table
    from fastweights.files import FileError
    from fastweights.papers.table import results, tables
    from fastweights.papers.table.cells import jobs_of

    pairs = jobs_of(able, root, options.seeds)
    if options.missing:
        found, _ = results.read(folder, cells)
        seeds = {name: [record["seed"] for record in records] for name, records in found.items()}
        pairs = [(cell, job) for cell, job in pairs if job.setup.config.seed not in seeds[cell.name]]
    if pairs:
        results.check(folder, cells, {results.place(folder, cell, job.setup.config.seed) for cell, job in pairs})
    written: set[int] = set()

    def keep(statuses: "list[Status]") -> None:
        for place, (status, (cell, job)) in enumerate(zip(statuses, pairs, strict=True)):
            if status.state == "done" and place not in written:
                written.add(place)
                path = results.place(folder, cell, job.setup.config.seed)
                try:
                    results.write(path, results.record(cell, job, getattr(module, "measure", None), path))
                except FileError as error:
                    status.state, status.error = "failed", str(error)

    statuses = train([job for _, job in pairs], options.workers, options.cluster, keep)
    found, stale = results.read(folder, cells)
    print(f"{module.TITLE}\n{tables.legend(module)}\n")
    for place, each in enumerate(tables.tables(module, cells, found)):
        print("\n" * (place > 0) + f"{each.title}\n" * bool(each.title), end="")
        print_table(tables.terminal(each))
    if options.quick:
        print(NOT_THE_TABLE.format(name=options.name))
    if stale:
        print(f"\nleft out, of other settings: {', '.join(plain(str(path)) for path in stale)}")
    print(f"\nruns: {plain(str(root))}; results: {plain(str(folder))}")
    count, done = sum(map(len, found.values())), sum(status.state == "done" for status in statuses)
    if count > done:
        print(f"{count - done} of the {count} runs of this table were there before")
    return complain(statuses)


def search(options: Reproduce, module: Any, cells: list[Cell], root: Path, folder: Path) -> int:
    from fastweights.files import make_folder
    from fastweights.papers.table import search as searching

    before = searching.read(folder)
    for cell in cells:
        model = cell.setup.model
        if (there := before.get(cell.name, {"model": model})["model"]) != model:
            raise UserError(f"{folder / searching.FILE}: got the search of {there} for {cell.name} there, wanted one "
                            f"of {model}, or none; choose another --results")  # fmt: skip
    make_folder(folder)
    jobs = searching.search_jobs(cells, module.GRID, root)
    statuses = train([job for _, _, job in jobs], options.workers, options.cluster)
    failed = [status for status in statuses if status.error and "became" not in status.error]
    lost = {cell.name for (cell, _, _), status in zip(jobs, statuses, strict=True) if status in failed}
    found = {name: entry for name, entry in searching.outcome(jobs, statuses).items() if name not in lost}
    if found:
        searching.record(folder, found)
    print(textwrap.fill(searching.HOW, 80) + "\n")
    for name, entry in found.items():
        told = " ".join(f"{key}={searching.text(value)}" for key, value in entry.get("chosen", {}).items())
        loss = min((e["valid_loss"] for e in entry["tried"] if e["valid_loss"] is not None), default=None)
        print(f"{name}: {told}, validation loss {loss:.4f}" if loss is not None else f"{name}: every run failed")
    print("\n" + plain(str(folder / searching.FILE)))
    return complain(failed)
