"""What the tasks draw that ask for the symbols of a source in another arrangement."""

import string
from collections.abc import Callable, Mapping
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
        if len(ends) != 2 or not all(type(end) is int and 1 <= end <= LONGEST for end in ends) or ends[0] > ends[1]:
            got = " ".join(map(str, ends)) if isinstance(ends, tuple) else shown(ends)
            raise UserError(f"{name}: got {got}, wanted the least and the largest length, from 1 to {LONGEST:,}")


def alphabet(task: Any) -> Alphabet:
    return Alphabet(tuple(string.ascii_lowercase[: task.symbols]))


def floors(task: Any) -> Mapping[str, float]:
    """Of answering nothing, and of guessing one symbol after the other."""
    return {"sequence_accuracy": 0.0, "symbol_error_rate": 1.0, "loss": log(task.symbols), "accuracy": 1 / task.symbols}


def draw(
    task: Any, count: int, generator: "Generator", lengths: tuple[int, int], arrange: Callable[[list[int]], list[int]]
) -> Batch:
    """`count` sources of any such length, each as likely, of symbols at random, and what `arrange` makes of them."""
    import torch

    check_integer("count", count, 0)
    least, most = lengths
    counts = torch.randint(least, most + 1, (count,), generator=generator).tolist()
    rows = torch.randint(task.symbols, (count, most), generator=generator).tolist()
    sources = [row[:length] for row, length in zip(rows, counts, strict=True)]
    return batch_of(sources, [arrange(source) for source in sources], task.symbols)
