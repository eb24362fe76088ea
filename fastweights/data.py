"""The sequences of a run: drawn from a task, or read from CSV files that a person can read (`c9k8j3??c,9`)."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from fastweights.runs import RunError, make_folder, write_atomically, write_json
from fastweights.tasks import AssociativeRetrieval, BadSequence, Batch

MOST_SHOWN = 80  # characters of a broken line in an error; the longest sequence has 55
VALID_SHARE = 5  # of a single file of sequences, one in so many validates


@dataclass(frozen=True)
class Data:
    task: AssociativeRetrieval
    train: Batch
    valid: Batch
    test: Batch | None = None  # nothing is chosen by it

    def describe(self) -> dict[str, Any]:
        """What names these sequences: how many, and their hash."""
        parts = {"train": self.train, "valid": self.valid} | ({} if self.test is None else {"test": self.test})
        sizes = {f"{name}_size": len(part.targets) for name, part in parts.items()}
        hashes = {f"{name}_hash": part.hash for name, part in parts.items()}
        return {key: value for pair in zip(sizes.items(), hashes.items(), strict=True) for key, value in pair}


def draw(task: AssociativeRetrieval, train_size: int, valid_size: int, seed: int, test_size: int = 0) -> Data:
    """Train, valid and test, in this order from one generator: a test set leaves the other two as they are."""
    generator = torch.Generator().manual_seed(seed)
    train, valid = task.draw(train_size, generator), task.draw(valid_size, generator)
    return Data(task, train, valid, task.draw(test_size, generator) if test_size else None)


def write(data: Data, folder: Path, seed: int) -> None:
    """train.csv, valid.csv and data.json (the task, the seed, the hashes) into a folder that has none of them."""
    names = ("train.csv", "valid.csv", "data.json")
    for name in names:
        if (folder / name).exists():
            raise RunError(f"{folder / name}: already there; delete it, or choose another --output")
    make_folder(folder)
    for name, batch in zip(names, (data.train, data.valid), strict=False):
        write_atomically(folder / name, to_csv(data.task, batch))
    task = {"name": data.task.NAME, "version": data.task.VERSION, **asdict(data.task)}
    write_json(folder / "data.json", {"task": task, "seed": seed, **data.describe()})


def to_csv(task: AssociativeRetrieval, batch: Batch) -> bytes:
    symbols, classes = task.SYMBOLS, task.CLASSES
    lines = [
        "".join([symbols[token] for token in row]) + "," + classes[target] + "\n"
        for row, target in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True)
    ]
    return "".join(lines).encode()


def load(path: Path) -> Data:
    """A folder with train.csv and valid.csv, or one CSV file, of which every fifth line validates."""
    if path.is_dir():
        task, train = read_csv(path / "train.csv")
        other, valid = read_csv(path / "valid.csv")
        if other.num_pairs != task.num_pairs:
            raise RunError(
                f"{path / 'valid.csv'}: got {other.num_pairs} pairs, wanted {task.num_pairs} as in train.csv"
            )
        return Data(task, train, valid)
    task, batch = read_csv(path)
    held_out = torch.arange(len(batch.targets)) % VALID_SHARE == VALID_SHARE - 1
    if not held_out.any():
        raise RunError(f"{path}: got {len(batch.targets)} lines, wanted at least {VALID_SHARE}, to validate on some")
    return Data(
        task,
        Batch(batch.tokens[~held_out], batch.targets[~held_out]),
        Batch(batch.tokens[held_out], batch.targets[held_out]),
    )


def read_csv(path: Path) -> tuple[AssociativeRetrieval, Batch]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split(
            "\n"
        )  # as an editor counts them; spreadsheets write the mark
    except FileNotFoundError:
        raise RunError(
            f"{path}: no such file, wanted lines such as c9k8j3??c,9 (`fastweights data` writes them)"
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise RunError(f"{path}: cannot be read as text ({error}), wanted lines such as c9k8j3??c,9") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise RunError(f"{path}: got an empty file, wanted lines such as c9k8j3??c,9")
    try:
        task = AssociativeRetrieval.from_text(lines[0].strip()[:MOST_SHOWN].partition(",")[0])
    except BadSequence as error:
        raise RunError(f"{path}, line 1: {error}") from None
    index = {symbol: place for place, symbol in enumerate(task.SYMBOLS)}
    rows, targets = [], []
    for number, line in enumerate(lines, start=1):
        text, comma, target = line.strip().partition(",")
        if not comma or len(text) != task.length or target not in task.CLASSES or len(target) != 1:
            raise RunError(f"{path}, line {number}: {_complaint(task, line)}")
        rows.append([index.get(symbol, 99) for symbol in text])
        targets.append(int(target))
    batch = Batch(torch.tensor(rows), torch.tensor(targets))
    bad = task.first_bad(batch)
    if bad is not None:
        raise RunError(f"{path}, line {bad + 1}: {_complaint(task, lines[bad])}")
    return task, batch


def _complaint(task: AssociativeRetrieval, line: str) -> str:
    line = line if len(line) <= MOST_SHOWN else line[:MOST_SHOWN] + "..."
    text, comma, target = line.strip().partition(",")
    if not comma:
        return f"got {line!r}, wanted a sequence, a comma and its answer, as in c9k8j3??c,9"
    try:
        answer = task.answer(text)
    except BadSequence as error:
        return str(error)
    return f"got the answer {target!r} to {text!r}, wanted {answer!r}"
