"""Runs as Python has them: trained here, loaded from a folder, saved for others."""

import re
import shlex
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fastweights import files, tasks
from fastweights.errors import UserError, near, out_of_memory
from fastweights.own import is_own
from fastweights.process.signals import Heard
from fastweights.tasks import Task
from fastweights.training import data as sequences_of
from fastweights.training import networks, run, run_folder
from fastweights.training.config import Config
from fastweights.training.description import load_run
from fastweights.training.pretrained import save_pretrained
from fastweights.training.setup import Setup
from fastweights.training.trial import try_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from fastweights.nn.trace import Trace
    from fastweights.tasks import Batch
    from fastweights.training.looking import Codes

OPTION = re.compile(r"`[^`]*`|(?<![\w/-])--(?P<name>[a-z][a-z-]*)")
ARGUMENTS = {"run": "folder", "resume": "resume=True"}  # other options are called as arguments are
Own = str | type | None  # a class of the user's, or its name package.module:Class


@dataclass(frozen=True)
class TrainedRun:
    """A run and its model. `curve` has a row for each epoch, as `pandas.DataFrame` takes them."""

    folder: Path
    name: str  # of the model
    model: Any  # a `SequenceModel`, or a model of pairs; in eval mode, on the CPU
    task: Task
    config: Config
    network: Any  # the options of the network
    curve: list[dict[str, Any]]

    def save_pretrained(self, folder: str | Path) -> None:
        """config.json and model.safetensors into a folder that has neither: the layout of the Hugging Face hub."""
        save_pretrained(Path(folder), self.model, self.folder)

    def trace(self, sequence: "str | Tensor | Batch", state: Any = None, decay: float | None = None) -> "Trace":
        """All that the network does with one sequence, as NumPy arrays: see `fastweights.nn.trace.Trace`.

        sequence: a text of the task; or inputs [time] or [time, features]; or a batch of one, as `task.draw` makes it.
        state: what the sequence goes on from, such as `trace.state(-2)` or `trace.erase(3, at=-2)`; a text is then any
        symbols, and only the last step is asked: `run.trace("k", before.state(-2)).answer`.
        decay: of the memory from the first step on, in place of its own.
        Raises `BadSequence` where a text is none of the task.
        """
        from fastweights.training.looking import trace_sequence

        return trace_sequence(self.model, self.task, sequence, state, decay)

    def answer(self, sequence: "str | Tensor | Batch", state: Any = None, decay: float | None = None) -> Any:
        """What the network answers, a text of classes or an array of numbers; arguments as of `trace`."""
        return self.trace(sequence, state, decay).answer

    def codes(self, symbols: str | None = None) -> "Codes":
        """How alike symbols are to the network: see `fastweights.training.looking.Codes`.

        symbols: which; None: those that a drawn sequence can end with, such as the keys that are asked for.
        """
        from fastweights.training.looking import codes_of

        return codes_of(self.model, self.task, symbols)

    def mistakes(self, holding: str = "", count: int = 10_000, seed: int = 0) -> "Batch":
        """The sequences that it gets wrong, of `count` drawn ones that have all symbols of `holding`.

        Raises `UserError` where the task does not draw its sequences, or its answer is not one class.
        """
        from fastweights.training.looking import mistakes_of

        return mistakes_of(self.model, self.task, holding, count, seed)


def load(
    folder: str | Path, model: Own = None, *, task: Own = None, rule: Own = None, memory: Own = None
) -> TrainedRun:
    """The run in a folder, or of `model` in a folder of runs; also what `save_pretrained` has written.

    A class of your own that the run uses has to be named, or be handed in: a folder does not choose what is imported.
    """
    with said_for_python():
        return open_run(Path(folder), *map(name_of_own, (model, task, rule, memory)))


def open_run(
    root: Path, model: str | None, task: str | None, rule: str | None, memory: str | None = None
) -> TrainedRun:
    """As `load`, by the names of classes; of the command line, too."""
    found = find(root, model)
    described = run_folder.read_description(found)
    held, asked = described["model"], described["task"]["name"]
    if model not in (None, held) and (model != found.name or model in networks.NETWORKS or is_own(model)):
        raise run_folder.RunError(
            f"{found / run_folder.CONFIG}: holds a run of {held}, not of {model}; name another --run"
        )
    if task not in (None, asked, described["task"].get("env")):
        raise run_folder.RunError(
            f"{found / run_folder.CONFIG}: holds a run of the task {asked}, not of {task}; leave --task out"
        )
    with torch.random.fork_rng(devices=[]):  # building draws weights
        made, of_task, _ = load_run(found, [name for name in (model, task, rule, memory) if name is not None])
    setup = Setup.from_json(described)
    rows = run_folder.read_rows(found / run_folder.METRICS)
    return TrainedRun(found, setup.model, made, of_task, setup.config, setup.network, rows)


