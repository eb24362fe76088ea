"""A toy table.

1. It is small.
"""

import os

from fastweights.papers.cell import Cell
from fastweights.tasks import AssociativeRetrieval
from fastweights.training.config import Config
from fastweights.training.setup import Setup

TITLE = "Toy"
TASK = AssociativeRetrieval(num_pairs=2)
REPORTED = {"error": {"A-8": 1.5}}
TINY = Config(
    hidden_size=8,
    epochs=int(os.environ.get("TOY_EPOCHS", 3)),
    train_size=256,
    valid_size=64,
    test_size=64,
    batch_size=64,
    schedule="cosine",
)
RUNS = [
    Cell("A-8", "A", "paper", Setup("CONTROL", TASK, TINY), 2),
    Cell("B-8", "B", "control", Setup("GRU", TASK, TINY), 1),
]
GRID = {"learning_rate": (1e-3, 1e-2)}
QUICK = {"A-8": 1}
OWN_LIKE = "A"


def figure(records):
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, plot_band, tidy

    drawn = Figure()
    axes = drawn.subplots()
    plot_band(axes, records, "valid_loss", "A", STYLES[0])
    tidy(axes, "updates", "loss", TASK.floors["loss"])
    return drawn
