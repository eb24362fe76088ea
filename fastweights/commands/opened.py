"""A trained model, as a command that looks at one names it."""

from pathlib import Path
from typing import Any

from fastweights.errors import UserError
from fastweights.files import FileError
from fastweights.training import run_folder


def opened(options: Any) -> tuple[Any, Any]:
    """The model, in eval mode, and its task, by the options `model`, `run`, `task` and `rule` of a command."""
    from fastweights.training.networks import network_of
    from fastweights.training.trained import find, load

    if options.model is not None:
        network_of(options.model)
    folder = find(options.run or Path("runs"), options.model)
    described = run_folder.read_description(folder)
    held, asks = described["model"], described["task"]["name"]
    if options.model is not None and held != options.model:
        raise FileError(
            f"{folder / run_folder.CONFIG}: holds a run of {held}, not of {options.model}; name another --run"
        )
    if options.task is not None and options.task != asks:
        raise UserError(f"{folder}: holds a run of the task {asks}, not of {options.task}; leave --task out")
    found = load(folder, options.model, task=options.task, rule=options.rule)
    return found.model, found.task
