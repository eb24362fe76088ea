"""What a scan costs against the number of tokens, as a picture, PNG and SVG."""

from pathlib import Path

from fastweights.bench.settings import Record
from fastweights.plotting import STYLES, save


def draw_scan(records: list[Record], folder: Path) -> list[Path]:
    """Forward and backward, log-log, with the slopes that they may have."""
    from matplotlib.figure import Figure

    timed = [r for r in records if r.measure == "curve time" and r.value is not None]
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(dict.fromkeys(r.contender for r in timed)):
        own = [r for r in timed if r.contender == name]
        colour, dash, marker = STYLES[place % len(STYLES)]
        low, middle, high = ([1e3 * (getattr(r, side) or 0.0) for r in own] for side in ("low", "value", "high"))
        at = [r.steps for r in own]
        axes.plot(at, middle, color=colour, linestyle=dash, marker=marker, markersize=4, label=name)
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="tokens", ylabel="forward and backward (ms)", yscale="log")
    axes.set_xscale("log", base=2)
    if timed:
        first = timed[0]
        axes.set_title(f"batch {first.batch}, {first.hidden // first.size} heads of {first.size}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return save({folder / "scan": figure})
