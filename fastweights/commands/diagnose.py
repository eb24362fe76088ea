from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from fastweights.commands.opened import opened
from fastweights.commands.parsing import MaybeOwn, MaybePath, parse
from fastweights.errors import UserError
from fastweights.tasks.task import check_integer


@dataclass(frozen=True)
class Diagnose:
    """How loud the memory of a trained model is, by layer and step."""

    model: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[MODEL]", help_behavior_hint="")] = None
    """The model, as it was trained; none: that of the only run there."""
    run: MaybePath = None
    """The run folder, or the folder above it; none: runs."""
    task: MaybeOwn = None
    """The task, where it is your own; none: that of the run."""
    rule: MaybeOwn = None
    """The update rule, likewise; none: that of the run."""
    memory: MaybeOwn = None
    """The memory between encoder and decoder, likewise; none: that of the run."""
    sequences: int = 64
    """Sequences that are drawn and looked at."""
    seed: int = 0
    """Of their draw: the same seed, the same sequences."""


def main(arguments: list[str]) -> None:
    options = parse(Diagnose, arguments, "fastweights diagnose")
    check_integer("--sequences", options.sequences, 1)
    check_integer("--seed", options.seed, 0, 2**63 - 2)

    import torch

    from fastweights.nn import FastWeightsRNN
    from fastweights.training.fits import check_sequences

    torch.set_num_threads(1)
    model, task = opened(options)
    network = getattr(model, "recurrent", model)
    if not isinstance(network, FastWeightsRNN):
        like = "FastWeightsTransducer" if task.spec.pairs else "RNN-LN-FW"
        raise UserError(f"got the network {type(network).__name__}, wanted a FastWeightsRNN, as {like} has one: the "
                        "diagnosis is of its fast weights")  # fmt: skip
    check_sequences(task, (options.sequences,), "--sequences", more=4 * network.hidden_size**2)
    batch = task.draw(options.sequences, torch.Generator().manual_seed(options.seed))
    print(network.diagnose(read_by(model, task, batch)))


def read_by(model: Any, task: Any, batch: Any) -> Any:
    """[batch, time, features]: what the network reads of these sequences, and of their answers where it goes on."""
    if not task.spec.pairs:
        return model.look_up(batch.inputs)
    read: list[Any] = []
    waiting = model.recurrent.register_forward_pre_hook(lambda network, given: read.append(given[0]))
    task.loss(model, batch)
    waiting.remove()
    return read[0].detach()
