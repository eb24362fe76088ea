"""The path that users write, beside nn.LSTM and nn.GRU: `python benchmarks/users_path.py [train] [long] [stream]`.

`nn.Embedding`, the network, `nn.Linear`, a loss, `backward` and torch's AdamW, the state left unread; one thread,
processor time. Rounds are interleaved in one process. A ratio is the median of those within a round, with the 20% and
80% quantiles.
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fastweights import FastWeightsRNN
from fastweights.rules import Delta, Hebbian

SYMBOLS = 37


class Model(nn.Module):
    def __init__(self, network: nn.Module, features: int, units: int, every: bool) -> None:
        super().__init__()
        self.embedding, self.network, self.head = nn.Embedding(SYMBOLS, features), network, nn.Linear(units, SYMBOLS)
        self.every = every

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.network(self.embedding(symbols))
        return self.head(outputs if self.every else outputs[:, -1])


def training(network: nn.Module, batch: int, steps: int, every: bool, **options: Any) -> Callable[[], object]:
    model = Model(network, network.input_size, network.hidden_size, every)
    symbols = torch.randint(SYMBOLS, (batch, steps))
    targets = torch.randint(SYMBOLS, (batch, steps) if every else (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, **options)

    def run() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(symbols).flatten(0, -2), targets.flatten()).backward()
        optimizer.step()

    return run


def streaming(network: Any, tokens: int) -> Callable[[], object]:
    xs = torch.randn(tokens, 1, 1, network.input_size)

    @torch.no_grad()
    def run() -> None:
        state = None
        for x in xs:
            _, state = network(x, state)

    return run


def compare(title: str, functions: dict[str, Callable[[], object]], rounds: int, parts: int = 1) -> None:
    """Processor time of each function, and its ratio to that of the first."""
    table = []
    for place in range(-3, rounds):
        row = {}
        for name in list(functions)[:: 1 if place % 2 else -1]:
            functions[name]()  # untimed: caches and allocator are those of its predecessor
            begin = time.process_time_ns()
            functions[name]()
            row[name] = (time.process_time_ns() - begin) / 1e3 / parts
        if place >= 0:
            table.append([row[name] for name in functions])
    times = torch.tensor(table, dtype=torch.float64)
    print(title)
    for name, mine in zip(functions, times.T, strict=True):
        low, ratio, high = torch.quantile(mine / times[:, 0], torch.tensor([0.2, 0.5, 0.8]).double()).tolist()
        print(f"    {name:24} {mine.median():10.1f} us   {ratio:.2f} [{low:.2f} {high:.2f}]", flush=True)


def train() -> None:
    for steps, units in ((9, 50), (11, 100)):
        for optimizer in ({}, {"foreach": True}):
            networks = {
                "nn.LSTM": nn.LSTM(units, units, batch_first=True),
                "FastWeightsRNN": FastWeightsRNN(units, units, batch_first=True),
                "rule=Hebbian()": FastWeightsRNN(units, units, batch_first=True, rule=Hebbian()),
                "rule=Delta()": FastWeightsRNN(units, units, batch_first=True, rule=Delta()),
                "inner_steps=0": FastWeightsRNN(units, units, batch_first=True, inner_steps=0),
            }
            functions = {name: training(each, 128, steps, False, **optimizer) for name, each in networks.items()}
            compare(f"a training step, 128 x {steps} x {units}, AdamW {optimizer or 'by default'}", functions, 200)


def long() -> None:
    for batch, layers in ((16, 1), (32, 2)):
        networks = {
            "nn.GRU": nn.GRU(64, 64, layers, batch_first=True),
            "FastWeightsRNN": FastWeightsRNN(64, 64, layers, batch_first=True),
            "rule=Hebbian(rate=.002)": FastWeightsRNN(64, 64, layers, batch_first=True, rule=Hebbian(rate=0.002)),
            "inner_steps=0": FastWeightsRNN(64, 64, layers, batch_first=True, inner_steps=0),
        }
        functions = {name: training(each, batch, 200, True) for name, each in networks.items()}
        compare(f"a training step, {batch} x 200 x 64, layers {layers}, an answer a step", functions, 21)


def stream() -> None:
    for layers in (1, 2, 4):
        networks = {"nn.GRU": nn.GRU(64, 64, layers), "FastWeightsRNN": FastWeightsRNN(64, 64, layers)}
        compare(
            f"a streamed token, 64 units, layers {layers}",
            {name: streaming(each.eval(), 100) for name, each in networks.items()},
            41,
            100,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", "FastWeightsRNN: The read drowns")
    parts = (train, long, stream)
    for part in parts:
        if part.__name__ in (sys.argv[1:] or [each.__name__ for each in parts]):
            part()
