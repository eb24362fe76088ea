"""What several tasks draw: distinct numbers, all places in turn, and the last answer of a sequence alone."""

from typing import TYPE_CHECKING

from fastweights.tasks.task import NOTHING, Batch

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Generator, Tensor


def distinct(count: int, chosen: int, among: int, generator: "Generator") -> "Tensor":
    """[count, chosen] distinct numbers below `among`, in random order; every such row is as likely.

    Floyd's way draws `chosen` numbers a row, however many there are to choose among, and then shuffles them.
    """
    import torch

    found = torch.empty(count, chosen, dtype=torch.int64)
    for place, top in enumerate(range(among - chosen, among)):
        drawn = torch.randint(top + 1, (count,), generator=generator)
        there = (found[:, :place] == drawn[:, None]).any(1)
        found[:, place] = drawn.masked_fill(there, top)
    return found.gather(1, shuffled(count, chosen, generator))


def shuffled(count: int, size: int, generator: "Generator") -> "Tensor":
    """[count, size]: the places of a row in random order."""
    import torch

    return torch.rand(count, size, generator=generator, dtype=torch.float64).argsort(1)


def in_turn(count: int, among: int, generator: "Generator") -> "Tensor":
    """[count] numbers below `among` in random order; all of them come before one comes again."""
    import torch

    orders = [torch.randperm(among, generator=generator) for _ in range(0, count, among)]
    return torch.cat([*orders, torch.empty(0, dtype=torch.int64)])[:count]


def asked_last(batch: Batch) -> Batch:
    """The sequences, of whose answers at every step the last is asked for alone."""
    import torch

    targets = torch.full_like(batch.targets, NOTHING)
    targets[:, -1] = batch.targets[:, -1]
    return batch._replace(targets=targets)