def train(
    model: str | type,
    task: Task | str | None = None,
    *,
    folder: str | Path | None = None,
    data: str | Path | None = None,
    resume: bool = False,
    progress: Callable[[dict[str, Any]], None] | None = None,
    **settings: Any,
) -> TrainedRun:
    """Train one model in this process, on one thread, and load it.

    model: a name of `fastweights train`, or a class that is called as `nn.GRU` is, or its name package.module:Class.
    task: a task, or its name; None: associative retrieval, or what the lines of `data` tell.
    folder: the run folder; None: runs/MODEL. data: a folder with train.csv and valid.csv, or one CSV file.
    resume: go on with the run that the folder holds, if it does.
    progress: called with the row of each epoch, such as `print`.
    settings: fields of `Config` (epochs, seed, learning_rate, hidden_size, ...) and options of the network (rule,
        learned, inner_steps, backend; memory, backbone, front).
    """
    name = str(name_of_own(model))
    place = Path("runs") / name.replace(":", "-") if folder is None else Path(folder)
    told = -1  # epochs

    def watch(under_way: run.Run) -> None:
        nonlocal told
        before, told = told, under_way.progress.epoch
        if progress is not None and told > before >= 0 and under_way.last_row is not None:
            progress(dict(under_way.last_row))

    with said_for_python(), files.readable_again(None if data is None else Path(data)) as source:
        setup = setup_of(name, task, source, settings)
        train_setup(setup, source, place, resume=resume, watch=watch, check=try_out)
    network = networks.as_json(setup.network)
    rule, memory = network.get("rule", {}).get("name"), network.get("memory")
    return load(place, name, task=tasks.describe(setup.task)["name"], rule=rule, memory=memory)


def train_setup(
    setup: Setup,
    data: Path | None,
    folder: Path,
    *,
    resume: bool,
    watch: run.Watch = lambda run: None,
    heard: Heard | None = None,
    check: Callable[[Setup], None] = lambda setup: None,
) -> dict[str, Any]:
    """Train on one thread, for the products are small; returns the last row of the metrics.

    The caller's threads and random numbers stay what they are.
    """
    with one_thread(), torch.random.fork_rng(devices=[]), out_of_memory("--hidden-size, --batch-size or --valid-size"):
        sequences = sequences_of.sequences(setup, data)
        check(replace(setup, task=sequences.task))
        return run.train(setup, sequences, folder, resume=resume, watch=watch, heard=heard)


@contextmanager
def said_for_python() -> "Iterator[None]":
    """What an error says of options, as arguments: `resume=True` for --resume. Whole commands stay."""
    try:
        yield
    except UserError as error:
        error.args = (OPTION.sub(as_argument, str(error)),)
        raise


def as_argument(found: "re.Match[str]") -> str:
    name = found["name"]
    return ARGUMENTS.get(name, name.replace("-", "_")) if name else found[0]


@contextmanager
def one_thread() -> "Iterator[None]":
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def setup_of(model: str, task: Task | str | None, data: Path | None, settings: dict[str, Any]) -> Setup:
    """The setup that these settings mean, each a field of `Config` or an option of the network."""
    options = networks.network_of(model).options
    known = {each.name for each in fields(Config)}, {each.name for each in fields(options)}
    for name in settings:
        if name not in known[0] | known[1]:
            way_out = rule_with(name, settings) if "rule" in known[1] else ""
            way_out = way_out or near(name, known[0] | known[1])
            raise UserError(f"train: got the setting {name!r}, which {model} does not have{way_out}")
    if task is None:
        usual = tasks.AssociativeRetrieval.NAME
        task = usual if data is None else tasks.task_told(data, usual)
    made = tasks.find_task(task)() if isinstance(task, str) else task() if isinstance(task, type) else task
    config, network = ({n: v for n, v in settings.items() if n in names} for names in known)
    return Setup(model, made, Config(**config).with_sizes(made, config), options(**network))


def rule_with(constant: str, settings: dict[str, Any]) -> str:
    """How a constant is set that a rule has; empty where none has it."""
    usual = type(settings["rule"]) if "rule" in settings else networks.DEFAULT_RULE
    for kind in (usual, *networks.rules.registered().values()):
        if is_dataclass(kind) and constant in [each.name for each in fields(kind) if each.init]:
            return f"; it is a constant of the rule, wanted rule={kind.__name__}({constant}={settings[constant]!r})"
    return ""


def name_of_own(named: Own) -> str | None:
    """package.module:Class of a class; a name as it is."""
    if named is None or isinstance(named, str):
        return named
    if not isinstance(named, type):
        raise UserError(f"got {named!r}, wanted a class, or a name")
    if (known := getattr(named, "NAME", None)) in tasks.TASKS and tasks.TASKS[known] is named:
        return known
    return f"{named.__module__}:{named.__qualname__}"


def find(root: Path, model: str | None) -> Path:
    """The folder of a run: `root` itself, or below it that of the model, or the only one."""
    if files.exists(root / run_folder.CONFIG):
        return root
    runs = run_folder.find_runs(root)
    if model is None:
        if len(runs) == 1:
            return runs[0]
        if runs:
            there = ", ".join(path.name for path in runs)
            raise run_folder.RunError(f"{root}: got {len(runs)} runs ({there}), wanted one, such as --run {runs[0]}")
        makes = f"`fastweights train RNN-LN-FW --run {shlex.quote(str(root))}` makes one"
        raise run_folder.RunError(f"{root}: got no run, wanted a run folder; {makes}")
    name = model.replace(":", "-")
    if files.exists(root / name / run_folder.CONFIG):
        return root / name
    where = "" if root == Path("runs") else f" --run {shlex.quote(str(root / name if runs else root))}"
    raise run_folder.RunError(
        f"got no run of {model} in {root}{near(name, [path.name for path in runs])}; train it with "
        f"`fastweights train {model}{where}`, or name its --run"
    )
