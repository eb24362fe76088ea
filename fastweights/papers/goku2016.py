"""The curves of https://github.com/GokuMohandas/fast-weights, the best-known implementation of Ba et al. (2016), with
its mistakes removed: four networks of 50 units on sequences such as `g5o8k1??g` (3 pairs), 64,000 to train on.

What was wrong there, so that its published curves are not those of the networks they name:

- The layer norm of the published curves took mean and variance over the batch, at evaluation too (its issue 9).
- The later repair sums over the right axis without keeping it: RNN-LN-FW cannot run with more than one sequence.
- GRU-LN computes its update gate from the reset gate (`r = ln(r); u = ln(r)`): its own weights are never used.
- The boundary of the inner loop is W applied to the preliminary vector, not to h(t).
- That vector, not the settled one, is written into the fast weights, before they are read.
- RNN-LN normalises after the ReLU, RNN-LN-FW before it.
- The curves that are labelled test are those of the validation set: there is no test set.

What differs here:

1. The networks are those of the paper; RNN-LN is normalised before the ReLU, and all gates of GRU-LN are their own.
2. C x starts with the same distribution: C is uniform in +-1/sqrt(50), and one-hot symbols are scaled by 1.64.
3. The symbols stay scaled while training goes on, so that Adam moves C x 1.64 times as fast.
4. Other weights start as this library starts them: biases at zero, the softmax uniform in +-1/sqrt(fan out).
5. Sequences are shuffled every epoch (there: never), and there are 10 classes, the digits (there: 37 symbols).
6. Ours train for 200 epochs at its learning rate; its end points are read off its figure at the 1,000th.
7. Our error is that of 32,000 test sequences; its numbers are on its validation sequences.
8. Every seed draws its own sequences.

What is kept: 3 pairs, decay 0.95, rate 0.5, one inner step, no embedding, no layer before the softmax, Adam at 1e-4,
batch 128, gradients clipped at norm 5.
"""

import math
from dataclasses import replace
from typing import Any

from fastweights.papers.cell import Cell
from fastweights.rules import Hebbian
from fastweights.tasks import AssociativeRetrieval
from fastweights.training.config import Config
from fastweights.training.networks import FastWeights
from fastweights.training.setup import Setup

TITLE = "The published curves of GokuMohandas/fast-weights (2016), done right"
TASK = AssociativeRetrieval(num_pairs=3)

REPORTED: dict[str, Any] = {"error": {"RNN-LN-FW": 0.0, "GRU-LN": 7.0, "RNN-LN": 10.0, "CONTROL": 52.0}}

SETTINGS = Config(
    hidden_size=50,
    input_scale=round(math.sqrt(2 / 37) * math.sqrt(50), 4),
    learning_rate=1e-4,
    schedule="constant",
    epochs=200,
    train_size=64_000,
    valid_size=32_000,
    test_size=32_000,
)
NETWORK = FastWeights(Hebbian(decay=0.95, rate=0.5))
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3)}
RUNS = [
    Cell(model, model, "paper", Setup(model, TASK, SETTINGS, NETWORK if model == "RNN-LN-FW" else None), seeds)
    for model, seeds in (("RNN-LN-FW", 3), ("GRU-LN", 1), ("RNN-LN", 3), ("CONTROL", 3))
]
RUNS += [
    replace(cell, name=f"{cell.name}-fast", kind="beyond").with_settings(
        learning_rate=3e-3, epochs=40, schedule="cosine"
    )
    for cell in RUNS
]
QUICK = {"RNN-LN-FW-fast": 12, "GRU-LN-fast": 4, "RNN-LN-fast": 12, "CONTROL-fast": 12}
OWN_LIKE = "GRU-LN"


def figure(records: list[dict[str, Any]]) -> Any:
    """Accuracy and loss against epochs; the stars are the four published end points, at its 1,000th epoch."""
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, plot_band, tidy

    drawn = Figure(figsize=(11, 4), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for place, (name, error) in enumerate(REPORTED["error"].items()):
        mine, style = [r for r in records if r["cell"] == name], STYLES[place]
        epoch = SETTINGS.train_size // SETTINGS.batch_size
        plot_band(left, mine, "valid_accuracy", name, style, per_x=epoch)
        plot_band(right, mine, "valid_loss", name, style, per_x=epoch)
        left.plot([1000], [1 - error / 100], marker="*", markersize=11, color=style[0], clip_on=False, linestyle="")
    tidy(left, "epochs (stars: published, at epoch 1,000)", "validation accuracy", TASK.floors["accuracy"])
    tidy(right, "epochs", "validation loss (nats)", TASK.floors["loss"])
    left.set_xscale("log")
    right.set_xscale("log")
    right.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawn
