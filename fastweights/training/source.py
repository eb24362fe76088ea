"""What update k sees: a function of k (and of the model, where it acts), so that resuming needs no order to be kept."""

import hashlib
from collections.abc import Callable

import torch
from torch import nn

from fastweights.tasks import NOTHING, Batch, Task
from fastweights.tasks.pairs import trimmed

Source = Callable[[int, nn.Module], Batch]
Renew = Callable[[Batch, torch.Generator], Batch]


def epochs(
    data: Batch, size: int, seed: int, renew: Renew | None = None, device: str = "cpu", alike: bool = False
) -> Source:
    """A fixed set in batches of `size`, shuffled anew in each epoch; what is left over at the end of one is left out.

    renew: what becomes of the shuffled set for an epoch; it may draw from the generator.
    alike: the sequences of a batch are about as long as each other, and the batches come in an order that is drawn.
    """
    count, generator = len(data.targets) // size, torch.Generator()
    at, shuffled, turns = -1, data, torch.arange(count)

    def source(update: int, model: nn.Module) -> Batch:
        nonlocal at, shuffled, turns
        epoch, place = divmod(update, count)
        if at < 0 or epoch < at:
            generator.manual_seed(seed)
            at = -1
        while at < epoch:  # the draws of earlier epochs come first
            order = torch.randperm(len(data.targets), generator=generator)
            at += 1
            if renew is not None:
                shuffled = renew(data.select(order), generator)
            elif at == epoch:
                shuffled = data.select(order)
            if alike:
                turns = torch.randperm(count, generator=generator)
            if at == epoch:
                shuffled = (by_length(shuffled.select(slice(count * size))) if alike else shuffled).to(device)
        first = int(turns[place]) * size
        found = shuffled.select(slice(first, first + size))
        return trimmed(found) if alike else found

    return source


def by_length(data: Batch) -> Batch:
    """The shortest sources first; of sources as long as each other those with the shortest answers."""
    assert data.lengths is not None
    answers = (data.targets != NOTHING).sum(1)
    return data.select((data.lengths * (data.targets.shape[1] + 1) + answers).argsort(stable=True))


def fresh(task: Task, size: int, seed: int, device: str = "cpu") -> Source:
    """Sequences that are drawn anew, or acted by the model, for every update."""
    return lambda update, model: task.draw(size, generator_of(seed, update), model).to(device)


def generator_of(*numbers: int) -> torch.Generator:
    """A generator of its own for these numbers: their SHA-256 is its seed."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % 2**63)
