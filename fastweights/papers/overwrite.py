"""Which memory lets go of what was overwritten? Eight keys are written 24 times in all, and each is asked for its last
value: `OverwrittenKeys`, after Schlag, Irie and Schmidhuber (2021), https://arxiv.org/abs/2102.11174, section 6.1.2.

A protocol of our own, small enough for a core: no table of the paper is repeated here. Networks are one block of 64
units and one head (`FastWeightsModel`), which differ in the update rule alone; attention in the place of the rule; and
one layer of `nn.LSTM`. Rows with a 2 have two blocks. Dashed: what a memory reaches that has all values of a key and
cannot tell the last.

What there is to know of it:

1. The paper asks for one key, with values drawn anew; here each key is asked once, and no value comes twice.
2. All rows train alike: Adam along a cosine from 3e-3, 1,000 updates of 32 new sequences, gradients clipped at norm 1.
3. Nothing was searched: the settings were set by hand, by one seed of `delta`.
4. Blocks have a short convolution of 4 steps, l2 on keys and queries, an RMSNorm of what is read, and no MLP.
5. With two blocks a memory that adds can overwrite: the first reads what a key holds, the second takes that away.
6. The convolution sees the pair before, too, which tells some orders: with two steps of it `sum` has 42.9% (one seed).
7. Attention has the convolution, and no other sense of place.
8. `bytes` are those of all tensors that a stream carries after a sequence, measured; they are those of float32.
9. `48 writes`: the same network on sequences of twice the length, which it was never trained on.
10. Three seeds of each: such an interval is too short, and covers the mean in three cases of four.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers.measures import accuracy, state_bytes
from fastweights.papers.memories import LSTM, cell, network, panel
from fastweights.papers.table.order import apart
from fastweights.papers.table.tables import Titled
from fastweights.tasks import OverwrittenKeys
from fastweights.training.config import Config

TITLE = "Overwritten keys"
TASK = OverwrittenKeys(num_keys=8, writes=24)
LONGER = 48  # writes, which no network was trained on
METRICS = {
    "overwritten-keys": {"accuracy": "accuracy", "48 writes": "48_writes_accuracy", "bytes": "state_bytes"},
}
EPOCHS, UPDATES, BATCH = 20, 1_000, 32
SETTINGS = Config(
    hidden_size=64,
    batch_size=BATCH,
    learning_rate=3e-3,
    clip=1.0,
    fresh=True,
    epochs=EPOCHS,
    train_size=BATCH * UPDATES // EPOCHS,
    valid_size=500,
    test_size=2_000,
)
ONE = ("sum", "retention", "GLA", "delta", "gated-delta", "Kimi-delta", "attention", LSTM)
TWO = ("sum", "delta", "attention")
ROWS = (*ONE, *(f"{row}-2" for row in TWO))
MADE = [*(network(row, layers=1) for row in ONE), *(network(row) for row in TWO)]
RUNS = [cell(row, row, TASK, SETTINGS, made) for row, made in zip(ROWS, MADE, strict=True)]
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 3e-3, 1e-2)}
QUICK = {"sum": 12, "delta": 12, LSTM: 12}
OWN_LIKE = LSTM


def measure(model: Any, task: Any) -> dict[str, float]:
    return {"48_writes_accuracy": accuracy(model, task, judged_writes=LONGER), "state_bytes": state_bytes(model, task)}


def more(cells: Any, found: Any) -> list[Titled]:
    return apart("Which rows are apart", cells, found, "accuracy")


def figure(records: list[dict[str, Any]]) -> Any:
    """Validation accuracy against updates, and test accuracy at twice the writes against the bytes of the state."""
    from matplotlib.figure import Figure

    from fastweights.papers.memories import against_bytes
    from fastweights.plotting import legend_of_all, tidy

    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    curves, memory = drawn.subplots(1, 2)
    panel(curves, records, {row: row for row in ROWS})
    for axes, writes in ((curves, TASK.writes), (memory, LONGER)):
        ceiling = replace(TASK, judged_writes=writes).marks["some value of the key"]
        name = "cannot tell the last" if writes == TASK.writes else None
        axes.axhline(ceiling, color="#666666", linewidth=1, linestyle="--", label=name)
    against_bytes(memory, records, {row: row for row in ROWS}, "48_writes_accuracy")
    tidy(curves, "updates", "validation accuracy", TASK.floors["accuracy"])
    tidy(memory, "bytes of the state", f"test accuracy at {LONGER} writes", TASK.floors["accuracy"])
    legend_of_all(drawn, (curves, memory))
    return drawn
