"""The sequences of a run: drawn from a task, or read from CSV files that a person can read (`c9k8j3??c,9`)."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from fastweights.errors import UserError
from fastweights.runs import make_folder, write_atomically, write_json
from fastweights.tasks import Batch, describe, has_text
from fastweights.tasks.checks import check_batch
from fastweights.tasks.lines import BadLine, example, from_lines, to_lines

VALID_SHARE = 5  # of a single file of sequences, one in so many validates
LONGEST = 200  # characters of what is wrong with a line


@dataclass(frozen=True)
class Data:
    task: Any
    train: Batch
    valid: Batch
    test: Batch | None = None  # nothing is chosen by it

    def describe(self) -> dict[str, Any]:
        """What names these sequences: how many, and their hash."""
        parts = {"train": self.train, "valid": self.valid} | ({} if self.test is None else {"test": self.test})
        described: dict[str, Any] = {}
        for name, part in parts.items():
            described |= {f"{name}_size": part.size, f"{name}_hash": part.hash}
        return described


def draw(task: Any, train_size: int, valid_size: int, seed: int, test_size: int = 0) -> Data:
    """Train, valid and test, in this order from one generator: a test set leaves the other two as they are."""
    _refuse_acting(task)
    generator = torch.Generator().manual_seed(seed)
    parts = [task.draw(size, generator) for size in (train_size, valid_size, *([test_size] if test_size else []))]
    for part in parts:
        try:
            check_batch(task, part)
        except UserError as error:
            raise UserError(f"task {task.NAME}: {error}") from None
    return Data(task, *parts)


def write(data: Data, folder: Path, seed: int) -> None:
    """train.csv, valid.csv and data.json (the task, the seed, the hashes) into a folder that has none of them."""
    names = ("train.csv", "valid.csv", "data.json")
    for name in names:
        if (folder / name).exists():
            raise UserError(f"{folder / name}: already there; delete it, or choose another --output")
    contents = [to_lines(data.task, batch) for batch in (data.train, data.valid)]
    make_folder(folder)
    for name, lines in zip(names, contents, strict=False):
        write_atomically(folder / name, "".join(f"{line}\n" for line in lines).encode())
    write_json(folder / "data.json", {"task": describe(data.task), "seed": seed, **data.describe()})


def load(path: Path, task: Any) -> Data:
    """A folder with train.csv and valid.csv, or one CSV file, of which every fifth line validates.

    What the first line tells of the task goes before what `task` says.
    """
    _refuse_acting(task)
    if path.is_dir():
        task, train = read_csv(path / "train.csv", task)
        other, valid = read_csv(path / "valid.csv", task)
        for field in fields(task):
            got, wanted = getattr(other, field.name), getattr(task, field.name)
            if got != wanted:
                raise UserError(f"{path / 'valid.csv'}: got {field.name} {got}, wanted {wanted} as in train.csv")
        return Data(task, train, valid)
    task, batch = read_csv(path, task)
    held_out = torch.arange(batch.size) % VALID_SHARE == VALID_SHARE - 1
    if not held_out.any():
        raise UserError(f"{path}: got {batch.size} lines, wanted at least {VALID_SHARE}, to validate on some")
    return Data(task, batch.select(~held_out), batch.select(held_out))


def read_csv(path: Path, task: Any) -> tuple[Any, Batch]:
    """The task and the sequences of a file."""
    try:  # lines as an editor counts them; spreadsheets write the mark
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, {_wanted(task)} (`fastweights data` writes them)") from None
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}), {_wanted(task)}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{path}: got an empty file, {_wanted(task)}")
    try:
        if has_text(task):
            task = _told(task, lines[0].strip().partition(",")[0])
        return task, from_lines(task, lines)
    except BadLine as error:
        said = str(error)
        raise UserError(f"{path}, line {error.number}: {said[:LONGEST]}{'...' * (len(said) > LONGEST)}") from None


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
