"""Which memory can turn around what it holds? Parity of 40 digits, trained on all prefixes, judged by the last answer
at 40, 80 and 160 digits, and the word problem of S3, six permutations of three things; after Grazzi et al. (2024),
https://arxiv.org/abs/2411.12537, and Merrill et al. (2024), https://arxiv.org/abs/2404.08819.

A protocol of our own, small enough for a core: no table of the papers is repeated here. Networks are two blocks of 64
units and two heads (`FastWeightsModel`), which differ in the update rule and in its eigenvalues; attention in the place
of the rule; and one layer of `nn.LSTM`. With strengths up to 1 the eigenvalues of a transition lie in [0, 1]; with
strengths up to 2 (`-negative`) they lie in [-1, 1].

What there is to know of it:

1. The papers train on sequences of several lengths, 20,000 updates and more of 256 sequences; here one length.
2. All rows train alike: Adam along a cosine from 3e-3, updates of 32 new sequences, gradients clipped at norm 1.
3. Nothing was searched: the settings were set by hand, by one seed of `delta-negative`.
4. Training asks at every step. The answer after the last step alone is judged: averages hide how it decays with length.
5. Blocks have a short convolution of 4 steps, l2 on keys and queries, an RMSNorm of what is read, and no MLP.
6. `delta-product-negative` has two reflections a token; `Kimi-delta` fades each key channel.
7. `bytes` are those of all tensors that a stream carries after a sequence, measured; they are those of float32.
8. Three seeds of each: such an interval is too short, and covers the mean in three cases of four.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers.measures import accuracy, state_bytes
from fastweights.papers.memories import LSTM, cell, network
from fastweights.papers.table.order import apart
from fastweights.papers.table.results import tested
from fastweights.papers.table.tables import Titled
from fastweights.tasks import Parity, Task, WordProblem
from fastweights.training.config import Config

TITLE = "State tracking"
LENGTHS = {"parity": (40, 80, 160), "word-problem": (20, 40, 80)}
METRICS = {
    task: {
        str(lengths[0]): "accuracy",
        **{str(length): f"{length}_accuracy" for length in lengths[1:]},
        "bytes": "state_bytes",
    }
    for task, lengths in LENGTHS.items()
}
EPOCHS, BATCH = 10, 32
SETTINGS = Config(
    hidden_size=64, batch_size=BATCH, learning_rate=3e-3, clip=1.0, fresh=True, epochs=EPOCHS, valid_size=500,
    test_size=2_000,
)  # fmt: skip
TASKS: list[tuple[Task, int]] = [(Parity(length=40), 500), (WordProblem("S3", length=20), 1_500)]  # and updates
NEGATIVE = "-negative"
ROWS = (
    "GLA", "delta", "delta-negative", "gated-delta", "gated-delta-negative", "Kimi-delta", "Kimi-delta-negative",
    "delta-product-negative", "attention", LSTM,
)  # fmt: skip
OF_TASK = {
    "parity": ROWS,
    "word-problem": ("delta", "delta-negative", "gated-delta-negative", "delta-product-negative", "attention", LSTM),
}


def made(row: str) -> tuple[str, Any]:
    return network(row.removesuffix(NEGATIVE), heads=2, negative_eigenvalues=row.endswith(NEGATIVE))


RUNS = [
    cell(
        f"{task.NAME}-{row}", row, task, replace(SETTINGS, train_size=BATCH * updates // EPOCHS),
        made(row),
    )
    for task, updates in TASKS
    for row in OF_TASK[task.NAME]
]  # fmt: skip
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 3e-3, 1e-2)}
QUICK = {f"parity-{row}": 6 for row in ("delta", "delta-negative", LSTM)}
OWN_LIKE = LSTM


def measure(model: Any, task: Any) -> dict[str, float]:
    longer = LENGTHS[task.NAME][1:]
    told = {f"{length}_accuracy": accuracy(model, task, judged_length=length) for length in longer}
    return {**told, "state_bytes": state_bytes(model, task)}


def more(cells: Any, found: Any) -> list[Titled]:
    told = []
    for task, _ in TASKS:
        mine, longest = [cell for cell in cells if cell.setup.task.NAME == task.NAME], LENGTHS[task.NAME][-1]
        told += apart(f"{task.NAME}: which rows are apart at {longest} steps", mine, found, f"{longest}_accuracy")
    return told


def figure(records: list[dict[str, Any]]) -> Any:
    """The accuracy of the last answer against the length of the sequence."""
    from matplotlib.figure import Figure

    from fastweights.plotting import band, legend_of_all, style, tidy

    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    panels = drawn.subplots(1, 2)
    for axes, (task, _) in zip(panels, TASKS, strict=True):
        lengths, statistics = LENGTHS[task.NAME], list(METRICS[task.NAME].values())[:3]
        for place, row in enumerate(ROWS):
            mine = [record for record in records if record["cell"] == f"{task.NAME}-{row}"]
            if not mine:
                continue
            values = [[tested(record, statistic) for record in mine] for statistic in statistics]
            band(axes, lengths, values, row, style(place))
        tidy(axes, "steps", "test accuracy of the last answer", task.floors["accuracy"])
        axes.set_title(f"{task.NAME}, trained at {lengths[0]} steps", fontsize=10)
        axes.set_xticks(lengths)
    legend_of_all(drawn, panels)
    return drawn
