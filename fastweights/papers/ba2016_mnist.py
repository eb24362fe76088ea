"""Integrating glimpses: Table 2 of Ba, Hinton, Mnih, Leibo and Ionescu (2016), "Using Fast Weights to Attend to the
Recent Past", https://arxiv.org/abs/1610.06258.

The test error on MNIST of four networks with 50, 100 and 200 units, which see a digit through 24 glimpses of 7 x 7
pixels (`--data-dir` names its four idx files). Each quadrant in turn is shown at half the resolution, in four quarters,
and at half the resolution again. The network with fast weights stores the coarse glimpse, wipes its hidden vector,
reads the quarters by its slow weights, and recalls what it stored when the coarse glimpse comes again.

What differs from the paper, or is not said there:

1. The repeated coarse glimpse, the wiping and the integration weights are read off Figure 3, which alone gives 24.
2. Quadrants and quarters come row by row; half the resolution is the mean of 2 x 2 pixels; no glimpse tells its place.
3. The recalling step is h = f(LN[V h + C x + A f(C x)]), its layer norm its own; steps that read nothing have one, too.
4. The memory is written after the four coarse glimpses alone and decays then. Decay is 0.9, rate 0.5, as in its 4.1.
5. A glimpse goes through 100 ReLU units before the network, and the last hidden vector through 100 after it.
6. ConvNet: the 7 x 7 patches of both scales, then the six glimpses of a quadrant, then the quadrants; ReLU throughout.
7. IRNN, LSTM and ConvNet have the same 24 glimpses, with no control signal; the LSTM's forget bias is 1.
8. All rows have the same 12 epochs in batches of 128, Adam from 2e-3 along a cosine to zero, and regularisation.
9. Pictures to train on are moved by up to one pixel each way, anew in each epoch; there is no dropout.
10. Both were chosen by the sum of the losses of FW-100 and LSTM-100 on 5,000 pictures held out, after four epochs.
11. The learning rate was not searched, but for two short runs of FW-100 (`docs/log.md`).
12. All 60,000 pictures train. Curves are of test pictures, as in the paper's Figure 2, and nothing is chosen by them.

The control FW-unread has rate 0: it is wiped as FW is and recalls nothing, so that it sees no quadrant but the last.

Fast weights come below the paper's errors at each size, and so does the LSTM: with the same regularisation it is level,
at twice the parameters. The paper's lead of fast weights over it is not there.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers.cell import Cell
from fastweights.rules import Hebbian
from fastweights.tasks import Glimpses
from fastweights.training.config import Config
from fastweights.training.networks import MultiLevel
from fastweights.training.setup import Setup

TITLE = "Glimpses of MNIST (Ba et al. 2016, Table 2)"
TASK = Glimpses(shift=1, validation="test")
REPORTED: dict[str, Any] = {
    "error": {  # per cent of the test pictures
        "IRNN-50": 12.95, "IRNN-100": 1.95, "IRNN-200": 1.42,
        "LSTM-50": 12.0, "LSTM-100": 1.55, "LSTM-200": 1.10,
        "ConvNet-50": 1.81, "ConvNet-100": 1.00, "ConvNet-200": 0.9,
        "FW-50": 7.21, "FW-100": 1.30, "FW-200": 0.85,
    },
}  # fmt: skip

SETTINGS = Config(
    embedding_sizes=(100,),
    embedding_relu=True,
    head_sizes=(100,),
    learning_rate=2e-3,
    epochs=12,
    train_size=60_000,
    valid_size=10_000,
    test_size=10_000,
)
NETWORK = MultiLevel(Hebbian(decay=0.9, rate=0.5))
ROWS: list[tuple[str, str, str, MultiLevel | None, tuple[int, ...]]] = [
    ("FW", "paper", "MULTI-LEVEL", NETWORK, (50, 100, 200)),
    ("IRNN", "paper", "IRNN", None, (50, 100, 200)),
    ("LSTM", "paper", "LSTM", None, (50, 100, 200)),
    ("ConvNet", "paper", "PATCH-CONV", None, (50, 100, 200)),
    ("FW-unread", "control", "MULTI-LEVEL", replace(NETWORK, rule=Hebbian(decay=0.9, rate=0.0)), (100,)),
]
SEARCH = {"epochs": 4, "validation": "held-out", "train_size": 55_000, "valid_size": 5_000}
RUNS = [
    Cell(f"{row}-{size}", row, kind, Setup(model, TASK, replace(SETTINGS, hidden_size=size), network), search=SEARCH)
    for row, kind, model, network, sizes in ROWS
    for size in sizes
]
GRID: dict[str, tuple[Any, ...]] = {"shift": (0, 1), "head_dropout": (0.0, 0.2)}
QUICK = {"FW-50": 8, "LSTM-50": 8, "ConvNet-50": 8, "FW-100": 8}
OWN_LIKE = "LSTM"


def figure(records: list[dict[str, Any]]) -> Any:
    """The error of test pictures against updates, a panel for each size."""
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, legend_of_all, plot_band, tidy, with_error

    drawn = Figure(figsize=(11, 4), layout="constrained")
    panels = drawn.subplots(1, 3, sharey=True)
    rows = [row for row, *_ in ROWS]
    for axes, size in zip(panels, (50, 100, 200), strict=True):
        for style, row in zip(STYLES, rows, strict=False):
            mine = [with_error(record) for record in records if record["cell"] == f"{row}-{size}"]
            plot_band(axes, mine, "valid_error", row, style)
            if (reported := REPORTED["error"].get(f"{row}-{size}")) is not None:
                axes.axhline(reported, color=style[0], linewidth=0.8, alpha=0.5)
        tidy(axes, "updates", "test error (%)" if size == 50 else "", None)
        axes.set_title(f"{size} units (thin: the paper's error)", fontsize=10)
        axes.set_yscale("log")
    legend_of_all(drawn, panels)
    return drawn
