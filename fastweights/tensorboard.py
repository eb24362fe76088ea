"""The metrics of runs as TensorBoard reads them, from run folders alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastweights import files
from fastweights.errors import UserError
from fastweights.training import run_folder

FILES = "events.out.tfevents.*"
LEFT_OUT = ("model", "epoch", "update")  # columns that are no quantities


def write_events(folders: Sequence[Path], output: Path) -> list[Path]:
    """An event file for each run, in a folder of its name: a scalar for each column, by updates."""
    writer = summary_writer()
    logs = {folder: run_folder.read_rows(folder / run_folder.METRICS) for folder in folders}
    names = [folder.resolve().name for folder in folders]
    written = []
    for folder, rows in logs.items():
        name = folder.resolve().name
        where = output / (name if names.count(name) == 1 else f"{folder.resolve().parent.name}-{name}")
        files.make_folder(where)
        for old in where.glob(FILES):
            old.unlink()
        with writer(str(where)) as events:
            for row in rows:
                for tag, value in scalars(row).items():
                    events.add_scalar(tag, value, row["update"])
        written.append(where)
    return written


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The quantities of a row; TensorBoard puts those beside each other whose names begin alike: valid/loss."""
    numbers = {name: value for name, value in row.items() if name not in LEFT_OUT and isinstance(value, int | float)}
    return {tag_of(name): value for name, value in numbers.items()}


def tag_of(name: str) -> str:
    return name.replace("_", "/", 1) if name.startswith(("train_", "valid_")) else name


def summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        wanted = "wanted it: pip install 'fastweights[tensorboard]'"
        raise UserError(f"--tensorboard: got no package tensorboard, {wanted}") from None
    return SummaryWriter
