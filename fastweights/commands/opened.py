"""A trained model, as a command that looks at one names it."""

from pathlib import Path
from typing import Any

from fastweights.training import run_folder


def opened(options: Any) -> tuple[Any, Any]:
    """The model, in eval mode, and its task, by the options `model`, `run`, `task`, `rule` and, if any, `memory`."""
    from fastweights.training.networks import network_of
    from fastweights.training.trained import open_run

    root = options.run or Path("runs")
    if options.model is not None and options.model not in [folder.name for folder in run_folder.find_runs(root)]:
        network_of(options.model)
    found = open_run(root, options.model, options.task, options.rule, getattr(options, "memory", None))
    return found.model, found.task
