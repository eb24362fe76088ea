"""What glimpses cost: `python benchmarks/glimpses.py`, one thread, processor time.

Pictures of noise, 28 x 28, a second: cut into glimpses, and moved and cut anew. Then an update of each network of the
paper's Table 2, with Adam, beside that of the LSTM; rounds are interleaved in one process. A ratio is the median of
those within a round, with the 20% and 80% quantiles; an epoch is of 60,000 pictures.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from fastweights.papers import paper
from fastweights.tasks import Batch, Glimpses
from fastweights.training.loop import Loop

ROUNDS, PICTURES = 15, 8192


def seconds(do: Callable[[], object]) -> float:
    begin = time.process_time_ns()
    do()
    return (time.process_time_ns() - begin) / 1e9


def cutting() -> None:
    task = Glimpses()
    images = torch.rand(PICTURES, 28, 28)
    batch = Batch(task.look(images), torch.zeros(PICTURES, dtype=torch.int64))
    moved, generator = replace(task, shift=1), torch.Generator().manual_seed(0)
    for name, do in (("cut", lambda: task.look(images)), ("moved and cut", lambda: moved.renew(batch, generator))):
        taken = sorted(seconds(do) for _ in range(ROUNDS))[ROUNDS // 2]
        print(f"{name:16}{PICTURES / taken:10,.0f} pictures a second", flush=True)


def updates(size: int) -> None:
    module = paper("ba2016-mnist")
    cells = [cell for cell in module.RUNS if cell.kind == "paper" and cell.setup.config.hidden_size == size]
    cells.sort(key=lambda cell: cell.row != "LSTM")
    batch = Batch(torch.randn(module.SETTINGS.batch_size, 24, 49), torch.randint(10, (module.SETTINGS.batch_size,)))
    loops = {c.row: Loop(c.setup.build(), c.setup.task, lambda k, model: batch, c.setup.config, 10**9) for c in cells}
    rows = []
    for place in range(-2, ROUNDS):
        row = {name: seconds(loops[name].update) for name in list(loops)[:: 1 if place % 2 else -1]}
        if place >= 0:
            rows.append([row[name] for name in loops])
    times = torch.tensor(rows, dtype=torch.float64)
    count = module.SETTINGS.train_size // module.SETTINGS.batch_size
    print(f"an update, {size} units")
    for name, mine in zip(loops, times.T, strict=True):
        low, ratio, high = torch.quantile(mine / times[:, 0], torch.tensor([0.2, 0.5, 0.8]).double()).tolist()
        median = mine.median().item()
        costs = f"{1e3 * median:8.1f} ms{count * median:8.1f} s an epoch"
        print(f"    {name:10}{costs}   {ratio:.2f} [{low:.2f} {high:.2f}]", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cutting()
    for size in (50, 100, 200):
        updates(size)
