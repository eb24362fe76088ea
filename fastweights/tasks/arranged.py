"""What the tasks have in common that ask for the symbols of a source in another arrangement.

Such a task has the fields `symbols`, `trained` and `judged`; the one answer that its `references` gives to a source is
the right one. The functions here are its methods.
"""

import string
from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Any

from fastweights.errors import UserError, shown
from fastweights.tasks.pairs import Alphabet, batch_of
from fastweights.tasks.task import Batch, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Generator

LONGEST = 10_000


def check(task: Any) -> None:
    """Raise unless the fields of such a task are what they should be."""
    check_integer("symbols", task.symbols, 2, len(string.ascii_lowercase))
    for name in ("trained", "judged"):
        ends = getattr(task, name)
        wanted = f"wanted the least and the largest length, from 1 to {LONGEST:,}"
        if not isinstance(ends, tuple):
            raise UserError(f"{name}: got {shown(ends)}, {wanted}, as a tuple")
        if len(ends) != 2 or not all(type(end) is int and 1 <= end <= LONGEST for end in ends) or ends[0] > ends[1]:
            raise UserError(f"{name}: got {' '.join(map(str, ends))}, {wanted}; in a sweep a list is one word: 3,5")


def alphabet(task: Any) -> Alphabet:
    return Alphabet(tuple(string.ascii_lowercase[: task.symbols]))


def floors(task: Any) -> Mapping[str, float]:
    """Of answering nothing, and of guessing one symbol after the other."""
    return {"sequence_accuracy": 0.0, "symbol_error_rate": 1.0, "loss": log(task.symbols), "accuracy": 1 / task.symbols}


def draw(task: Any, count: int, generator: "Generator", model: Any = None) -> Batch:
    """`count` sequences to train on: inputs [count, time], targets [count, time + 1], lengths [count]."""
    return of_lengths(task, count, generator, task.trained)


def held_out(task: Any, part: str, count: int, generator: "Generator") -> Batch:
    """Such sequences of the lengths that are judged."""
    return of_lengths(task, count, generator, task.judged)


def of_lengths(task: Any, count: int, generator: "Generator", lengths: tuple[int, int]) -> Batch:
    """`count` sources of any such length, each as likely, of symbols at random, with their answers."""
    import torch

    check_integer("count", count, 0)
    least, most = lengths
    counts = torch.randint(least, most + 1, (count,), generator=generator).tolist()
    rows = torch.randint(task.symbols, (count, most), generator=generator).tolist()
    sources = [row[:length] for row, length in zip(rows, counts, strict=True)]
    return batch_of(sources, [task.references(source)[0] for source in sources], task.symbols)
