"""The arithmetic of one training step of RNN-LN-FW, and what this machine would take for it: `docs/performance.md`.

`python benchmarks/floor.py --batch 128 --steps 9 --hidden 50`
"""

import argparse

import torch

from fastweights.bench.contenders import matrix_products
from fastweights.bench.gate import Shape
from fastweights.bench.timing import rounds, spread, threads
from fastweights.tasks import AssociativeRetrieval


def operations(batch: int, steps: int, hidden: int, inner_steps: int = 1) -> dict[str, float]:
    """Multiplications and additions of forward and backward."""
    symbols, classes = len(AssociativeRetrieval.SYMBOLS), len(AssociativeRetrieval.CLASSES)
    parameters = symbols * hidden + hidden**2 + 2 * hidden + hidden * classes + classes
    pairs = steps * (steps - 1) / 2  # of a step and one before it
    return {
        "slow recurrence   3 x 2 B T H^2": 3 * 2 * batch * steps * hidden**2,
        "fast weights      3 x 4 S B H T (T-1) / 2": 3 * 4 * inner_steps * batch * hidden * pairs,
        "layer norm, ReLU  30 (S+1) / 2 B T H": 15 * (inner_steps + 1) * batch * steps * hidden,
        "projection        2 x 2 N^2 H": 2 * 2 * symbols**2 * hidden,
        "lookup's gradient B T H": batch * steps * hidden,
        "read-out          3 x 2 B H C": 3 * 2 * batch * hidden * classes,
        "clipping, Adam    16 P": 16 * parameters,
    }


def bytes_moved(batch: int, steps: int, hidden: int) -> float:
    """inputs read, outputs written; outputs and their gradient read, the inputs' gradient written and gathered."""
    return 6 * 4 * batch * steps * hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, value in (("batch", 128), ("steps", 9), ("hidden", 50), ("rounds", 50)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    batch, steps, hidden = options.batch, options.steps, options.hidden
    large = torch.randn(512, 512)
    out = torch.empty_like(large)
    own = Shape(batch, steps, hidden)
    with threads(1):
        work = {"own": matrix_products(own), "large": lambda: torch.mm(large, large, out=out)}
        samples, _ = rounds(work, options.rounds, 0)
    own_seconds, large_seconds = (spread(samples[name])[1] for name in ("own", "large"))
    rate, best = 6 * batch * steps * hidden**2 / own_seconds, 2 * 512**3 / large_seconds
    counts = operations(batch, steps, hidden)
    print(f"batch B = {batch}, steps T = {steps}, hidden H = {hidden}, inner steps S = 1")
    for name, count in counts.items():
        print(f"{name:<46}{count / 1e6:8.2f} million operations")
    total = sum(counts.values())
    print(f"{'all':<46}{total / 1e6:8.2f} million operations")
    print(f"{'the op moves 6 x 4 B T H':<46}{bytes_moved(batch, steps, hidden) / 1e6:8.2f} million bytes")
    print(f"{3 * steps} products [{batch}, {hidden}] x [{hidden}, {hidden}]: {1e3 * own_seconds:.3f} ms, "
          f"{rate / 1e9:.0f} Gflop/s; 512 x 512 x 512: {best / 1e9:.0f} Gflop/s")  # fmt: skip
    print(f"all of it at these rates: {1e3 * total / rate:.2f} and {1e3 * total / best:.2f} ms")


if __name__ == "__main__":
    main()
