"""Facial expressions: the protocol of Table 3 of Ba, Hinton, Mnih, Leibo and Ionescu (2016), "Using Fast Weights to
Attend to the Recent Past", https://arxiv.org/abs/1610.06258, on drawn faces, or on a folder of yours.

The paper's photographs (CMU Multi-PIE) are licensed and cannot be shipped. There IRNN reached 81.11% of right answers,
LSTM 81.32%, ConvNet 88.23% and fast weights 86.34%. The rows below are of drawn faces, a stand-in for them. They show
that the protocol runs, and compare with none of these numbers.

A face of 48 x 48 pixels is shown in 24 glimpses of 12 x 12. Six expressions are asked, unbalanced. Who is tested was
never trained on.

`fastweights reproduce ba2016-faces --data-dir DIR` trains the same four networks on the pictures of a folder. It has
one sub-folder an expression. Who is shown stands in a file's name, before the first `_` or `-` (`smile/017_3.png`), or
in `DIR/identities.csv`, in lines `smile/a.png,anna` or `smile/a.png,anna,train`. A person is in one part alone: train,
valid or test. Where it is not said, one of ten people validates and one tests.

What differs from the paper, or is not said there:

1. Drawn faces: 200 people to train on, 20 that validate, 20 that test, 100 pictures each; Multi-PIE has 317 and 20.
2. Whatever `ba2016-mnist` lists of glimpses, networks and settings holds here too, with 200 units in all rows.
3. ConvNet has two layers, as in the paper: the 12 x 12 patches, then all of them.
4. Rows are of accuracy, as the paper's are, of pictures of people who were not trained on.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers import ba2016_mnist
from fastweights.papers.cell import Cell
from fastweights.tasks import Glimpses
from fastweights.training.networks import PatchConv
from fastweights.training.setup import Setup

TITLE = "Facial expressions by glimpses, on drawn faces (the protocol of Ba et al. 2016, Table 3)"
METRICS = {"glimpses": {"accuracy": "accuracy"}}
TASK = Glimpses("drawn-faces", shift=2)
SETTINGS = replace(
    ba2016_mnist.SETTINGS, hidden_size=200, epochs=10, train_size=20_000, valid_size=2_000, test_size=2_000
)
ROWS: dict[str, tuple[str, Any]] = {
    "FW": ("MULTI-LEVEL", ba2016_mnist.NETWORK),
    "IRNN": ("IRNN", None),
    "LSTM": ("LSTM", None),
    "ConvNet": ("PATCH-CONV", PatchConv(joins=(24,))),
}
RUNS = [
    Cell(f"drawn-{row}", row, "paper", Setup(model, TASK, SETTINGS, network)) for row, (model, network) in ROWS.items()
]
GRID: dict[str, tuple[Any, ...]] = {"shift": (0, 2), "head_dropout": (0.0, 0.2)}
QUICK = {"drawn-FW": 4, "drawn-LSTM": 4}
OWN_LIKE = "LSTM"


def in_folder(cell: Cell, folder: str) -> Cell:
    """The cell on the pictures of a folder, under a name that says nothing of drawn faces."""
    placed = cell.with_settings(pictures="folder", data_dir=folder)
    setup = replace(placed.setup, config=placed.setup.config.with_sizes(placed.setup.task))
    return replace(placed, setup=setup, name=cell.name.removeprefix("drawn-"))


def figure(records: list[dict[str, Any]]) -> Any:
    """The error on people who validate against updates."""
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, plot_band, tidy, with_error

    drawn = Figure(figsize=(7, 4), layout="constrained")
    axes = drawn.subplots()
    for style, row in zip(STYLES, ROWS, strict=False):
        mine = [with_error(record) for record in records if record["cell"] == f"drawn-{row}"]
        plot_band(axes, mine, "valid_error", row, style)
    tidy(axes, "updates", "error on unseen people (%)", 100 * (1 - TASK.floors["accuracy"]))
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return drawn
