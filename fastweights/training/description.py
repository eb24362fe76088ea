"""What config.json says of a run, and whether a folder holds the run that is meant."""

import hashlib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fastweights import __version__, files
from fastweights.errors import shown
from fastweights.own import IN_MODULE, SCRIPT
from fastweights.tasks import Task, better, places
from fastweights.training import run_folder
from fastweights.training.checkpoints import check_final, load_checkpoint, load_weights, usable
from fastweights.training.data import Data
from fastweights.training.loop import Progress
from fastweights.training.pretrained import WEIGHTS, load_pretrained
from fastweights.training.run_folder import CHECKPOINT, CONFIG, RunError
from fastweights.training.setup import Setup, own_names, own_parts

PARTS = ("model", "sources", "task", "network", "config", "data")
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
    free = free_in(wanted)
    for part in PARTS:
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


def free_in(description: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """What may change when the run goes on, by part; how long it trains, unless the schedule hangs on it."""
    epochs = ("epochs",) if description["config"].get("schedule") == "constant" else ()
    return {**FREE, "config": (*FREE["config"], *epochs)}


def identity(description: dict[str, Any]) -> str:
    """SHA-256 over all of a description that stays when its run goes on."""
    description, free = json.loads(json.dumps(description)), free_in(description)
    kept = {
        part: {k: v for k, v in found.items() if k not in free.get(part, ()) and v is not None}
        if isinstance(found := description.get(part, {}), dict)
        else found
        for part in PARTS
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def check_header(path: Path, header: dict[str, Any], description: dict[str, Any]) -> None:
    """Raise unless a checkpoint is of the run that is described; one of an earlier version names its model alone."""
    if header.get("model") != description["model"]:
        raise RunError(f"{path}: got the checkpoint of {header.get('model')}, wanted one of {description['model']}")
    if header.get("run", here := identity(description)) != here:
        raise RunError(
            f"{path}: got the checkpoint of another run than {CONFIG} tells of; train again into another --run"
        )


def how_named(described: dict[str, Any], missing: Collection[str]) -> str:
    """What hands in the classes that are missing; those of a script or a notebook no other process can import."""
    own = {name: "" if part == "model" else part for name, part in own_parts(described).items()}
    classes = [f"{part}={kind}" if part else kind for name, part in own.items() for kind in [name.rpartition(":")[2]]]
    python = f"load({', '.join(['folder', *classes])})"
    if any(name.startswith(f"{SCRIPT}:") for name in missing):
        return f"in Python, where that is defined, `{python}`; for the command line {IN_MODULE}, and train from there"
    options = " ".join(f"--{part} {name}" if (part := own[name]) else name for name in missing)
    return f"add `{options}` to have that imported; in Python, `{python}`"


def load_run(folder: Path, named: Collection[str] = ()) -> tuple[Any, Task, dict[str, Any]]:
    """The trained model of a run folder, in eval mode, its task and its description.

    named: the user's own classes that may be imported. A run folder must not choose by itself what is imported.
    """
    described = run_folder.read_description(folder)
    if missing := [name for name in own_names(described) if name not in named]:
        raise RunError(f"{folder / CONFIG}: holds a run of {', '.join(missing)}; {how_named(described, missing)}")
    with files.said_of(folder / CONFIG):
        setup = Setup.from_json(described)
    if hasattr(setup.network, "backend"):
        setup = replace(setup, network=replace(setup.network, backend="auto"))
    with files.said_of(folder / CONFIG):
        model = setup.build()
    if files.exists(path := folder / WEIGHTS):
        load_weights(model, load_pretrained(path), path)
        return model.eval(), setup.task, described
    path = folder / CHECKPOINT
    tensors, header = load_checkpoint(path)
    check_header(path, header, described)
    load_weights(model, tensors, path)
    with usable(path):
        check_final(folder, model, Progress.from_json(header["progress"]).update)
    return model.eval(), setup.task, described
