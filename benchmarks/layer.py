"""What lies around the scan in a layer: `python benchmarks/layer.py [rounds]`.

Forward and backward of `FastWeightsLayer` with `GatedDelta`, of its scan alone, of its matrix products alone and of
`nn.LSTM` of that width: one thread, float32, processor time. Rounds are interleaved in one process. A ratio is the
median of those within a round, with the 20% and 80% quantiles.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from fastweights.bench.scan import Shape, draw
from fastweights.bench.timing import rounds, spread, threads
from fastweights.nn import FastWeightsLayer
from fastweights.ops import fast_weights_scan
from fastweights.rules import GatedDelta

SHAPES = [Shape(2, 4, 512, 64), Shape(8, 4, 128, 32), Shape(1, 8, 2048, 64)]
SCAN = "its scan"


def contenders(shape: Shape) -> dict[str, Callable[[], object]]:
    batch, heads, tokens, size = shape
    width, rule = heads * size, GatedDelta()
    layer, lstm = FastWeightsLayer(width, heads, rule), nn.LSTM(width, width, batch_first=True)
    (q, k, v), gates = draw(rule, shape, 0, torch.float32)
    x, weigh = torch.randn(batch, tokens, width, requires_grad=True), torch.randn(batch, tokens, width)
    weights = [nn.Linear(width, layer.channels + 2 * heads, bias=False), nn.Linear(width, width, bias=False)]
    wide = torch.randn(batch, tokens, layer.channels + 2 * heads)

    def products() -> object:
        """In and out, each with both of its gradients."""
        first = torch.autograd.grad(weights[0](x), [x, weights[0].weight], wide)
        return first, torch.autograd.grad(weights[1](x), [x, weights[1].weight], weigh)

    return {
        "layer": lambda: torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], weigh),
        SCAN: lambda: torch.autograd.grad(
            fast_weights_scan(q, k, v, gates, rule=rule)[0], [q, k, v, *gates.values()], weigh.view(q.shape)
        ),
        "its matrix products": products,
        "nn.LSTM": lambda: torch.autograd.grad(lstm(x)[0], [x, *lstm.parameters()], weigh),
    }


def main(count: int = 25) -> None:
    with threads(1):
        for shape in SHAPES:
            torch.manual_seed(0)
            samples, _ = rounds(contenders(shape), count, seed=0, clock=time.process_time)
            print(shape)
            for name, taken in samples.items():
                ratios = [a / b for a, b in zip(taken, samples[SCAN], strict=False)]
                low, middle, high = spread(ratios)
                print(f"  {name}: {1e3 * spread(taken)[1]:.2f} ms, {middle:.2f} [{low:.2f} {high:.2f}] of the scan")


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
