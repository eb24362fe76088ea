"""Where the explicit matrix becomes cheaper than attention: `python benchmarks/crossover.py`.

The reference costs time x hidden^2, attention time^2 x hidden. For each number of hidden units this times both, forward
and backward, at growing numbers of steps, and prints the steps a hidden unit at which they cost the same:
STEPS_PER_UNIT of `fastweights/ops/fast_weights_rnn/__init__.py` quotes it.
"""

import argparse
import math
from statistics import median

from fastweights.bench.contenders import op
from fastweights.bench.gate import Shape
from fastweights.bench.timing import rounds, threads

BACKENDS = ("reference", "attention")


def ratio(shape: Shape, count: int) -> float:
    """Attention's median time over the reference's."""
    samples, stopped = rounds({name: op(name, shape, 0) for name in BACKENDS}, count, 0)
    if stopped:
        raise KeyboardInterrupt
    return median(samples["attention"]) / median(samples["reference"])


def crossover(batch: int, hidden: int, count: int, longest: int) -> float | None:
    """Steps a unit where the ratio passes 1, interpolated between the logarithms; None: not up to `longest` units."""
    before: tuple[float, float] | None = None
    for steps_per_unit in (0.5, 1, 2, 4, 8, 16):
        steps = int(steps_per_unit * hidden)
        if steps > longest:
            break
        now = ratio(Shape(batch, steps, hidden), count)
        print(f"hidden {hidden:>4}, {steps:>5} steps: attention / reference = {now:.2f}", flush=True)
        if now > 1:
            if before is None:
                return steps_per_unit
            at, then = before
            part = -math.log(then) / (math.log(now) - math.log(then))
            return at * (steps_per_unit / at) ** part
        before = (steps_per_unit, now)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--longest", type=int, default=512, help="steps")
    options = parser.parse_args()
    found = {}
    with threads(1):
        for batch in options.batch:
            for hidden in options.hidden:
                found[batch, hidden] = crossover(batch, hidden, options.rounds, options.longest)
    for (batch, hidden), at in found.items():
        said = "not reached" if at is None else f"{at:.1f} steps a unit"
        print(f"batch {batch}, hidden {hidden}: {said}")
    known = [at for at in found.values() if at is not None]
    if known:
        print(f"median: {median(known):.1f} steps a unit")


if __name__ == "__main__":
    main()
