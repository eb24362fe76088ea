"""The curve as a picture, PNG and SVG."""

from pathlib import Path

from fastweights.bench.settings import Record
from fastweights.plotting import STYLES, save

PANELS = {
    "curve time": ("steps", "steps", ((1, "time x hidden²"), (2, "time² x hidden"))),
    "curve hidden": ("hidden", "hidden units", ((2, "time x hidden²"), (1, "time² x hidden"))),
}


def draw_curve(records: list[Record], folder: Path) -> list[Path]:
    """Seconds of forward and backward against time and hidden units, log-log, with the slopes that they may have."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    figure.suptitle("Cost of forward and backward")
    names = list(dict.fromkeys(r.contender for r in records if r.measure in PANELS and r.value is not None))
    for place, (measure, (field, label, slopes)) in enumerate(PANELS.items()):
        axes = figure.add_subplot(1, 2, place + 1)
        timed = [r for r in records if r.measure == measure and r.value is not None]
        for number, name in enumerate(names):
            own = [r for r in timed if r.contender == name]
            colour, dash, marker = STYLES[number % len(STYLES)]
            at, middle = [getattr(r, field) for r in own], [1e3 * (r.value or 0.0) for r in own]
            axes.plot(at, middle, color=colour, linestyle=dash, marker=marker, markersize=4, label=name)
            low, high = ([1e3 * (getattr(r, side) or 0.0) for r in own] for side in ("low", "high"))
            axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        if timed:
            ends = sorted({getattr(r, field) for r in timed})
            start = 1e3 * min(r.value for r in timed if getattr(r, field) == ends[0] and r.value is not None)
            for power, text in slopes:
                line = [0.5 * start * (end / ends[0]) ** power for end in ends]
                axes.plot(ends, line, color="#999999", linewidth=1, linestyle=(0, (2, 2)))
                beside = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
                axes.annotate(text, (ends[-1], line[-1]), color="#666666", fontsize=8, **beside)
        other = next((r for r in timed), None)
        if other is not None:
            fixed = f"hidden {other.hidden}" if field == "steps" else f"{other.steps} steps"
            axes.set_title(f"batch {other.batch}, {fixed}", fontsize=10)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("forward and backward (ms)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    figure.axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.2, 0.5))
    return save({folder / "curve": figure})
