"""What config.json says of a run, and whether a folder holds the run that is meant."""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fastweights import __version__, files
from fastweights.errors import shown
from fastweights.nn import SequenceModel
from fastweights.tasks import Task, better, places
from fastweights.training import run_folder
from fastweights.training.checkpoints import load_checkpoint, load_weights
from fastweights.training.data import Data
from fastweights.training.run_folder import CHECKPOINT, CONFIG, RunError
from fastweights.training.setup import Setup, own_names

FREE = {"config": ("target", "device"), "network": ("backend",)}  # what may change when a run goes on


def describe(setup: Setup, data: Data) -> dict[str, Any]:
    """What config.json says of a run. Metric and floors stand there for readers that know no task."""
    sources = setup.sources
    stored = setup.as_json()
    return {
        "fastweights": __version__,
        "torch": torch.__version__,
        "model": stored["model"],
        "network": stored["network"],
        **({"sources": sources} if sources else {}),
        "task": stored["task"],
        **({"places": found} if (found := places(setup.task)) else {}),
        "metric": {"name": setup.task.METRIC, "better": better(setup.task), "floors": dict(setup.task.floors)},
        "data": data.describe(),
        "config": stored["config"],
    }


def check_same(folder: Path, description: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The stored description, if this is its run; how long it trains may change, unless the schedule hangs on it."""
    stored = run_folder.read_description(folder)
    if not resume:
        raise RunError(
            f"{folder}: already holds a run of {stored['model']}; --resume goes on with it, or choose another --run"
        )
    wanted = json.loads(json.dumps(description))
    free = {**FREE, "config": (*FREE["config"], *(["epochs"] if wanted["config"]["schedule"] == "constant" else []))}
    for part in ("model", "sources", "task", "network", "config", "data"):
        old, new = stored.get(part, {}), wanted.get(part, {})
        if isinstance(old, dict) and isinstance(new, dict):
            name = next((k for k in [*new, *old] if k not in free.get(part, ()) and old.get(k) != new.get(k)), None)
            if name is None:
                continue
            if part == "sources":
                raise RunError(
                    f"{folder / CONFIG}: holds a run from before the file of {name} was changed; choose another --run"
                )
            old, new, part = old.get(name), new.get(name), f"{part} {name}"
        if old != new:
            raise RunError(
                f"{folder / CONFIG}: holds another run ({part} {shown(old)}, not {shown(new)}); choose another --run"
            )
    return stored


def load_run(folder: Path, named: Collection[str] = ()) -> tuple[SequenceModel, Task, dict[str, Any]]:
    """The trained model of a run folder, in eval mode, its task and its description.

    named: the user's own classes that may be imported. A run folder must not choose by itself what is imported.
    """
    described = run_folder.read_description(folder)
    for name in own_names(described):
        if name not in named:
            raise RunError(f"{folder / CONFIG}: holds a run of {name}; name that yourself to have it imported")
    with files.said_of(folder / CONFIG):
        setup = Setup.from_json(described)
    path = folder / CHECKPOINT
    tensors, header = load_checkpoint(path)
    if header.get("model") != setup.model:
        raise RunError(f"{path}: got the checkpoint of {header.get('model')}, wanted one of {setup.model}")
    if hasattr(setup.network, "backend"):
        setup = replace(setup, network=replace(setup.network, backend="auto"))
    with files.said_of(folder / CONFIG):
        model = setup.build()
    load_weights(model, tensors, path)
    return model.eval(), setup.task, described
