"""A picture of glimpses: where each of them lies, what it shows, and which past ones a memory attended to."""

from typing import Any

import numpy as np

from fastweights.explorer.figure import heading, heat

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # of the quadrants, in the order in which they are looked at
WIDE = 12.0  # inches


def draw(task: Any, inputs: Any, attention: Any = None, title: str = "") -> Any:
    """A matplotlib figure of the glimpses `inputs`, [24, features], of a task `Glimpses`.

    attention: [24, 24], the weight that each step gave to each earlier one; None: of a network that reads no memory.
    """
    from matplotlib.figure import Figure

    image = task.picture(inputs[None])[0].numpy()
    small = len(image) // 4
    pixels = inputs[:, : small * small].reshape(-1, small, small).numpy()
    figure: Any = Figure(figsize=(WIDE, 6.0), layout="constrained")
    if title:
        figure.suptitle(title, parse_math=False, x=0.01, ha="left", fontsize="large")
    above, below = figure.subfigures(2, 1, height_ratios=[3.4, 3])
    whole, *quadrants = above.subplots(1, 5, width_ratios=[1.4, 1, 1, 1, 1])
    low, high = float(image.min()), float(image.max())

    def show(axes: Any, what: Any) -> None:
        axes.imshow(what, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set(xticks=[], yticks=[])

    show(whole, image)
    heading(whole, "The quarters, in order")
    for place, (row, column, scale) in enumerate(task.places):
        if scale < 0:
            middle = [(each + 1) * len(image) / 2 - 0.5 for each in (column, row)]
            outline(whole, middle, small, place, COLOURS[place // 6])
    for quadrant, axes in enumerate(quadrants):
        show(axes, mosaic(pixels[6 * quadrant : 6 * quadrant + 5], task.places[6 * quadrant : 6 * quadrant + 5]))
        axes.axhline(2 * small + GAP / 2 - 0.5, color="white", linewidth=2)
        heading(axes, f"Glimpses {6 * quadrant} to {6 * quadrant + 5}")
        axes.spines[:].set(color=COLOURS[quadrant], linewidth=2)
    if attention is None:
        below.text(0.02, 0.9, "This network reads no memory.", fontsize="medium")
        return figure
    strip, table = below.subplots(1, 2, width_ratios=[2.2, 1])
    draw_reads(strip, pixels, attention.numpy(), low, high)
    heat(table, attention.numpy(), "weight", 3.0)
    heading(table, "Weight of each earlier glimpse")
    table.set(xlabel="earlier glimpse", ylabel="glimpse that reads", aspect="equal")
    return figure


GAP = 2  # pixels between the quarters and the coarse glimpse below them


def outline(axes: Any, middle: Any, small: int, place: int, colour: str) -> None:
    from matplotlib.patches import Rectangle

    corner = middle[0] - small / 2, middle[1] - small / 2
    axes.add_patch(Rectangle(corner, small, small, fill=False, edgecolor=colour, linewidth=1.5))
    axes.text(corner[0] + 0.4, corner[1] + 0.4, str(place), color=colour, fontsize=8, va="top", weight="bold")


def mosaic(pixels: Any, places: Any) -> Any:
    """The quarters of a quadrant where they lie, and the coarse glimpse below them; pixels: coarse, four quarters."""
    small = pixels.shape[-1]
    made = np.full((3 * small + GAP, 2 * small), pixels.min())
    (row, column, _), *quarters = places
    for quarter, (y, x, _) in zip(pixels[1:], quarters, strict=True):
        top, left = small * (y > row), small * (x > column)
        made[top : top + small, left : left + small] = quarter
    first = small // 2
    made[2 * small + GAP :, first : first + small] = pixels[0]
    return made


def draw_reads(axes: Any, pixels: Any, attention: Any, low: float, high: float) -> None:
    """The glimpses in a row; arcs from each that reads to those that it attended to, as thick as their weight."""
    from fastweights.explorer.figure import FAINT, arc, legend

    small, time = pixels.shape[-1], len(pixels)
    most = float(np.abs(attention).max()) or 1.0
    shown = [(t, tau) for t, tau in np.argwhere(np.abs(attention) > FAINT * most).tolist()]
    for t, tau in shown:
        arc(axes, tau, t, max((a - b for a, b in shown), default=1), attention[t, tau] / most)
    legend(axes, most)
    row = np.full((small, time * (small + 1)), high)
    for t in range(time):
        row[:, t * (small + 1) : t * (small + 1) + small] = pixels[t]
    axes.imshow(row, cmap="gray", vmin=low, vmax=high, extent=(-0.5, time - 0.5, -0.24, -0.02), aspect="auto")
    axes.set(xlim=(-0.6, time - 0.4), ylim=(-0.26, 1.05), yticks=[], xticks=range(0, time, 6))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    heading(axes, "What the reads attended to")
