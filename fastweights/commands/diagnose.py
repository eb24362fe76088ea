from dataclasses import dataclass
from pathlib import Path

import tyro

from fastweights.commands.opened import opened
from fastweights.commands.parsing import parse
from fastweights.errors import UserError
from fastweights.tasks.task import check_integer


@dataclass(frozen=True)
class Diagnose:
    """How loud the memory of a trained model is, by layer and step."""

    model: tyro.conf.Positional[str]
    """The model, as it was trained."""
    run: Path | None = None
    """The run folder (runs/MODEL), or the folder above it."""
    task: str | None = None
    """The task, where it is your own: package.module:Class."""
    rule: str | None = None
    """The update rule, likewise."""
    sequences: int = 64
    """Sequences that are drawn."""
    seed: int = 0
    """Of the sequences."""


def main(arguments: list[str]) -> None:
    options = parse(Diagnose, arguments, "fastweights diagnose")
    check_integer("--sequences", options.sequences, 1)
    check_integer("--seed", options.seed, 0, 2**63 - 2)

    import torch

    from fastweights.nn import FastWeightsRNN
    from fastweights.training.fits import check_sequences

    torch.set_num_threads(1)
    model, task = opened(options)
    if not isinstance(model.recurrent, FastWeightsRNN):
        raise UserError(f"{options.model} has no fast weights, wanted a network that has, such as RNN-LN-FW")
    hidden = model.recurrent.hidden_size
    check_sequences(task, (options.sequences,), "--sequences", more=4 * hidden**2)
    inputs = task.draw(options.sequences, torch.Generator().manual_seed(options.seed)).inputs
    print(model.recurrent.diagnose(model.look_up(inputs)))
