"""Figure 5 of Ba et al. 2016 (https://arxiv.org/abs/1610.06258): agents that play partially observable Catch.

A ball falls through a screen of N rows, and the agent sees the first M frames alone. Of the columns where it may land
the agent has to keep one in memory, while it counts its own moves.

The reward is the mean over 6,400 episodes at the end; chance is that of a paddle that stays. What ours does otherwise:

1. Advantage actor-critic over 64 episodes in lockstep; the workers of the paper's A3C do not wait for each other.
2. The paper gives no discount, entropy weight, value weight or rollout: ours are 0.99, 0.03, 0.5 and whole episodes.
3. Adam along a cosine, gradients clipped at norm 1; the paper does not name its optimizer.
4. The paddle starts in the middle; the paper does not say where.
5. The RNN is an IRNN: ReLU units, and the identity as recurrent weights at first.
6. The LSTM has forget biases that start at 1.
7. The fast-weights network has layer norm in its inner loop, as in the paper's section 3.1, and nowhere else.
8. A frame counts each time that an episode shows one, so an update has 64 N of them. The paper's axis has no unit.
9. The search tries 8 rates (N = 24: 5), 5e-4 to 8e-3, on its own seed; fast weights draw steps, rate and decay, too.
10. The best try is that of the highest mean reward over its training.
11. The paper has the mean of the five best runs of its search; the table has that, too, beside new seeds of the best.
12. FW-Cosine is no row of the paper: the default rule of this library, `Cosine`, whose rate is learned.

With N = 16 each of five new agents with the default rule comes to 0.95; by the paper's rule, to 0.79 to 0.93. An LSTM
and an RNN are as quick on some seeds, and do not learn it in this time on others, so that no order of the frames to 0.9
is told. The paper's order, in which fast weights need two thirds of the LSTM's frames, is not borne out.

With N = 24 no try of the LSTM or the default rule came to 0.9 in 3,200 updates; the best, an LSTM, ended at 0.26. The
other networks were not searched there, and no new agents were trained.
"""

import math
import random
from dataclasses import dataclass, replace
from statistics import mean, median
from typing import Any

from fastweights.papers.cell import Cell
from fastweights.papers.table.results import tested
from fastweights.papers.table.tables import Titled, thousands
from fastweights.rules import Hebbian
from fastweights.tasks import Catch
from fastweights.training.config import Config
from fastweights.training.networks import FastWeights
from fastweights.training.setup import Setup

TITLE = "Partially observable Catch (Ba et al. 2016, Figure 5)"
METRICS = {"catch": {"reward": "reward"}}
REACHED = 0.9  # reward
BEST = 5  # runs of the search that the paper's curves are the mean of
TRIES = {16: 8, 24: 5}  # by N
SEARCHED, SEEDS = 1000, 5
LOWEST, HIGHEST = 5e-4, 8e-3  # learning rates that are searched, evenly on a logarithmic scale
STEPS, RATES, DECAYS = (1, 2), (0.1, 0.2, 0.5, 1.0), (0.9, 0.95, 0.98, 0.99)
EPOCHS = 40  # of so many updates that a curve has 40 points

PAPER = {  # where its curves come to 0.9, on an axis without a unit
    16: {"FW": "4", "LSTM": "6", "RNN": "10"},
    24: {"FW": "12", "LSTM": "23", "RNN": "never"},
}
SIZES = {16: (3, 1_600), 24: (5, 3_200)}  # N: M, updates
MODELS = {"FW": "RNN-LN-FW", "LSTM": "LSTM", "RNN": "IRNN", "FW-Cosine": "RNN-LN-FW"}
SETTINGS = Config(
    hidden_size=128, embedding_sizes=(128,), embedding_relu=True, batch_size=64, clip=1.0, epochs=EPOCHS,
    valid_size=640, test_size=6_400,
)  # fmt: skip


@dataclass(frozen=True)
class Try:
    """What the search varies; of networks without fast weights the learning rate alone."""

    learning_rate: float
    inner_steps: int
    rate: float
    decay: float


def tries(row: str, size: int) -> list[Try]:
    draw = random.Random(f"{row} {size}")
    count = TRIES[size]
    rates = [LOWEST * (HIGHEST / LOWEST) ** (place / (count - 1)) for place in range(count)]
    return [Try(float(f"{rate:.2g}"), draw.choice(STEPS), draw.choice(RATES), draw.choice(DECAYS)) for rate in rates]


def setup(row: str, task: Catch, updates: int, tried: Try, seed: int) -> Setup:
    config = replace(
        SETTINGS, learning_rate=tried.learning_rate, train_size=SETTINGS.batch_size * updates // EPOCHS, seed=seed
    )
    memory = {
        "FW": FastWeights(Hebbian(tried.decay, tried.rate), inner_steps=tried.inner_steps),
        "FW-Cosine": FastWeights(),
    }.get(row)
    return Setup(MODELS[row], task, config, memory)


CHOSEN = {  # by the search
    "FW-16": 4, "LSTM-16": 7, "RNN-16": 7, "FW-Cosine-16": 7,
    "FW-24": 0, "LSTM-24": 0, "RNN-24": 0, "FW-Cosine-24": 0,
}  # fmt: skip
SMALL = Catch(12, 3)
RUNS = [
    *(
        Cell(f"{row}-{size}", row, "paper" if row in PAPER[size] else "beyond",
             setup(row, Catch(size, seen), updates, tries(row, size)[CHOSEN[f"{row}-{size}"]], 0), SEEDS)
        for size, (seen, updates) in SIZES.items()
        for row in MODELS
    ),
    *(
        Cell(f"{row}-12", row, "beyond", setup(row, SMALL, 800, Try(3e-3, 1, 0.1, 0.98), 0), 1)
        for row in ("FW", "LSTM")
    ),
    *(
        Cell(f"{row}-{size}-try{place}", row, "search", setup(row, Catch(size, seen), updates, tried, SEARCHED), 1)
        for size, (seen, updates) in SIZES.items()
        for row in MODELS
        for place, tried in enumerate(tries(row, size))
    ),
]  # fmt: skip
GRID: dict[str, tuple[Any, ...]] = {"learning_rate": (1e-3, 2e-3, 4e-3)}
QUICK = {"FW-12": EPOCHS, "LSTM-12": EPOCHS}
OWN_LIKE = "LSTM"


def frames_to(record: dict[str, Any], size: int) -> float:
    """Frames until the validation reward was 0.9; infinite where it never was."""
    points = zip(record["curve"]["update"], record["curve"]["valid_reward"], strict=True)
    each = size * SETTINGS.batch_size
    return next((update * each for update, reward in points if reward >= REACHED), math.inf)


def gathered(record: dict[str, Any]) -> float:
    """The mean reward over a training, by its curve: what the search chooses by."""
    updates, rewards = record["curve"]["update"], record["curve"]["valid_reward"]
    widths = [after - before for before, after in zip([0, *updates], updates, strict=False)]
    return sum(width * reward for width, reward in zip(widths, rewards, strict=True)) / updates[-1]


def more(cells: list[Cell], found: dict[str, list[dict[str, Any]]]) -> list[Titled]:
    """Frames to 0.9, beside the paper's; and what the search found."""
    searched = {cell.name: found.get(cell.name) or [] for cell in RUNS if cell.kind == "search"}
    rows: list[tuple[str, ...]] = []
    for cell in cells:
        size, records = getattr(cell.setup.task, "size", 0), found[cell.name]
        if cell.kind == "search" or size not in SIZES or not records:
            continue
        reached = [frames_to(record, size) for record in records]
        tried = [each for name, of in searched.items() if name.startswith(f"{cell.name}-try") for each in of]
        five = sorted((tested(each, "reward") for each in tried), reverse=True)[:BEST]
        rows.append((
            cell.name, PAPER[size].get(cell.row, ""),
            *map(told, (median(reached), min(reached), max(reached))),
            f"{mean(five):.3f}" if five else "",
            f"{mean(tested(record, 'reward') for record in records):.3f}",
        ))  # fmt: skip
    heads = ("network", "paper", "median", "first", "last", "best 5", "new seeds")
    return [Titled("Frames until the reward is 0.9, and the reward at the end", heads, rows)] if rows else []


def told(frames: float) -> str:
    return thousands(frames) if math.isfinite(frames) else "never"


def figure(records: list[dict[str, Any]]) -> Any:
    """The reward on validation episodes against frames: new seeds with a band, thin the five best of the search."""
    from matplotlib.figure import Figure

    from fastweights.plotting import STYLES, legend_of_all, plot_band, tidy

    drawn = Figure(figsize=(11, 4.5), layout="constrained")
    panels = drawn.subplots(1, 2)
    for axes, (size, (seen, _)) in zip(panels, SIZES.items(), strict=True):
        each = 1 / (size * SETTINGS.batch_size)
        for style, row in zip(STYLES, MODELS, strict=False):
            mine = [record for record in records if record["cell"] == f"{row}-{size}"]
            plot_band(axes, mine, "valid_reward", row, style, per_x=each)
            tried = [record for record in records if record["cell"].startswith(f"{row}-{size}-try")]
            five = sorted(tried, key=lambda record: tested(record, "reward"))[-BEST:]
            if five:
                points = [mean(values) for values in zip(*(of["curve"]["valid_reward"] for of in five), strict=True)]
                axes.plot([u / each for u in five[0]["curve"]["update"]], points, color=style[0], linewidth=0.8)
        tidy(axes, "frames", "reward" if size == 16 else "", Catch(size, seen).floors["reward"])
        axes.set_title(f"N = {size}, M = {seen}", fontsize=10)
        axes.axhline(REACHED, color="0.8", linewidth=0.8, zorder=0)
    legend_of_all(drawn, panels)
    return drawn
