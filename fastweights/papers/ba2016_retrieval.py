"""Associative retrieval: Table 1 and Figure 2 of Ba, Hinton, Mnih, Leibo and Ionescu (2016),
"Using Fast Weights to Attend to the Recent Past", https://arxiv.org/abs/1610.06258.

The test error of four networks with 20, 50 and 100 recurrent units, after sequences such as `c9k8j3f1??c` (answer 9).
There are 4 pairs, 100,000 training, 10,000 validation and 20,000 test sequences. Every symbol goes through a learned
50-d and a 100-d embedding, the last hidden vector through 100 ReLU units to a softmax. Decay is 0.9, rate 0.5; Adam
takes batches of 128.

What differs from the paper, or is not said there:

1. Four pairs, values with replacement: the guess floor is then 61.65%, and the paper's failing cells have 60 to 62%.
2. Training is as long as the column `updates` says; the paper's Figure 2 goes to 750,000 updates.
3. The learning rate falls along a cosine to zero; it was set by validation sequences, and differs from cell to cell.
4. The 100-d layer and C learn at a tenth of the learning rate: all symbols share them.
5. The 50-d table has weight decay, 0.25 times the learning rate; for fast weights the weights after the network, too.
6. Smoothed labels and dropout are ours, and so is clipping; a share of smoothed labels falls with the learning rate.
7. No ReLU lies between the two embeddings, C x starts at unit variance, and the softmax has the 10 digits as classes.
8. Every seed draws its own sequences, so that an interval covers the draw of the data.
9. A-LSTM: how three heads are joined is ours (see `AssociativeLSTM`); Danihelka et al. (2016) have none.
10. Curves are validation losses, which smoothed labels hold near 0.1 nats at first; Figure 2 has test losses.
11. Test sequences are used once a run, at the end; but some rows were trained anew after that (`docs/log.md`).
12. No layer norm on the preliminary vector, one inner step: the literal reading.
13. The forget gates of the LSTM and the A-LSTM start with a bias of 1, those of LSTM-LN with 0.

Controls that the paper lacks:

- RNN-LN, GRU-LN and LSTM-LN have layer norm and no fast weights.
- RNN-LN-FW0 has rate 0: nothing is read, and the network is RNN-LN to the last bit.
- FW-decay0 has decay 0: A(t) holds h(t) alone, so that the inner loop multiplies and nothing is remembered.

Beyond the paper, each a row of its own:

- `plain` has a ReLU between the embeddings, the library's initial values, one learning rate and no weight decay.
- `soap` trains all matrices but the table by SOAP (see `fastweights.optim.soap`), in batches of 512.
- `best` has one-hot symbols in place of the two embeddings, in batches of 512 and with smoothed labels.
- `renamed` gives each training sequence other keys whenever it is read, which is as good as unlimited data.
"""

from dataclasses import replace
from typing import Any

from fastweights.optim import Group
from fastweights.papers.cell import Cell
from fastweights.rules import Hebbian
from fastweights.tasks import AssociativeRetrieval
from fastweights.training.config import Config
from fastweights.training.networks import FastWeights
from fastweights.training.setup import Setup

TITLE = "Associative retrieval (Ba et al. 2016, Table 1 and Figure 2)"
TASK = AssociativeRetrieval(num_pairs=4)
RENAMED = replace(TASK, renamed_keys=True)

REPORTED: dict[str, Any] = {
    "error": {  # per cent of the test sequences
        "IRNN-20": 62.11, "IRNN-50": 60.23, "IRNN-100": 0.34,
        "LSTM-20": 60.81, "LSTM-50": 1.85, "LSTM-100": 0.0,
        "A-LSTM-20": 60.13, "A-LSTM-50": 1.62, "A-LSTM-100": 0.0,
        "FW-20": 1.81, "FW-50": 0.0, "FW-100": 0.0,
    },
    # Figure 2, read off its vector paths to +-0.005: test loss in nats with 50 units against updates
    "updates": [5000 * n for n in (0, 1, 2, 5, 8, 10, 11, 15, 16, 20, 25, 30, 40, 50, 60, 80, 100, 120, 149)],
    "loss": {
        "FW-50": [
            1.77, 0.663, 0.245, 0.246, 0.255, 0.083, 0.007, 0.007, 0.006, 0.005, 0.002, 0.001, 0.002, 0.001, 0.001,
            0.002, 0.002, 0.0, 0.0,
        ],
        "LSTM-50": [
            1.75, 1.47, 1.43, 1.41, 1.40, 1.35, 1.05, 0.640, 0.595, 0.444, 0.366, 0.299, 0.233, 0.186, 0.162, 0.131,
            0.113, 0.111, 0.103,
        ],
        "A-LSTM-50": [
            1.95, 1.31, 1.26, 1.22, 1.20, 1.21, 1.21, 1.20, 1.21, 1.21, 1.12, 0.584, 0.280, 0.199, 0.164, 0.121, 0.099,
            0.083, 0.072,
        ],
        "IRNN-50": [
            1.67, 1.49, 1.44, 1.42, 1.41, 1.40, 1.42, 1.38, 1.21, 1.21, 1.20, 1.20, 1.20, 1.20, 1.20, 1.19, 1.20, 1.19,
            1.19,
        ],
    },
}  # fmt: skip

