"""What happens where somebody puts `FastWeightsRNN` in the place of `nn.GRU` or `nn.LSTM`: six small tasks, one layer
of 64 units, and everything else as each module has it by default.

- next-character: the next character of Python's standard library, 100 steps.
- tagging: what each character of that text is part of, 100 steps.
- image-rows: which digit of MNIST a picture shows, read row by row, 28 steps (`--data-dir` names its files).
- adding: the sum of the two marked numbers among 200.
- associative-retrieval: which value followed this key, 3 pairs, 9 steps.
- copying: 10 symbols again, in their order, after 20 steps.

The networks are `FastWeightsRNN` by default (`fast-weights`: the rule `Cosine`, its rate learned), with the rules
`Hebbian` (the paper's, 0.95 and 0.5) and `Delta`, and without a memory (`inner_steps=0`); `nn.GRU` and `nn.LSTM`.

What there is to know of it:

1. All networks of a task train alike: Adam along a cosine, gradients clipped at norm 1, new sequences each update.
2. The learning rate of a task was set by hand, by one seed of nn.GRU or of `fast-weights`; none was searched.
3. Equal units, not equal parameters: nn.GRU and nn.LSTM have three and four times the weights.
4. Characters go through a 48-d table of unit variance, as `nn.Embedding` has it; other symbols are one-hot.
5. What a network reads is scaled so that C x has unit variance in a fast-weights network; the answer is a linear layer.
6. No run goes to convergence: most take less than a minute of one core, and adding up to three.
7. Files of the text, and pictures, that test are never trained on; the text is that of the Python that runs.
8. Three seeds of each: such an interval is too short, and covers the mean in three cases of four.
"""

from dataclasses import replace
from typing import Any

from fastweights.papers.cell import Cell
from fastweights.rules import Delta, Hebbian
from fastweights.tasks import Adding, AssociativeRetrieval, Copying, ImageRows, NextCharacter, Tagging, Task
from fastweights.training.config import Config
from fastweights.training.networks import FastWeights
from fastweights.training.setup import Setup

TITLE = "Swapping nn.GRU or nn.LSTM for FastWeightsRNN"
METRICS = {  # of each task {head of a column: statistic}; the first is also in the table of all tasks
    "next-character": {"nats": "loss", "accuracy": "accuracy"},
    "tagging": {"accuracy": "accuracy"},
    "image-rows": {"accuracy": "accuracy"},
    "adding": {"squared error": "loss"},
    "associative-retrieval": {"accuracy": "accuracy"},
    "copying": {"accuracy": "accuracy"},
}

EPOCHS = 10  # of so many updates that a curve has ten points
BASE = Config(
    hidden_size=64, clip=1.0, fresh=True, epochs=EPOCHS, valid_size=1_000, test_size=10_000, schedule="cosine"
)
TEXT = replace(BASE, embedding_sizes=(48,), linear_embeddings=True, input_scale=12.0, valid_size=200, test_size=2_000)
TASKS: list[tuple[Task, Config, int, int, float]] = [  # settings, sequences an update, updates, learning rate
    (NextCharacter(length=100), TEXT, 16, 3_000, 4e-3),
    (Tagging(length=100), TEXT, 16, 3_000, 4e-3),
    (ImageRows(), BASE, 64, 5_000, 4e-3),
    (Adding(length=200), BASE, 32, 2_000, 8e-3),
    (AssociativeRetrieval(num_pairs=3), BASE, 128, 8_000, 8e-3),
    (Copying(length=10, delay=20), BASE, 32, 5_000, 8e-3),
]
NETWORKS: dict[str, tuple[str, FastWeights | None]] = {
    "fast-weights": ("RNN-LN-FW", None),
    "Hebbian": ("RNN-LN-FW", FastWeights(Hebbian())),
    "Delta": ("RNN-LN-FW", FastWeights(Delta())),
    "no-memory": ("RNN-LN-FW", FastWeights(learned=(), inner_steps=0)),
    "nn.GRU": ("GRU", None),
    "nn.LSTM": ("nn.LSTM", None),
}
RUNS = [
    Cell(
        f"{task.NAME}-{row}", row, "control" if row == "no-memory" else "paper",
        Setup(
            model, task,
            replace(settings, batch_size=size, train_size=size * updates // EPOCHS, learning_rate=rate), network,
        ),
    )
    for task, settings, size, updates, rate in TASKS
    for row, (model, network) in NETWORKS.items()
]  # fmt: skip
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 2e-3, 4e-3, 8e-3)}
SHORT = {"next-character": 2, "tagging": 2, "image-rows": 2, "adding": 3, "associative-retrieval": 8, "copying": 3}
QUICK = {f"{task}-{row}": epochs for task, epochs in SHORT.items() for row in ("fast-weights", "nn.GRU")}
OWN_LIKE = "nn.GRU"


def figure(records: list[dict[str, Any]]) -> Any:
    """The first metric of each task on validation sequences against updates."""
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, plot_band, tidy

    drawn = Figure(figsize=(11, 6.5), layout="constrained")
    panels = drawn.subplots(2, 3)
    for axes, (task, *_) in zip(panels.flat, TASKS, strict=True):
        label, metric = next(iter(METRICS[task.NAME].items()))
        for style, row in zip(STYLES, NETWORKS, strict=False):
            mine = [record for record in records if record["cell"] == f"{task.NAME}-{row}"]
            plot_band(axes, mine, f"valid_{metric}", row, style)
        tidy(axes, "updates", f"validation {label}", task.floors[metric])
        axes.set_title(task.NAME, fontsize=10)
    named = {label: line for axes in panels.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    shown = {row: named[row] for row in NETWORKS if row in named}
    if shown:
        drawn.legend(shown.values(), shown, frameon=False, loc="outside right upper")
    return drawn
