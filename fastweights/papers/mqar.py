"""How much recall does a byte of state buy? Multi-query associative recall (`MQAR`): 16 pairs in 64 steps, 128 tokens,
after Arora et al. (2023), https://arxiv.org/abs/2312.04927, and (2024), https://arxiv.org/abs/2402.18668.

A protocol of our own, small enough for a core: no table of the papers is repeated here. Networks are two blocks of one
head (`FastWeightsModel`), which differ in the update rule alone; attention in the place of the rule; and one layer of
`nn.LSTM`; each with 16, 32 and 64 units.

What there is to know of it:

1. The papers have 8,192 tokens, 4 to 64 pairs in 64 to 512 steps, and 64 epochs of 100,000 sequences.
2. With 4 pairs the short convolution and a single write learn it; 16 pairs need the memory.
3. All rows train alike: Adam along a cosine from 3e-3, 1,200 updates of 32 new sequences, gradients clipped at norm 1.
4. Nothing was searched: settings were set by hand, by one seed of `delta-32`; the papers take the best of four rates.
5. Blocks have a short convolution of 4 steps, l2 on keys and queries, an RMSNorm of what is read, and no MLP.
6. Attention has that convolution, and no other sense of place; its state holds every token, and grows.
7. `bytes` are those of all tensors that a stream carries after a sequence, measured; they are those of float32.
8. Three seeds of each: such an interval is too short, and covers the mean in three cases of four.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers.measures import state_bytes
from fastweights.papers.memories import LSTM, against_bytes, cell, network, panel
from fastweights.papers.table.order import apart
from fastweights.papers.table.tables import Titled
from fastweights.tasks import MQAR
from fastweights.training.config import Config

TITLE = "Recall and state (MQAR)"
TASK = MQAR(num_pairs=16, length=64, vocabulary=128)
METRICS = {"mqar": {"accuracy": "accuracy", "bytes": "state_bytes"}}
EPOCHS, UPDATES, BATCH = 12, 1_200, 32
SETTINGS = Config(
    batch_size=BATCH,
    learning_rate=3e-3,
    clip=1.0,
    fresh=True,
    epochs=EPOCHS,
    train_size=BATCH * UPDATES // EPOCHS,
    valid_size=500,
    test_size=2_000,
)
SIZES = (16, 32, 64)
ROWS = ("sum", "retention", "delta", "gated-delta", "Kimi-delta", "attention", LSTM)
NAMES = {f"{row}-{size}": (row, size) for row in ROWS for size in SIZES}
RUNS = [
    replace(cell(name, row, TASK, replace(SETTINGS, hidden_size=size), network(row)), row=name)
    for name, (row, size) in NAMES.items()
]
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 3e-3, 1e-2)}
QUICK = {"sum-32": 6, "delta-32": 6, f"{LSTM}-32": 6}
OWN_LIKE = f"{LSTM}-32"


def measure(model: Any, task: Any) -> dict[str, float]:
    return {"state_bytes": state_bytes(model, task)}


def more(cells: Any, found: Any) -> list[Titled]:
    told = []
    for size in SIZES:
        mine = [cell for cell in cells if cell.setup.config.hidden_size == size]
        told += apart(f"Which rows of {size} units are apart", mine, found, "accuracy")
    return told


def figure(records: list[dict[str, Any]]) -> Any:
    """Test accuracy against the bytes of the state, and validation accuracy with 32 units against updates."""
    from matplotlib.figure import Figure

    from fastweights.plotting import legend_of_all, tidy

    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    memory, curves = drawn.subplots(1, 2)
    against_bytes(memory, records, {name: row for name, (row, _) in NAMES.items()}, "accuracy")
    panel(curves, records, {f"{row}-32": row for row in ROWS})
    tidy(memory, "bytes of the state", "test accuracy", TASK.floors["accuracy"])
    tidy(curves, "updates", "validation accuracy, 32 units", TASK.floors["accuracy"])
    legend_of_all(drawn, (memory, curves))
    return drawn
