"""A swap in a small model: a character model of nn.LSTM, and of FastWeightsRNN with and without its memory.

python examples/swap.py
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights import FastWeightsRNN
from fastweights.tasks import NextCharacter

TASK = NextCharacter(length=100)  # of Python's standard library
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "nn.LSTM": nn.LSTM,
    "FastWeightsRNN": FastWeightsRNN,
    "without its memory": partial(FastWeightsRNN, inner_steps=0),
}


class Reader(nn.Module):
    """Reads characters, and says after each which may come next."""

    def __init__(self, network: Callable[..., Any], hidden_size: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TASK.spec.inputs, 48)
        self.recurrent = network(48, hidden_size, batch_first=True)  # the line that differs
        self.head = nn.Linear(hidden_size, TASK.spec.outputs)

    def forward(self, symbols: Tensor) -> Tensor:
        output, _ = self.recurrent(self.embedding(symbols))
        return self.head(output)


def nats(model: nn.Module, symbols: Tensor, following: Tensor) -> Tensor:
    return functional.cross_entropy(model(symbols).flatten(0, 1), following.flatten())


def train(model: nn.Module, updates: int) -> float:
    """Nats a character, on text of files that the model never saw."""
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(updates):
        symbols, following, _ = TASK.draw(16, draw)
        loss = nats(model, symbols, following)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    symbols, following, _ = TASK.held_out("test", 200, draw)
    with torch.no_grad():
        return float(nats(model, symbols, following))


def main(updates: int = 500) -> dict[str, float]:
    torch.set_num_threads(1)  # the products are small
    found = {"guess floor": TASK.floors["loss"]}
    for name, network in NETWORKS.items():
        torch.manual_seed(0)
        found[name] = train(Reader(network), updates)
    return found


if __name__ == "__main__":
    for name, loss in main().items():
        print(f"{name:<20}{loss:6.3f} nats")
