"""A run folder: config.json, metrics.jsonl, timings.jsonl, checkpoint.safetensors, final.json.

Nothing in it can execute code.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fastweights.errors import UserError

CONFIG, METRICS, TIMINGS, CHECKPOINT = "config.json", "metrics.jsonl", "timings.jsonl", "checkpoint.safetensors"
NUMBERS = {  # what readers rely on in each row
    METRICS: ("epoch", "update", "gradient_norm"),
    TIMINGS: ("update", "seconds", "sequences_per_second"),
}
FINAL = "final.json"  # of a run that is done: its weights, judged on the test sequences, and where that was


class RunError(UserError):
    """A run folder that cannot be used as asked; the message says why and the way out."""


class RunLocked(RunError):
    """A run folder in which another process is training."""


def write_atomically(path: Path, content: bytes) -> None:
    """The whole new file or the whole old one, whatever is killed or cut when; after the call, the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A power cut leaves the names in the folder as they are now."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)


def remove_parts(folder: Path, names: Iterable[str]) -> None:
    """What is left of these files by a process that was killed as it wrote."""
    for name in names:
        for part in folder.glob(f".{name}.*.part"):
            part.unlink()


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path.parent}: got no {path.name}, wanted the folder of a run") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise RunError(f"{path}: got a file that cannot be read ({error}), wanted JSON") from None


def read_description(folder: Path) -> dict[str, Any]:
    """What config.json says of a run, held to its form."""
    found = read_json(folder / CONFIG)
    form = {"model": str, "network": dict, "task": dict, "metric": dict, "config": dict}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in form.items()):
        raise RunError(f"{folder / CONFIG}: got no description of a run, wanted one; choose another --run")
    metric, task, rule = found["metric"], found["task"], found["network"].get("rule", {"name": ""})
    names = (metric.get("name"), metric.get("better"), task.get("name"), isinstance(rule, dict) and rule.get("name"))
    if not all(isinstance(name, str) for name in names) or not isinstance(metric.get("floors"), dict):
        raise RunError(f"{folder / CONFIG}: got no metric or no task, wanted a description of a run")
    return found


def read_final(folder: Path) -> dict[str, Any]:
    """What final.json says of the weights, held to its form."""
    found = read_json(folder / FINAL)
    form = {"update": int, "weights_hash": str, "commit": str, "versions": dict, "machine": dict}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in form.items()):
        raise RunError(f"{folder / FINAL}: got no end of a run, wanted one; delete it, and the run is ended again")
    return found


def make_folder(folder: Path) -> None:
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in missing:
            sync_folder(each.parent)
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"{folder}: got a file on the way there, wanted a folder; choose another") from None
    except OSError as error:
        raise RunError(f"{folder}: got {error.strerror}, wanted a folder; choose another") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: got a folder that nothing can be written into; choose another")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl; a last line that a kill cut short is left out."""
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    except OSError as error:
        raise RunError(f"{path}: got {error.strerror}, wanted a JSON object of an epoch a line") from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict) and all(type(row.get(name)) in (int, float) for name in NUMBERS.get(path.name, ())):
            rows.append(row)
        elif number < len(lines) or row is not None:
            raise RunError(f"{path}: got a broken line {number}, wanted a JSON object of an epoch a line")
    return rows


def read_last(path: Path) -> dict[str, Any]:
    rows = read_rows(path)
    if not rows:
        raise RunError(f"{path}: got no epoch, wanted a line for each; train again into another --run")
    return rows[-1]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Another row, which a power cut after the call leaves there."""
    new = not path.exists()
    with open(path, "a") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def keep_rows(path: Path, update: int) -> None:
    """Drop what was logged after `update`: it is about to be done again."""
    rows = [row for row in read_rows(path) if row["update"] <= update]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def find_runs(root: Path) -> list[Path]:
    """`root` itself, or the runs one level below it, by name."""
    if (root / CONFIG).exists():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{CONFIG}"))


def lock(folder: Path, mode: str, how: int) -> IO[str] | None:
    """The lock file of the folder, opened and held; None where another process holds it."""
    path = folder / ".lock"
    try:
        file = open(path, mode)  # noqa: SIM115 - the caller closes it
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BaseException:
            file.close()
            raise
    except BlockingIOError:
        return None
    except OSError as error:
        raise RunError(f"{path}: got {error.strerror}, wanted a file to lock; choose another --run") from None
    return file


@contextmanager
def only_one(folder: Path) -> Iterator[IO[str]]:
    """Hold the folder against a second process; the system lets go when this one ends, however it ends."""
    file = lock(folder, "w", fcntl.LOCK_EX)
    if file is None:
        raise RunLocked(f"{folder}: another process is training here; wait for it, or choose another --run")
    with file:
        yield file


def is_locked(folder: Path) -> bool:
    """Whether a process is training in the folder now."""
    if not (folder / ".lock").exists():
        return False
    file = lock(folder, "r", fcntl.LOCK_SH)
    if file is not None:
        file.close()
    return file is None
