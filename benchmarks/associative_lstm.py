"""A training step with the associative LSTM of Table 1, by its kernels and by operations of torch.

`python benchmarks/associative_lstm.py`: batch 128, 11 steps, one thread, rounds interleaved; quantiles 20, 50, 80%.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from fastweights.bench.timing import rounds, spread
from fastweights.ops.cpu import limits
from fastweights.optim import FlatAdamW
from fastweights.papers.ba2016_retrieval import SETTINGS, TASK
from fastweights.tasks import answers
from fastweights.training.loop import training_step
from fastweights.training.setup import Setup

TAKES = limits.takes


def step(hidden: int, kernels: bool) -> Callable[[], object]:
    torch.manual_seed(0)
    model = Setup("A-LSTM", TASK, replace(SETTINGS, hidden_size=hidden)).build()
    optimizer, batch = FlatAdamW(model.parameters(), lr=0.0, clip=5.0), TASK.draw(128, torch.Generator())

    def work() -> object:
        limits.takes = TAKES if kernels else lambda *_: False
        return training_step(answers, model, batch, optimizer)

    return work


def main() -> None:
    torch.set_num_threads(1)
    print("ms a training step | kernels | operations of torch | times faster")
    for hidden in (20, 50, 100):
        found, _ = rounds({str(kernels): step(hidden, kernels) for kernels in (True, False)}, 25, 0)
        (_, fast, _), (_, slow, _) = spread(found["True"]), spread(found["False"])
        told = [" ".join(f"{1e3 * t:.1f}" for t in spread(found[name])) for name in ("True", "False")]
        print(f"hidden {hidden:3} | {' | '.join(told)} | {slow / fast:.1f}")


if __name__ == "__main__":
    main()
