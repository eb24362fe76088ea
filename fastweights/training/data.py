"""The sequences of a run: drawn from a task, or read from CSV files that a person can read (`c9k8j3??c,9`)."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict

import torch

from fastweights import files
from fastweights.errors import UserError
from fastweights.files import FileError, MissingFile
from fastweights.forms import fault
from fastweights.tasks import Batch, describe, has_text, places
from fastweights.tasks.checks import check_batch
from fastweights.tasks.lines import BadLine, example, from_lines, to_lines
from fastweights.training.config import flag
from fastweights.training.setup import Setup

VALID_SHARE = 5  # of a single file of sequences, one in so many validates
LONGEST = 200  # characters of what is wrong with a line


class Named(TypedDict):
    name: str


class Described(TypedDict):
    """data.json."""

    task: Named


@dataclass(frozen=True)
class Data:
    """`train` None: every update draws anew; `valid` None: the task acts, and is judged by episodes of its own."""

    task: Any
    train: Batch | None
    valid: Batch | None
    test: Batch | None = None  # nothing is chosen by it

    def describe(self) -> dict[str, Any]:
        """What names these sequences: how many, and their hash."""
        described: dict[str, Any] = {}
        for name, part in self.parts().items():
            described |= {f"{name}_size": part.size, f"{name}_hash": part.hash}
        return described

    def parts(self) -> dict[str, Batch]:
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


def draw(task: Any, train_size: int, valid_size: int, seed: int, test_size: int = 0) -> Data:
    """Train, valid and test, in this order from one generator: a test set leaves the other two as they are.

    train_size 0: no training set. Of a task that acts with its model nothing is drawn beforehand.
    """
    if getattr(task, "ACTS", False):
        return Data(task, None, None)
    generator = torch.Generator().manual_seed(seed)
    sizes = {"train": train_size, "valid": valid_size, "test": test_size}
    drawn = [_draw(task, part, size, generator) if size else None for part, size in sizes.items()]
    for part, size in zip(drawn, sizes.values(), strict=True):
        try:
            if part is not None:
                check_batch(task, part)
                if part.size != size:
                    raise UserError(f"got {part.size} sequences from draw({size}, ...), wanted {size}")
        except UserError as error:
            raise UserError(f"task {task.NAME}: {error}") from None
    return Data(task, *drawn)


def sequences(setup: Setup, path: Path | None) -> Data:
    """The sequences of a setup: read from `path`, or drawn from its task."""
    config, task = setup.config, setup.task
    if path is None:
        size = 0 if config.fresh else config.train_size
        return draw(task, size, config.valid_size, config.seed, config.test_size)
    if (named := places(task)) and path.is_dir() and not files.exists(path / file_names(task)[0]):
        raise UserError(f"--data {path}: got no {file_names(task)[0]} there, wanted it; {flag(next(iter(named)))} "
                        f"names the folder of the files of {task.NAME}")  # fmt: skip
    for option in ("test_size", "fresh"):
        if getattr(config, option):
            raise UserError(f"{flag(option)}: got --data too, whose sequences are all there are; leave one of them out")
    found = load(path, task)
    check_asked(path, task, found.task)
    if found.train is not None and found.train.size < config.batch_size:
        raise UserError(
            f"{path}: got {found.train.size} training sequences, "
            f"wanted at least one batch of {config.batch_size}; choose a smaller --batch-size"
        )
    return found


def _draw(task: Any, part: str, count: int, generator: torch.Generator) -> Batch:
    held_out = getattr(task, "held_out", None)
    return task.draw(count, generator) if part == "train" or held_out is None else held_out(part, count, generator)


def write(data: Data, folder: Path, seed: int) -> None:
    """train.csv, valid.csv (of pairs .tsv) and last data.json (the task, the seed, the hashes) into a folder that has
    none of them.

    What was written before this was killed is taken as it is.
    """
    names = (*file_names(data.task), "data.json")
    there = [name for name in names if files.exists(folder / name)]
    if "data.json" in there:
        raise FileError(f"{folder / there[0]}: already there; delete it, or choose another --output")
    _refuse_acting(data.task)
    assert data.train is not None and data.valid is not None
    lines = [to_lines(data.task, batch) for batch in (data.train, data.valid)]
    written = ["".join(f"{line}\n" for line in each).encode() for each in lines]
    written.append(files.json_bytes({"task": describe(data.task), "seed": seed, **data.describe()}))
    contents: dict[str, bytes] = dict(zip(names, written, strict=True))
    for path, content in ((folder / name, contents[name]) for name in there):
        files.check(path)
        if path.stat().st_size != len(content) or files.read(path, most=len(content)) != content:
            raise FileError(f"{path}: already there; delete it, or choose another --output")
    files.make_folder(folder)
    files.remove_parts(folder, names)
    files.write_all({folder / name: content for name, content in contents.items() if name not in there})


def file_names(task: Any) -> tuple[str, str]:
    return ("train.tsv", "valid.tsv") if task.spec.pairs else ("train.csv", "valid.csv")


def load(path: Path, task: Any) -> Data:
    """A folder with train.csv and valid.csv (of pairs .tsv), or one such file, of which every fifth line validates; of
    pairs, the lines of every fifth source.

    What the first line tells of the task goes before what `task` says.
    """
    _refuse_acting(task)
    if path.is_dir():
        task = as_drawn(path, task)
        to_train, to_validate = file_names(task)
        task, train = read_csv(path / to_train, task, _read_in_folder)
        other, valid = read_csv(path / to_validate, task, _read_in_folder)
        for field in fields(task):
            got, wanted = getattr(other, field.name), getattr(task, field.name)
            if got != wanted:
                raise UserError(f"{path / to_validate}: got {field.name} {got}, wanted {wanted} as in {to_train}")
        return Data(task, train, valid)
    task, batch = read_csv(path, task)
    places = first_come(batch) if task.spec.pairs else torch.arange(batch.size)
    held_out = places % VALID_SHARE == VALID_SHARE - 1
    if not held_out.any():
        got = f"{int(places.max()) + 1} sources that differ" if task.spec.pairs else f"{batch.size} lines"
        raise UserError(f"{path}: got {got}, wanted at least {VALID_SHARE}, to validate on some")
    return Data(task, batch.select(~held_out), batch.select(held_out))


def first_come(batch: Batch) -> torch.Tensor:
    """[batch]: for each source its number among those that differ, in the order in which they come."""
    assert batch.lengths is not None
    places = torch.arange(batch.size)
    _, group = torch.cat([batch.lengths[:, None], batch.inputs], 1).unique(dim=0, return_inverse=True)
    first = torch.full_like(places, batch.size).scatter_reduce(0, group, places, "amin")[group]
    return ((first == places).cumsum(0) - 1)[first]


def as_drawn(folder: Path, task: Any) -> Any:
    """The task of the sequences in a folder, as its data.json says; the task as it is where there is none."""
    path = folder / "data.json"
    if not files.exists(path):
        return task
    said = files.read_json(path, Described, "the description of a folder of sequences")["task"]
    if said["name"] != describe(task)["name"]:
        raise UserError(f"{path}: holds sequences of {said['name']}, not of {task.NAME}; name its task by --task")
    known = {field.name for field in fields(task) if field.metadata.get("drawn", True)}
    found = {name: said[name] for name in known & said.keys()}
    if odd := fault(found, type(task), "task"):
        raise FileError(f"{path}: {odd}; draw the sequences again by `fastweights data`")
    with files.said_of(path):
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
        return replace(task, **values)


def check_asked(path: Path, asked: Any, found: Any) -> None:
    """Raise where an option asks for another task than that of the sequences that were found."""
    for field in fields(asked):
        want, got = getattr(asked, field.name), getattr(found, field.name)
        if want != got and want != field.default:
            raise UserError(f"{path}: holds sequences of {field.name} {got}, not {want}; leave that option out")


def read_csv(path: Path, task: Any, read: Callable[[Path, str], bytes] = files.read_named) -> tuple[Any, Batch]:
    """The task and the sequences of a file."""
    try:  # lines as an editor counts them; spreadsheets write the mark
        lines = (
            read(path, "lines of sequences").decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        )
    except MissingFile:
        by = "" if hasattr(task, "read") else " (`fastweights data` writes them)"
        raise FileError(f"{path}: no such file, {_wanted(task)}{by}") from None
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: cannot be read as text ({error}), {_wanted(task)}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{path}: got an empty file, {_wanted(task)}")
    try:
        if hasattr(task, "read"):
            return task.read(lines)
        if has_text(task):
            task = _told(task, lines[0].strip().partition(",")[0])
        return task, from_lines(task, lines)
    except BadLine as error:
        said = str(error)
        raise UserError(f"{path}, line {error.number}: {said[:LONGEST]}{'...' * (len(said) > LONGEST)}") from None


def _read_in_folder(path: Path, wanted: str) -> bytes:
    return files.read(path, wanted, files.most_text())


def _told(task: Any, text: str) -> Any:
    """The task of the text, as `task` is where the text does not tell."""
    try:
        return type(task).from_text(text, **{field.name: getattr(task, field.name) for field in fields(task)})
    except UserError as error:
        raise BadLine(1, str(error)) from None


def _refuse_acting(task: Any) -> None:
    if getattr(task, "ACTS", False):
        raise UserError(f"task {task.NAME}: got a task that acts with its model, wanted one that is drawn beforehand")


def _wanted(task: Any) -> str:
    return f"wanted lines such as {example(task)[:LONGEST]}"
