"""Whether a run can fit into memory, by the least that it needs: what cannot is refused before it is tried."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

from fastweights import memory
from fastweights.training.setup import Setup
from fastweights.training.source import generator_of

NUMBER = 4  # bytes
COPIES = 4  # of each weight: itself, its gradient, and two moments of Adam


def check_sequences(task: Any, counts: Sequence[int], what: str, more: int = 0, together: int = 1) -> int:
    """Raise where sets of so many sequences cannot be; returns the steps of one.

    A set is put together from parts, and hashed: for a while it is there three times. `more`: bytes that a sequence
    needs beside its tensors; `together`: processes that have them all.
    """
    if getattr(task, "ACTS", False):
        return 0
    one = task.draw(1, generator_of(0))
    each = sum(part.numel() * part.element_size() for part in one if part is not None)
    memory.check(together * ((each + more) * sum(counts) + 2 * each * max(counts)), what)
    return one.inputs.shape[1]


def check_weights(setup: Setup) -> None:
    config, spec = setup.config, setup.task.spec
    embedded = (spec.inputs, *config.embedding_sizes)
    layers = [*embedded, config.hidden_size], [config.hidden_size, config.hidden_size, *config.head_sizes, spec.outputs]
    weights = sum(prod(pair) for layer in layers for pair in pairwise(layer))
    memory.check(COPIES * NUMBER * weights, "--hidden-size, --embedding-sizes and --head-sizes")


def check_run(setup: Setup, together: int = 1) -> None:
    """Its sequences, and what an update keeps of a batch."""
    config = setup.config
    counts = (0 if config.fresh else config.train_size, config.valid_size, config.test_size)
    steps = check_sequences(
        setup.task, counts, "--train-size, --valid-size, --test-size and --workers", together=together
    )
    memory.check(2 * NUMBER * config.batch_size * steps * config.hidden_size, "--batch-size and --hidden-size")