# How parameters learn. C is the projection of the input; the table has a row for each symbol.
C = r"recurrent\..*weight_(ih_l0|input)"
TABLE = Group(r"embedding\.0\.weight", decay=0.25)
AFTER_TABLE = Group(rf"embedding\.2\..*|{C}", share=0.1)
HEAD = Group(r"head\..*weight", decay=0.25)
ADAM = (TABLE, AFTER_TABLE)
TURNED = Group(r"(recurrent|head)\..*", kind="soap")
BY_SOAP = (TABLE, replace(AFTER_TABLE, kind="soap"), TURNED)
C_BY_ADAM = (Group(C), TURNED)
SLOW_C = Group(C, share=0.3)
DECAYED_C = Group(C, decay=0.25)

SETTINGS = Config(
    embedding_sizes=(50, 100),
    linear_embeddings=True,
    head_sizes=(100,),
    groups=ADAM,
    schedule="cosine",
    train_size=100_000,
    valid_size=10_000,
    test_size=20_000,
)
SMOOTHED = replace(SETTINGS, label_smoothing=0.1)
MEMORY = replace(SMOOTHED, groups=(*ADAM, HEAD))
SOAP = replace(SETTINGS, groups=BY_SOAP, batch_size=512)
PLAIN = replace(SETTINGS, linear_embeddings=False, groups=())
LARGE_BATCH = replace(PLAIN, embedding_sizes=(), batch_size=512)
BEST = replace(LARGE_BATCH, label_smoothing=0.1)

NETWORK = FastWeights(Hebbian(decay=0.9, rate=0.5))
FORGETFUL = FastWeights(Hebbian(decay=0.0, rate=0.5))
LASTING = FastWeights(Hebbian(decay=1.0, rate=0.5))

