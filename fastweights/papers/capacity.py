"""How many pairs does a memory hold? `MQAR` with 8, 16 and 32 pairs, and feature maps that make more of a key of 16
numbers, after Schlag, Irie and Schmidhuber (2021), https://arxiv.org/abs/2102.11174, section 6.1.1.

A protocol of our own, small enough for a core: no table of the paper is repeated here. Networks are two blocks of 32
units and two heads (`FastWeightsModel`), which differ in the rule and in what keys and queries go through. `l2` leaves
16 features a head, `dpfp` makes 32 of them, and `dpfp-3` 96, before they are brought to unit length.

What there is to know of it:

1. The paper trains on as many keys as symbols, asks once, and has one layer; here each key is asked, by two blocks.
2. A sequence has four steps a pair, so that 8, 16 and 32 pairs have 32, 64 and 128 steps; there are 128 tokens.
3. All rows train alike: Adam along a cosine from 3e-3, 1,200 updates of 32 new sequences, gradients clipped at norm 1.
4. Nothing was searched: the settings are those of `mqar`.
5. Blocks have a short convolution of 4 steps, an RMSNorm of what is read, and no MLP.
6. `bytes` are those of all tensors that a stream carries after a sequence, measured; they are those of float32.
7. Three seeds of each: such an interval is too short, and covers the mean in three cases of four.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers.memories import LSTM, cell, network
from fastweights.papers.mqar import SETTINGS
from fastweights.papers.mqar import measure as measure
from fastweights.papers.table.order import apart
from fastweights.papers.table.results import tested
from fastweights.papers.table.tables import Titled
from fastweights.tasks import MQAR

TITLE = "Capacity"
METRICS = {"mqar": {"accuracy": "accuracy", "bytes": "state_bytes"}}
PAIRS = (8, 16, 32)
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sum-l2": ("sum", ("l2",)),
    "sum-dpfp": ("sum", ("dpfp", "l2")),
    "sum-dpfp-3": ("sum", ("dpfp-3", "l2")),
    "delta-l2": ("delta", ("l2",)),
    "delta-dpfp": ("delta", ("dpfp", "l2")),
    LSTM: (LSTM, ()),
}
RUNS = [
    cell(
        f"{pairs}-{row}",
        row,
        MQAR(num_pairs=pairs, length=4 * pairs, vocabulary=128),
        replace(SETTINGS, hidden_size=32),
        network(rule, heads=2, features=features),
    )
    for pairs in PAIRS
    for row, (rule, features) in ROWS.items()
]
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 3e-3, 1e-2)}
QUICK = {f"8-{row}": 6 for row in ("sum-l2", "delta-l2", LSTM)}
OWN_LIKE = LSTM


def more(cells: Any, found: Any) -> list[Titled]:
    told = []
    for pairs in PAIRS:
        mine = [cell for cell in cells if cell.setup.task.num_pairs == pairs]
        told += apart(f"Which rows are apart with {pairs} pairs", mine, found, "accuracy")
    return told


def figure(records: list[dict[str, Any]]) -> Any:
    """Test accuracy against the number of pairs."""
    from matplotlib.figure import Figure

    from fastweights.plotting import band, legend_of_all, style, tidy

    drawn = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = drawn.subplots()
    for place, row in enumerate(ROWS):
        by_pairs = {n: [tested(r, "accuracy") for r in records if r["cell"] == f"{n}-{row}"] for n in PAIRS}
        known = {pairs: values for pairs, values in by_pairs.items() if values}
        if known:
            band(axes, list(known), list(known.values()), row, style(place))
    axes.plot(PAIRS, [1 / pairs for pairs in PAIRS], color="#666666", linewidth=1, linestyle=":", label="guess floor")
    tidy(axes, "pairs in a sequence", "test accuracy", None)
    axes.set_xticks(PAIRS)
    legend_of_all(drawn, (axes,))
    return drawn
