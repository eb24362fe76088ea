"""A trained model, as a command that looks at one names it."""

from pathlib import Path
from typing import Any

from fastweights import files
from fastweights.errors import UserError, near
from fastweights.files import FileError
from fastweights.training import run_folder


def opened(options: Any) -> tuple[Any, Any]:
    """The model, in eval mode, and its task, by the options `model`, `run`, `task` and `rule` of a command."""
    from fastweights.training.description import load_run
    from fastweights.training.networks import network_of

    network_of(options.model)
    folder = find(options.run, options.model)
    described = run_folder.read_description(folder)
    if (held := described["model"]) != options.model:
        raise FileError(
            f"{folder / run_folder.CONFIG}: holds a run of {held}, not of {options.model}; name another --run"
        )
    if options.task is not None and options.task != (asks := described["task"]["name"]):
        raise UserError(f"{folder}: holds a run of the task {asks}, not of {options.task}; leave --task out")
    named = [name for name in (options.model, options.task, options.rule) if name is not None]
    model, task, _ = load_run(folder, named)
    return model, task


def find(run: Path | None, model: str) -> Path:
    root = run or Path("runs")
    name = model.replace(":", "-")
    for folder in [root, root / name] if run else [root / name]:
        if files.exists(folder / run_folder.CONFIG):
            return folder
    there = [folder.name for folder in run_folder.find_runs(root)]
    hint = near(name, there) if there else ""
    raise run_folder.RunError(
        f"got no run of {model} in {root}{hint}; train it with `fastweights train {model}`, or name its --run"
    )
