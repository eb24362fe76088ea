"""What stands between an encoder and a decoder: fast weights or attention, on the pronunciation of words (promised by
GokuMohandas/fast-weights in 2016, and never shown).

Letters become the 39 phones of the CMU Pronouncing Dictionary, without stress. 4,000 words that were never trained on
test. Words of 13 letters and more are never trained on either, and have columns of their own.

A bidirectional GRU reads the letters, another GRU says the phones, and what it reads of the letters goes through a
memory. The memories are those of `fastweights.nn.memories`:

- none: the encoder's last states alone.
- attention, additive: over all of the encoder's states, which are kept (dot products; Bahdanau's sum).
- linear, delta, gated-delta: fast weights of 48 x 80 numbers, whatever the length; they add, correct, or fade.
- slots: 16 pairs of keys and values.
- transducer: no encoder; one `FastWeightsRNN` reads the letters and goes on with the phones. So hidden vector and fast
  weights pass over because it never stops.
- transducer-gru, transducer-fast: the same behind a bidirectional GRU, or `FastWeightsRNN`.
- attention-large, delta-large: at most 500 thousand parameters, 15 epochs, dropout 0.2.
- transducer-gru-0: behind a GRU with rate 0, so that its memory stays empty.

What there is to know of it:

1. All rows but the large ones train alike: three epochs of 110,000 pairs in batches of 64, Adam along a cosine.
2. The words of a batch are of about one length; which ones, and in which order, is drawn.
3. The learning rates were set by hand, one for the encoder-decoders and one for the transducers, by seed 0.
4. Equal parameters, about: 132 to 146 thousand. The memories of fast weights were not tuned to this task.
5. No run goes to convergence: the curves still fall, and published figures of long training are lower.
6. An answer is greedy, and is judged by the nearest of the pronunciations that the dictionary has of its word.
7. `emptied` is the phone error where the memory is emptied after the last letter, of the first 1,000 words that test.
8. 5.45% and 23.55% (Yao and Zweig 2015) are of an older dictionary and another split, and cannot be compared.
9. Three seeds: an interval over them is too short. That over words says how sure a difference is for these runs.
10. "equals" stands where the 95% interval over words of the difference from attention contains zero, and only there.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fastweights.papers.cell import Cell
from fastweights.papers.table.answers import Difference, Emptied, answered, differences, packed, rate, unpacked, wrong
from fastweights.papers.table.results import Record
from fastweights.papers.table.tables import Titled, duration, thousands
from fastweights.rules import Hebbian
from fastweights.tasks import Pronunciation
from fastweights.training.config import Config
from fastweights.training.evaluation import over_seeds
from fastweights.training.pair_networks import Between, Fronted
from fastweights.training.setup import Setup

TITLE = "Fast weights against attention: the pronunciation of words"
METRICS = {"pronunciation": {"phone error": "phone_error_rate", "word error": "word_error_rate"}}
LEGEND = "errors in per cent, means over seeds; 95%: over seeds; long: of words of 13 letters and more"
TASK = Pronunciation()
PARTS = ("test", "long")
EMPTIED = 1_000  # words
LENGTHS = ((1, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 30))  # letters

SETTINGS = Config(
    hidden_size=112, batch_size=64, epochs=3, train_size=110_000, valid_size=2_000, test_size=4_000, learning_rate=4e-3
)
MEMORIES = {
    "none": "last-state", "attention": "attention", "additive": "additive-attention", "linear": "linear",
    "delta": "delta", "gated-delta": "gated-delta", "slots": "slots",
}  # fmt: skip
GENTLE = Hebbian(decay=0.95, rate=0.05)  # at first: both constants are learned
STILL = Fronted(Hebbian(decay=0.95, rate=0.0), learned=(), front="gru")
TRANSDUCERS = {
    "transducer": (320, Fronted(GENTLE)),
    "transducer-gru": (250, Fronted(GENTLE, front="gru")),
    "transducer-fast": (264, Fronted(GENTLE, front="fast-weights", front_size=96)),
    "transducer-gru-0": (250, STILL),
}
LARGE = replace(SETTINGS, hidden_size=224, embedding_sizes=(48,), head_sizes=(128,), head_dropout=0.2, epochs=15)
RUNS = [
    Cell(name, name, "control" if name == "none" else "paper",
         Setup("EncoderDecoder", TASK, SETTINGS, Between(memory=memory)))
    for name, memory in MEMORIES.items()
] + [
    Cell(name, name, "control" if name.endswith("-0") else "paper",
         Setup("FastWeightsTransducer", TASK, replace(SETTINGS, hidden_size=size), network))
    for name, (size, network) in TRANSDUCERS.items()
] + [
    Cell(f"{name}-large", f"{name}-large", "beyond",
         Setup("EncoderDecoder", TASK, LARGE, Between(memory=name, encoder_size=128)), seeds=1)
    for name in ("attention", "delta")
]  # fmt: skip
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 2e-3, 4e-3, 8e-3)}
QUICK = {"none": 1, "attention": 1, "delta": 1}
OWN_LIKE = "attention"


def own(model: str, like: Cell) -> Setup:
    """A user's memory, called as Class(states_size, queries_size), between the same encoder and decoder."""
    return replace(like.setup, network=Between(memory=model))


