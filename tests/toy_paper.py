"""A toy table.

1. It is small.
"""

import os

from fastweights.config import Config
from fastweights.papers.cell import Cell

TITLE = "Toy"
TASK = {"name": "associative-retrieval", "num_pairs": 2, "distinct_values": False}
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
RUNS = [Cell("A-8", "A", "paper", "CONTROL", TINY, 2), Cell("B-8", "B", "control", "GRU", TINY, 1)]
GRID = {"learning_rate": (1e-3, 1e-2)}
QUICK = {"A-8": 1}
OWN_LIKE = "A"


def figure(records):
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, plot_band, tidy
    from fastweights.tasks import make_task

    drawn = Figure()
    axes = drawn.subplots()
    plot_band(axes, records, "valid_loss", "A", STYLES[0])
    tidy(axes, "updates", "loss", make_task(TASK).guess_loss)
    return drawn
