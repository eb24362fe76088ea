"""What a symbol of an answer costs against the length of its source, as a picture, PNG and SVG."""

from pathlib import Path

from fastweights.bench.settings import Record
from fastweights.plotting import STYLES, save

NAMES = ("attention", "additive-attention", "delta", "linear", "slots", "nn.GRU", "FastWeightsRNN")


def draw_decoding(records: list[Record], folder: Path) -> list[Path]:
    """A panel a batch, log-log; of each decoder the faster of its two forms."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    batches = list(dict.fromkeys(r.batch for r in records))
    figure = Figure(figsize=(1.6 + 4.2 * len(batches), 4.2), layout="constrained")
    figure.suptitle("A symbol of an answer, by the length of its source")
    for place, batch in enumerate(batches):
        axes = figure.add_subplot(1, len(batches), place + 1)
        timed = [r for r in records if r.batch == batch and r.measure == "symbol" and r.value is not None]
        for name, (colour, dash, marker) in zip(NAMES, STYLES, strict=True):
            best: dict[int, Record] = {}
            for each in timed:
                before = best.get(each.steps)
                if each.contender.removesuffix(" compiled") == name and (
                    before is None or (each.value or 0.0) < (before.value or 0.0)
                ):
                    best[each.steps] = each
            own = [best[steps] for steps in sorted(best)]
            low, middle, high = ([1e6 * (getattr(r, side) or 0.0) for r in own] for side in ("low", "value", "high"))
            at = [r.steps for r in own]
            axes.plot(at, middle, color=colour, linestyle=dash, marker=marker, markersize=4, label=name)
            axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set(title=f"batch {batch}", xscale="log", yscale="log", xlabel="symbols of the source")
        axes.set_ylabel("microseconds a symbol")
        for axis, locator in (
            (axes.xaxis, FixedLocator(sorted({r.steps for r in timed}))),
            (axes.yaxis, LogLocator(subs=(1.0, 2.0, 5.0))),
        ):
            axis.set_major_locator(locator)
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.set_minor_locator(NullLocator())
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    figure.axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return save({folder / "decode": figure})