def measure(model: Any, task: Any) -> dict[str, Any]:
    """The edits in each word that tests, and in each that is long; the phone error with the memory emptied."""
    found: dict[str, Any] = {}
    for part in PARTS:
        words = task.words(part)
        found[part] = {"letters": packed([len(word) for word, _ in words]), **answered(model, task, task.batch(words))}
    few = task.batch(task.words("test")[:EMPTIED])
    return found | {"emptied": rate(answered(Emptied(model), task, few))}


def tables(cells: list[Cell], found: dict[str, list[Record]]) -> list[Titled]:
    done = [cell for cell in cells if found[cell.name]]
    return [errors(cells, found), *([against(done, found)] if "attention" in found else []), by_length(done, found)]


def errors(cells: list[Cell], found: dict[str, list[Record]]) -> Titled:
    heads = (
        "memory", "phone\nerror", "95%", "word\nerror", "95%", "long:\nphone", "long:\nword", "emptied", "seeds",
        "CPU", "params",
    )  # fmt: skip
    rows = []
    for cell in cells:
        records = found[cell.name]
        if not records:
            rows.append((cell.row, *[""] * 7, "0", "", ""))
            continue
        of = [each["measured"] for each in records]
        test = [text for of_one in (rate, wrong) for text in measured([of_one(each["test"]) for each in of])]
        long = [measured([of_one(each["long"]) for each in of])[0] for of_one in (rate, wrong)]
        emptied = measured([each["emptied"] for each in of])[0]
        cpu = sum(each["processor_seconds"] for each in records) / len(records)
        rows.append((cell.row, *test, *long, emptied, str(len(of)), duration(cpu), thousands(records[0]["parameters"])))
    return Titled("Errors", heads, rows)


def measured(shares: list[float]) -> tuple[str, str]:
    """The mean over the seeds in per cent, and its interval."""
    mean, interval = over_seeds([100 * share for share in shares])
    return f"{mean:.1f}", "" if interval is None else "{:.1f}-{:.1f}".format(*interval)


def against(cells: list[Cell], found: dict[str, list[Record]]) -> Titled:
    """How far each row is from attention, over the words that test."""
    heads = ("memory", "phone error\nless attention's", "95%", "", "word error\nless attention's", "95%", "")
    rows = []
    for cell in cells:
        apart = differences(found[cell.name], found["attention"]) if cell.name != "attention" else None
        if apart:
            rows.append((cell.row, *(text for name in ("rate", "wrong") for text in told(apart[name]))))
    return Titled("Against attention, over words", heads, rows)


def told(apart: Difference) -> tuple[str, str, str]:
    low, high = (100 * end for end in apart.interval)
    verdict = "equals" if apart.none else "better" if apart.mean < 0 else "worse"
    return f"{100 * apart.mean:+.2f}", f"{low:+.2f} to {high:+.2f}", verdict


def by_length(cells: list[Cell], found: dict[str, list[Record]]) -> Titled:
    """The phone error of words of so many letters."""
    heads = ("memory", *(f"{low}-{high}" if high < 30 else f"{low}+" for low, high in LENGTHS))
    rows = [(cell.row, *(f"{100 * share:.1f}" for share in rates_by_length(found[cell.name]))) for cell in cells]
    return Titled("Phone error by letters in the word; none of 13 and more was trained on", heads, rows)


def rates_by_length(records: list[Record]) -> list[float]:
    """Over all seeds."""
    sums = np.zeros((len(LENGTHS), 2))
    for words in (record["measured"][part] for record in records for part in PARTS):
        letters = unpacked(words["letters"])
        for place, (low, high) in enumerate(LENGTHS):
            chosen = (letters >= low) & (letters <= high)
            sums[place] += [unpacked(words[name])[chosen].sum() for name in ("edits", "lengths")]
    return list(sums[:, 0] / sums[:, 1].clip(min=1))


def figure(records: list[dict[str, Any]]) -> Any:
    """The phone error by letters, and the validation loss against updates."""
    from matplotlib.figure import Figure

    from fastweights.plotting import plot_band, style, tidy

    drawn = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    middles = [f"{low}-{high}" if high < 30 else f"{low}+" for low, high in LENGTHS]
    for place, cell in enumerate(RUNS):
        mine = [record for record in records if record["cell"] == cell.name]
        if not mine:
            continue
        colour, dash, marker = look = style(place)
        shares = [100 * share for share in rates_by_length(mine)]
        left.plot(middles, shares, color=colour, linestyle=dash, marker=marker, markersize=4, label=cell.name)
        plot_band(right, mine, "valid_loss", cell.name, look)
    tidy(left, "letters of the word (13 and more: never trained on)", "phone error (%)", None)
    tidy(right, "updates", "validation loss (nats)", None)
    for axes, marks in ((left, (10, 20, 40, 70)), (right, (0.2, 0.3, 0.5, 1, 1.5))):
        axes.set_yscale("log")
        axes.set_yticks(marks, labels=[str(mark) for mark in marks])
        axes.minorticks_off()
    if records:
        right.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawn
