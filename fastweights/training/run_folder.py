"""A run folder: config.json, metrics.jsonl, timings.jsonl, checkpoint.safetensors, final.json.

Nothing in it can execute code, and what is read from it is held to its form.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NotRequired, TypedDict

from fastweights import files
from fastweights.files import FileError
from fastweights.forms import fault
from fastweights.training.config import Config

CONFIG, METRICS, TIMINGS, CHECKPOINT = "config.json", "metrics.jsonl", "timings.jsonl", "checkpoint.safetensors"
FINAL = "final.json"  # of a run that is done: its weights, judged on the test sequences, and where that was
LOCK = ".lock"
FILES = (CONFIG, METRICS, TIMINGS, CHECKPOINT, FINAL)


class Named(TypedDict):
    name: str


class Network(TypedDict):
    rule: NotRequired[Named]
    memory: NotRequired[str]


class HowJudged(TypedDict):
    name: str
    better: Literal["higher", "lower"]
    floors: dict[str, float]


class Description(TypedDict):
    """config.json."""

    model: str
    network: Network
    sources: NotRequired[dict[str, str]]
    task: Named
    metric: HowJudged
    data: NotRequired[dict[str, int | str]]
    config: Config
    parameters: NotRequired[int]


class Row(TypedDict):
    """metrics.jsonl; the statistics of the task beside it are numbers, too."""

    model: NotRequired[str]
    epoch: int
    update: int
    gradient_norm: float


class Timing(TypedDict):
    """timings.jsonl."""

    update: int
    seconds: float
    processor_seconds: NotRequired[float]
    sequences_per_second: float
    backend: str


class Final(TypedDict):
    """final.json."""

    update: int
    weights_hash: str
    commit: str
    versions: dict[str, str]
    machine: dict[str, str | int | None]


ROWS = {METRICS: Row, TIMINGS: Timing}


class RunError(FileError):
    """A run folder that cannot be used as asked; the message says why and the way out."""


class RunLocked(RunError):
    """A run folder in which another process is training."""


def read_description(folder: Path) -> dict[str, Any]:
    """What config.json says of a run, held to its form."""
    return files.read_json(folder / CONFIG, Description, "the description of a run")


def read_final(folder: Path) -> dict[str, Any]:
    """What final.json says of the weights, held to its form."""
    return files.read_json(folder / FINAL, Final, "the end of a run (delete it, and the run is ended again)")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl; a last line that a kill cut short is left out."""
    wanted = "a JSON object of an epoch a line"
    if not files.exists(path):
        return []
    lines = files.read(path, wanted).split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = files.parse_json(line)
        except ValueError:
            if number == len(lines):
                break
            row = {}
        if said := fault(row, ROWS.get(path.name, dict)) or _odd_statistic(row):
            raise RunError(f"{path}: got a broken line {number} ({said}), wanted {wanted}")
        rows.append(row)
    return rows


def _odd_statistic(row: dict[str, Any]) -> str | None:
    """What of the others is no number; a loss may be infinite."""
    if row.get("epoch", 1) < 1:
        return f"epoch: got {row['epoch']}, wanted one from 1"
    others = {
        name: 0 if type(value) is float else value for name, value in row.items() if name not in Timing.__annotations__
    }
    return fault({**others, "model": 0}, dict[str, float])


def read_last(path: Path) -> dict[str, Any]:
    rows = read_rows(path)
    if not rows:
        raise RunError(f"{path}: got no epoch, wanted a line for each; train again into another --run")
    return rows[-1]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Another row, which a power cut after the call leaves there."""
    files.append(path, json.dumps(row, allow_nan=False) + "\n")


def keep_rows(path: Path, update: int) -> None:
    """Drop what was logged after `update`: it is about to be done again."""
    rows = [row for row in read_rows(path) if row["update"] <= update]
    files.write(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def find_runs(root: Path) -> list[Path]:
    """`root` itself, or the runs one level below it, by name."""
    if files.exists(root / CONFIG):
        return [root]
    if not root.is_dir():
        return []
    with files.named(root, "a folder of runs"):
        return sorted(folder for folder in root.iterdir() if files.exists(folder / CONFIG))


def lock(folder: Path, how: int) -> IO[bytes] | None:
    """The lock file of the folder, opened and held; None where another process holds it."""
    path, shared = folder / LOCK, how == fcntl.LOCK_SH
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    file = os.fdopen(files.open_file(path, flags, "a file to lock"), "rb" if shared else "r+b")
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise RunError(f"{path}: got {error.strerror}, wanted a file to lock; choose another --run") from None
    return file


@contextmanager
def only_one(folder: Path) -> Iterator[IO[bytes]]:
    """Hold the folder against a second process; the system lets go when this one ends, however it ends."""
    file = lock(folder, fcntl.LOCK_EX)
    if file is None:
        raise RunLocked(f"{folder}: another process is training here; wait for it, or choose another --run")
    with file:
        yield file


def is_locked(folder: Path) -> bool:
    """Whether a process is training in the folder now."""
    if not files.exists(folder / LOCK):
        return False
    file = lock(folder, fcntl.LOCK_SH)
    if file is not None:
        file.close()
    return file is None