# row, kind, model and its options, settings, {units: (epochs, learning rate, seeds)}
ROWS: list[tuple[str, str, str, FastWeights | None, Config, dict[int, tuple[int, float, int]]]] = [
    ("FW", "paper", "RNN-LN-FW", NETWORK, replace(MEMORY, clip=1.0), {20: (120, 4e-3, 5)}),
    ("FW", "paper", "RNN-LN-FW", NETWORK, replace(MEMORY, groups=(*ADAM, replace(HEAD, decay=1.0))),
     {50: (100, 1e-3, 3)}),
    ("FW", "paper", "RNN-LN-FW", NETWORK, MEMORY, {100: (100, 2e-3, 3)}),
    ("IRNN", "paper", "IRNN", None, SETTINGS, {20: (480, 2e-3, 3)}),
    ("IRNN", "paper", "IRNN", None, replace(SETTINGS, label_smoothing=0.2), {50: (480, 2e-3, 3), 100: (960, 1e-3, 3)}),
    ("LSTM", "paper", "LSTM", None, SMOOTHED, {20: (120, 8e-3, 3), 50: (120, 8e-3, 3)}),
    ("LSTM", "paper", "LSTM", None, replace(SETTINGS, head_dropout=0.2), {100: (240, 8e-3, 3)}),
    ("A-LSTM", "paper", "A-LSTM", None, SETTINGS, {20: (80, 4e-3, 1), 50: (60, 4e-3, 1)}),
    ("A-LSTM", "paper", "A-LSTM", None, SMOOTHED, {100: (40, 4e-3, 1)}),
    ("RNN-LN", "control", "RNN-LN", None, PLAIN, {20: (240, 1e-3, 3), 50: (80, 5e-4, 3)}),
    ("RNN-LN-FW0", "control", "RNN-LN-FW0", None, PLAIN, {20: (240, 1e-3, 1), 50: (80, 5e-4, 1)}),
    ("FW-decay0", "control", "RNN-LN-FW", FORGETFUL, replace(MEMORY, label_smoothing=0.0),
     {20: (120, 4e-3, 3), 50: (80, 2e-3, 3)}),
    ("GRU-LN", "control", "GRU-LN", None, SETTINGS, {20: (60, 4e-3, 1)}),
    ("GRU-LN", "control", "GRU-LN", None, SMOOTHED, {50: (60, 8e-3, 1)}),
    ("LSTM-LN", "control", "LSTM-LN", None, SETTINGS, {20: (60, 4e-3, 1), 50: (60, 8e-3, 1)}),
    ("FW-plain", "beyond", "RNN-LN-FW", NETWORK, PLAIN,
     {10: (240, 1e-3, 3), 20: (240, 2e-3, 5), 50: (240, 1e-3, 3), 100: (200, 1e-3, 3)}),
    ("IRNN-soap", "beyond", "IRNN", None, SOAP, {20: (480, 8e-3, 3), 50: (480, 8e-3, 3), 100: (480, 4e-3, 3)}),
    ("LSTM-soap", "beyond", "LSTM", None, SOAP, {20: (240, 3.2e-2, 3), 50: (120, 3.2e-2, 3), 100: (120, 3.2e-2, 3)}),
    ("FW-soap", "beyond", "RNN-LN-FW", NETWORK, SOAP, {20: (120, 4e-3, 5), 100: (40, 4e-3, 3)}),
    ("FW-soap", "beyond", "RNN-LN-FW", NETWORK, replace(SOAP, groups=(replace(HEAD, decay=1.0, kind="soap"), *BY_SOAP)),
     {50: (100, 4e-3, 3)}),
    ("FW-best", "beyond", "RNN-LN-FW", LASTING, replace(BEST, clip=1.0, groups=(SLOW_C,)), {10: (480, 8e-3, 3)}),
    ("FW-best", "beyond", "RNN-LN-FW", NETWORK, replace(BEST, groups=(DECAYED_C,)), {20: (240, 2e-3, 5)}),
    ("FW-renamed", "beyond", "RNN-LN-FW", NETWORK, LARGE_BATCH, {50: (200, 4e-3, 3)}),
    ("FW-renamed", "beyond", "RNN-LN-FW", NETWORK, replace(LARGE_BATCH, groups=C_BY_ADAM),
     {10: (60, 4e-3, 3), 20: (400, 4e-3, 5)}),
]  # fmt: skip
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 2e-3, 4e-3, 8e-3)}
LOWER: dict[str, tuple[Any, ...]] = {"learning_rate": (5e-4, 1e-3, 2e-3, 4e-3)}
HIGHER: dict[str, tuple[Any, ...]] = {"learning_rate": (4e-3, 8e-3, 1.6e-2, 3.2e-2)}
OTHER: dict[str, dict[str, tuple[Any, ...]]] = {  # of a row, or of a cell
    "RNN-LN": LOWER,
    "FW-plain": LOWER,
    "FW-soap": LOWER,
    "IRNN-soap": HIGHER,
    "LSTM-soap": HIGHER,
    "FW-best-10": {
        "learning_rate": (2e-3, 4e-3, 8e-3, 1.6e-2),
        "groups": ((SLOW_C,), (replace(SLOW_C, decay=0.25),)),
    },
    "FW-best-20": {**LOWER, "groups": ((), (DECAYED_C,))},
    "FW-renamed": {"learning_rate": (2e-3, 4e-3, 8e-3), "groups": ((), C_BY_ADAM)},
}
RUNS = [
    Cell(
        f"{row}-{size}", row, kind,
        Setup(
            model, RENAMED if row == "FW-renamed" else TASK,
            replace(settings, hidden_size=size, epochs=epochs, learning_rate=rate), network,
        ),
        seeds, OTHER.get(f"{row}-{size}", OTHER.get(row, {})),
    )
    for row, kind, model, network, settings, sizes in ROWS
    for size, (epochs, rate, seeds) in sizes.items()
]  # fmt: skip
_PLACES = list(dict.fromkeys((cell.kind, cell.row) for cell in RUNS))
RUNS.sort(key=lambda cell: (_PLACES.index((cell.kind, cell.row)), cell.setup.config.hidden_size))
QUICK = {"FW-best-20": 40, "FW-50": 20, "LSTM-20": 20, "LSTM-50": 20}
OWN_LIKE = "LSTM"


def figure(records: list[dict[str, Any]]) -> Any:
    """Figure 2 (loss against updates, the paper's curves thin) with 20 and 100 units beside it, and errors below."""
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, plot_band, tidy, with_error

    drawn = Figure(figsize=(11, 7), layout="constrained")
    panels = drawn.subplots(2, 3, sharex=True, sharey="row")
    for column, size in enumerate((20, 50, 100)):
        losses, errors = panels[:, column]
        for place, row in enumerate(("FW", "LSTM", "A-LSTM", "IRNN", "FW-soap", "LSTM-soap", "IRNN-soap")):
            name, style = f"{row}-{size}", STYLES[place]
            found = [with_error(record) for record in records if record["cell"] == name]
            plot_band(losses, found, "valid_loss", row, style)
            if name in REPORTED["loss"]:
                losses.plot(REPORTED["updates"], REPORTED["loss"][name], color=style[0], linewidth=0.8, alpha=0.6)
            plot_band(errors, found, "valid_error", row, style)
        tidy(losses, "", "validation loss (nats)" if size == 20 else "", TASK.floors["loss"])
        tidy(errors, "updates", "validation error (%)" if size == 20 else "", 100 * (1 - TASK.floors["accuracy"]))
        losses.set_title(f"{size} units" + (" (thin: the paper's test loss)" if size == 50 else ""), fontsize=10)
        losses.set_yscale("symlog", linthresh=1e-3)
        errors.set_yscale("symlog", linthresh=1e-2)
        losses.set_ylim(0, 3)
        errors.set_ylim(0, 100)
        errors.set_xscale("log")
    for across in panels:  # a row of the table may have runs of one size alone
        named = [pair for axes in across for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
        lines = {label: line for line, label in named}
        across[-1].legend(lines.values(), lines, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawn
