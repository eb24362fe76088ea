"""What update k sees: a function of k (and of the model, where it acts), so that resuming needs no order to be kept."""

import hashlib
from collections.abc import Callable

import torch
from torch import nn

from fastweights.tasks import Batch, Task

Source = Callable[[int, nn.Module], Batch]
Renew = Callable[[Batch, torch.Generator], Batch]


def epochs(data: Batch, size: int, seed: int, renew: Renew | None = None, device: str = "cpu") -> Source:
    """A fixed set in batches of `size`, shuffled anew in each epoch; what is left over at the end of one is left out.

    renew: what becomes of the shuffled set for an epoch; it may draw from the generator.
    """
    count, generator = len(data.targets) // size, torch.Generator()
    at, shuffled = -1, data

    def source(update: int, model: nn.Module) -> Batch:
        nonlocal at, shuffled
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
            if at == epoch:
                shuffled = shuffled.to(device)
        return shuffled.select(slice(place * size, (place + 1) * size))

    return source


def fresh(task: Task, size: int, seed: int, device: str = "cpu") -> Source:
    """Sequences that are drawn anew, or acted by the model, for every update."""
    return lambda update, model: task.draw(size, generator_of(seed, update), model).to(device)


def generator_of(*numbers: int) -> torch.Generator:
    """A generator of its own for these numbers: their SHA-256 is its seed."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") % 2**63)
