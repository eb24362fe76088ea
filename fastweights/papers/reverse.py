"""Words said backwards, longer ones than were ever trained on: which memory between an encoder and a decoder carries on
where its lengths end.

Sequences of 3 to 16 letters, each one of ten, are reversed. Sequences of 8 to 32 letters test, so that half of these
lengths were never trained on. The networks are those of `g2p`.

What there is to know of it:

1. All rows train alike: 6,000 updates of 64 new sequences each, Adam along a cosine.
2. A sequence is right where every letter of its answer is, and its end; answers are greedy.
3. The learning rates are those of `g2p`. Nothing was chosen by lengths of 17 and more.
4. Equal parameters, about: 116 to 130 thousand.
5. Three seeds: an interval over them is too short.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers import g2p
from fastweights.papers.cell import Cell
from fastweights.papers.table.answers import answered, wrong
from fastweights.papers.table.results import Record
from fastweights.papers.table.tables import Titled, duration, thousands
from fastweights.tasks import Reverse
from fastweights.training.config import Config
from fastweights.training.evaluation import over_seeds
from fastweights.training.setup import Setup

TITLE = "Said backwards, and longer than trained on"
METRICS = {"reverse": {"whole sequences": "sequence_accuracy"}}
LEGEND = "whole sequences right in per cent, means over seeds, by length; trained on 3 to 16"
TASK = Reverse(trained=(3, 16), judged=(17, 24))
LENGTHS = (8, 12, 16, 18, 20, 24, 28, 32)
COUNT = 500  # sequences of each length that test

SETTINGS = Config(
    hidden_size=112, batch_size=64, fresh=True, epochs=10, train_size=64 * 600, valid_size=500, test_size=500,
    learning_rate=4e-3,
)  # fmt: skip
RUNS = [
    replace(
        cell,
        setup=Setup(
            cell.setup.model,
            TASK,
            replace(SETTINGS, hidden_size=cell.setup.config.hidden_size, learning_rate=cell.setup.config.learning_rate),
            cell.setup.network,
        ),
    )
    for cell in g2p.RUNS
    if cell.kind != "beyond"
]
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 2e-3, 4e-3, 8e-3)}
QUICK = {"attention": 2, "delta": 2}
OWN_LIKE = "attention"
own = g2p.own


def measure(model: Any, task: Any) -> dict[str, Any]:
    """The share of whole sequences that are right, by length; the same sequences for every model."""
    import torch

    found = {}
    for length in LENGTHS:
        judged = replace(task, judged=(length, length))
        batch = judged.held_out("test", COUNT, torch.Generator().manual_seed(length))
        found[str(length)] = 1 - wrong(answered(model, judged, batch))
    return found


def tables(cells: list[Cell], found: dict[str, list[Record]]) -> list[Titled]:
    heads = ("memory", *map(str, LENGTHS), "seeds", "CPU", "params")
    rows = []
    for cell in cells:
        records = found[cell.name]
        if not records:
            rows.append((cell.row, *[""] * len(LENGTHS), "0", "", ""))
            continue
        shares = [over_seeds([100 * each["measured"][str(length)] for each in records]).mean for length in LENGTHS]
        cpu = sum(each["processor_seconds"] for each in records) / len(records)
        told = (str(len(records)), duration(cpu), thousands(records[0]["parameters"]))
        rows.append((cell.row, *(f"{share:.0f}" for share in shares), *told))
    return [Titled("", heads, rows)]


def figure(records: list[dict[str, Any]]) -> Any:
    """Whole sequences right against the length, with the range of the seeds; to the right of the line: not trained."""
    from matplotlib.figure import Figure

    from fastweights.plotting import band, style, tidy

    drawn = Figure(figsize=(8, 4.2), layout="constrained")
    axes = drawn.subplots()
    for place, cell in enumerate(RUNS):
        mine = [record["measured"] for record in records if record["cell"] == cell.name]
        if mine:
            values = [[100 * each[str(length)] for each in mine] for length in LENGTHS]
            band(axes, list(LENGTHS), values, cell.name, style(place))
    axes.axvline(TASK.trained[1] + 0.5, color="#666666", linewidth=1)
    tidy(axes, "letters (up to the line: trained on)", "whole sequences right (%)", None)
    if records:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawn
