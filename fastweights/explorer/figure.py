"""A still picture of a trace: what was attended to, the hidden vectors, the memory, and what the network knew when."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fastweights import files
from fastweights.errors import UserError
from fastweights.explorer.order import order_of

NEGATIVE, POSITIVE, GREY = "#D55E00", "#0072B2", "#666666"  # of Okabe and Ito: told apart by the colour-blind
ENDINGS: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
FAINT = 0.02  # of the thickest arc: thinner ones are left out
THICKEST = 6.0  # points
FEW_STEPS, FEW_LINES = 24, 4  # up to here weights stand below their symbols; classes with a line of their own
STRONGEST = 3  # arcs of each answer, where there are many
STEP, SQUARE = 0.42, 3.0  # inches of a step, and of a side of the memory


def check(path: Path) -> None:
    """Raise where no figure can be written there."""
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"--figure {path}: wanted a name that ends in {', '.join(ENDINGS)}")
    files.check(path)


def save(figure: Any, path: Path) -> None:
    """The same bytes from the same trace."""
    from matplotlib import rc_context

    ending = path.suffix.lower()
    with rc_context({"svg.hashsalt": "fastweights"}):
        figure.savefig(buffer := BytesIO(), format=ending[1:], dpi=150, metadata=ENDINGS[ending])
    files.make_folder(path.parent)
    files.write(path, buffer.getvalue())


def draw(trace: Any, title: str = "", floor: float | None = None) -> Any:
    """A matplotlib figure of a `fastweights.nn.trace.Trace`, of its last layer; columns are steps.

    Arcs: what the last of the inner steps gave to each earlier step, where the task asks; thickness: how much. Hidden
    vectors. Probabilities of the right answer, and of what else was probable, with the guess floor. The memory that the
    last step read; its units, and those of the hidden vectors, stand so that alike ones are together.

    Raises `UserError` where there is no memory that is read, or a number is not finite.
    """
    from matplotlib.figure import Figure

    layer = memory_of(trace)
    time, order = len(trace.inputs), order_of(layer.hidden)
    wide = min(max(STEP * time, 4.5), 12.0)
    figure = Figure(figsize=(wide + SQUARE + 3.0, 7.2), layout="constrained")
    if title:
        figure.suptitle(title, parse_math=False, x=0.01, ha="left", fontsize="large")
    grid = figure.add_gridspec(6, 2, width_ratios=[wide, SQUARE])
    strip, units, known = (figure.add_subplot(grid[row : row + 2, 0]) for row in (0, 2, 4))
    draw_arcs(strip, trace, layer)
    heat(units, layer.hidden[:, order].T, "activity", wide)
    heading(units, "Hidden vector after each step")
    units.set(ylabel="units, alike ones together", yticks=[])
    draw_known(known, trace, floor)
    for axes in (strip, units, known):
        axes.set_xlim(-0.6, time - 0.4)
    for axes in (units, known):
        name_steps(axes.xaxis, trace)
    memory, table = (figure.add_subplot(grid[row : row + 3, 1]) for row in (0, 3))
    before = layer.weights[-2] if time > 1 else layer.first
    heat(memory, before[np.ix_(order, order)], "weight", SQUARE)
    heading(memory, "Memory A that the last step read")
    memory.set(xlabel="key units", ylabel="value units", xticks=[], yticks=[], aspect="equal")
    if layer.attention is None:
        table.set_axis_off()
        return figure
    heat(table, trace.attention, "weight", SQUARE)
    heading(table, "What each step attended to")
    table.set(aspect="equal", xlabel="earlier step", ylabel="step")
    for axis in (table.xaxis, table.yaxis):
        if time <= FEW_STEPS and trace.inputs.ndim == 1:
            name_steps(axis, trace)
    return figure


def heading(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize="medium")


def memory_of(trace: Any) -> Any:
    """The last layer."""
    if not trace.layers:
        raise UserError(
            "--figure: got a network that is no FastWeightsRNN, wanted one, such as RNN-LN-FW: its memory is drawn"
        )
    if not trace.layers[-1].added.shape[1]:
        raise UserError(
            "--figure: got a network that reads no fast weights, wanted one with a memory to draw, such as RNN-LN-FW"
        )
    layer = trace.layers[-1]
    if not all(np.isfinite(each).all() for each in (layer.hidden, layer.weights, layer.added)):
        raise UserError(
            "--figure: got numbers that are not finite in the network's memory, wanted a run that has not diverged"
        )
    return layer


def heat(axes: Any, values: Any, label: str, wide: float) -> None:
    """Numbers as colours on axes of so many inches; zero is white, in the middle of the scale beside."""
    from matplotlib.colors import LinearSegmentedColormap

    most = float(np.abs(values).max()) or 1.0
    signed = LinearSegmentedColormap.from_list("signed", [NEGATIVE, "#FFFFFF", POSITIVE])
    image = axes.imshow(values, cmap=signed, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    beside = axes.inset_axes([1 + 0.06 / wide, 0.0, 0.14 / wide, 1.0])
    axes.figure.colorbar(image, cax=beside, label=label, ticks=[-most, 0, most], format="%.2g")


def draw_arcs(axes: Any, trace: Any, layer: Any) -> None:
    time = len(trace.inputs)
    asked = np.flatnonzero(trace.asked) if trace.asked is not None else np.array([time - 1])
    one = len(asked) == 1
    heading(
        axes, "What the question attended to" if one else f"What each answer attended to: its {STRONGEST} strongest"
    )
    axes.set(xticks=[], yticks=[], ylim=(-0.32, 1.05))
    axes.spines[:].set_visible(False)
    if layer.attention is None:
        name_inputs(axes, trace, None)
        return
    weights = trace.attention
    most = float(np.abs(weights[asked]).max()) or 1.0
    strongest = [
        (int(t), int(tau)) for t in asked for tau in np.argsort(-np.abs(weights[t, :t]))[: None if one else STRONGEST]
    ]
    shown = [(t, tau) for t, tau in strongest if abs(weights[t, tau]) > FAINT * most]
    widest = max((t - tau for t, tau in shown), default=1)
    for t, tau in shown:
        arc(axes, tau, t, widest, weights[t, tau] / most)
    legend(axes, most)
    name_inputs(axes, trace, weights[asked[0]] if one else None)


def arc(axes: Any, start: int, end: int, widest: int, share: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Line

    high = 1.25 * ((end - start) / widest) ** 0.7
    line = Line([(start, 0), (start, high), (end, high), (end, 0)], [1, 4, 4, 4])
    axes.add_patch(PathPatch(
        line, fill=False, linewidth=max(0.4, THICKEST * abs(share)), capstyle="butt", alpha=0.8,
        edgecolor=POSITIVE if share > 0 else NEGATIVE, linestyle="-" if share > 0 else (0, (2, 1)),
    ))  # fmt: skip


def legend(axes: Any, most: float) -> None:
    from matplotlib.lines import Line2D

    styles = [
        {"color": POSITIVE, "linewidth": THICKEST, "label": f"weight {most:.2g}"},
        {"color": POSITIVE, "linewidth": THICKEST / 4, "label": f"weight {most / 4:.2g}"},
        {"color": NEGATIVE, "linewidth": THICKEST / 4, "linestyle": (0, (2, 1)), "label": f"weight {-most / 4:.2g}"},
    ]
    explain(axes, [Line2D([], [], **each) for each in styles])


def explain(axes: Any, lines: Any) -> None:
    axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")


def name_inputs(axes: Any, trace: Any, weights: Any) -> None:
    """The symbols below the arcs, with the weight of each where there is one question; vectors as colours."""
    time = len(trace.inputs)
    if trace.inputs.ndim == 2:
        image = axes.inset_axes([0, 0, 1, 0.2], transform=axes.transAxes)
        most = float(np.abs(trace.inputs).max()) or 1.0
        image.imshow(trace.inputs.T, cmap="Greys", vmin=min(0.0, float(trace.inputs.min())), vmax=most, aspect="auto",
                     interpolation="nearest")  # fmt: skip
        image.set(xlim=(-0.6, time - 0.4), xticks=[], yticks=[], ylabel="input")
        return
    size = letter_size(time)
    digits = 0 if weights is None else int(np.clip(2 - np.floor(np.log10(np.abs(weights).max() or 1.0)), 0, 6))
    for place, name in enumerate(names_of(trace)):
        axes.text(place, -0.1, name, ha="center", va="center", fontsize=size, family="monospace", parse_math=False)
        if weights is not None and time <= FEW_STEPS and place < time - 1:
            axes.text(place, -0.27, f"{weights[place]:z.{digits}f}", ha="center", va="center", fontsize=6.5, color=GREY)


def draw_known(axes: Any, trace: Any, floor: float | None) -> None:
    """Of one answer the probability of each class that comes to be probable; of many, that of the right one."""
    steps = np.arange(len(trace.inputs))
    axes.spines[["top", "right"]].set_visible(False)
    chances = trace.probabilities
    if chances is None:
        axes.plot(steps, trace.logits, marker="o", markersize=3)
        heading(axes, "Answer, if asked after this step")
        axes.set_ylabel("output")
        return
    right = trace.targets
    if trace.asked is not None and trace.asked.sum() > 1:
        wanted = np.flatnonzero(trace.asked)
        picked = chances[wanted].max(1) if right is None else chances[wanted, right[wanted]]
        axes.plot(wanted, picked, color=POSITIVE, marker="o", markersize=3)
        heading(axes, f"Probability of {'its' if right is None else 'the right'} answer, where one is asked")
    else:
        lines(axes, steps, trace, None if right is None else int(right[-1]))
        heading(axes, "Probability of an answer, if asked after this step")
    if floor is not None:
        axes.axhline(floor, color=GREY, linewidth=1, linestyle=(0, (2, 2)), label=f"guess floor {floor:.3g}")
    axes.set(ylim=(-0.03, 1.03), ylabel="probability")
    explain(axes, axes.get_legend_handles_labels()[0])


def lines(axes: Any, steps: Any, trace: Any, right: int | None) -> None:
    """The right class first, then the answer, then those that are most probable at some step."""
    from fastweights.plotting import STYLES

    chances = trace.probabilities
    first = [] if right is None else [right]
    shown = list(
        dict.fromkeys([*first, int(chances[-1].argmax()), *np.argsort(-chances.max(0), kind="stable").tolist()])
    )
    for (colour, dash, marker), place in zip(STYLES, shown[:FEW_LINES], strict=False):
        name = trace.classes[place] if trace.classes is not None else str(place)
        label = f"{name} (right)" if place == right else name
        axes.plot(steps, chances[:, place], color=colour, linestyle=dash, marker=marker, markersize=4, label=label)


def name_steps(axis: Any, trace: Any) -> None:
    time = len(trace.inputs)
    if trace.inputs.ndim == 2:
        axis.set_label_text("step")
        return
    size = min(9, letter_size(time))
    axis.set_ticks(range(time), names_of(trace), fontsize=size, family="monospace", parse_math=False)
    axis.set_tick_params(length=0)


def names_of(trace: Any) -> list[str]:
    """What stands for each step; a blank and what is not printed are named as Python does."""
    if trace.symbols is None:
        return [str(each) for each in trace.inputs]
    return [name if name.isprintable() and name.strip() else repr(name)[1:-1] or "''" for name in trace.symbols]


def letter_size(time: int) -> float:
    return float(np.clip(420 / max(time, 1), 4.5, 13))
