"""What is measured of a trained network, beside the statistics of its test sequences."""

from dataclasses import replace
from typing import Any

import torch

from fastweights.nn import SequenceModel
from fastweights.nn.layer_state import state_bytes as bytes_of
from fastweights.tasks import Task
from fastweights.training.evaluation import evaluate, parts

SEQUENCES, SEED = 2_000, 77_777  # no run has sequences of this seed


def state_bytes(model: SequenceModel, task: Task) -> float:
    """What one stream carries after a judged sequence: all tensors of the state that the network returns."""
    judged: Any = task
    batch = judged.held_out("test", 1, torch.Generator().manual_seed(SEED))
    return float(bytes_of(model.recurrent(model.look_up(batch.inputs))[1]))


def accuracy(model: SequenceModel, task: Task, **changes: Any) -> float:
    """That on sequences of the task with other settings, such as longer ones, the same for all networks."""
    other: Any = replace(task, **changes)  # pyright: ignore[reportArgumentType]
    batch = other.held_out("test", SEQUENCES, torch.Generator().manual_seed(SEED))
    return evaluate(model, other, parts(batch))["accuracy"]
