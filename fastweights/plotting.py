"""Figures from run folders alone; no model is touched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastweights import files
from fastweights.errors import plain
from fastweights.files import FileError
from fastweights.training import run_folder
from fastweights.training.metric import Metric

# Okabe and Ito's colours, told apart by the colour-blind; markers and dashes tell them apart in grey.
STYLES = [
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", "-.", "^"),
    ("#CC79A7", ":", "D"),
    ("#E69F00", (0, (5, 1)), "v"),
    ("#56B4E9", (0, (3, 1, 1, 1)), "P"),
    ("#000000", (0, (1, 1)), "X"),
]
LABELS = {"loss": "validation loss", "gradient_norm": "gradient norm before clipping"}
ENDINGS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
MARKS = 12  # on a curve


@dataclass(frozen=True)
class Curve:
    """What one run folder says: the name in the legend, how it is judged, and a row an epoch."""

    name: str
    metric: Metric
    task: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def plot_runs(folders: Sequence[Path], output: Path) -> list[Path]:
    """The tasks' metrics, loss and gradient norm against updates, each as PNG and SVG into `output`; the files."""
    curves = [curve for curve in read_curves(folders) if curve.rows]
    if not curves:
        raise FileError(f"{folders[0] / run_folder.METRICS}: got no finished epoch, wanted at least one")
    names = [*dict.fromkeys([*(curve.metric.name for curve in curves), "loss", "gradient_norm"])]
    for name in names:  # before the time is spent
        for ending in ENDINGS:
            files.check(output / f"{name}.{ending}")
    figures = {name: draw(curves, name) for name in names}
    return save({output / name: figure for name, figure in figures.items() if figure is not None})


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """The runs; the folder is named where two of them share a model."""
    described = {folder: run_folder.read_description(folder) for folder in folders}
    models = [each["model"] for each in described.values()]
    found = []
    for folder, each in described.items():
        model = each["model"]
        name = model if models.count(model) == 1 else f"{model} ({plain(folder.name)})"
        rows = run_folder.read_rows(folder / run_folder.METRICS)
        found.append(Curve(name, Metric.stored(each), each["task"], rows))
    return found


def draw(curves: Sequence[Curve], quantity: str) -> Any:
    """One quantity of all runs that have it, those that end best first; None where none has it."""
    from matplotlib.figure import Figure

    column = quantity if quantity == "gradient_norm" else f"valid_{quantity}"
    shown = [curve for curve in curves if all(isinstance(row.get(column), int | float) for row in curve.rows)]
    if not shown:
        return None
    higher = any(curve.metric.name == quantity and curve.metric.better == "higher" for curve in shown)
    shown.sort(key=lambda curve: curve.rows[-1][column], reverse=higher)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, curve in enumerate(shown):
        colour, dash, marker = STYLES[place % len(STYLES)]
        axes.plot(
            [row["update"] for row in curve.rows],
            [row[column] for row in curve.rows],
            color=colour, linestyle=dash, marker=marker, markersize=4,
            markevery=max(1, len(curve.rows) // MARKS), label=curve.name,
        )  # fmt: skip
    floor = shown[0].metric.floors.get(quantity)
    tidy(axes, "updates", LABELS.get(quantity, f"validation {quantity.replace('_', ' ')}"),
         floor if all(curve.task == shown[0].task for curve in shown) else None)  # fmt: skip
    if not higher and all(row[column] > 0 for curve in shown for row in curve.rows):
        axes.set_yscale("log")
    name_lines(axes)
    return figure


def name_lines(axes: Any) -> None:
    """The legend: names as they are, where matplotlib reads `$` as mathematics and leaves out what begins with `_`."""
    lines = axes.get_lines()
    legend = axes.legend(
        lines, map(str, range(len(lines))), frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    for text, line in zip(legend.get_texts(), lines, strict=True):
        text.set_parse_math(False)
        text.set_text(line.get_label())


def plot_band(
    axes: Any, records: Sequence[Mapping[str, Any]], column: str, label: str, style: Sequence[Any], per_x: float = 1
) -> None:
    """The mean curve of several seeds of one cell, and the range between the lowest and the highest of them."""
    if not records:
        return
    length = min(len(record["curve"]["update"]) for record in records)
    updates = [update / per_x for update in records[0]["curve"]["update"][:length]]
    curves = list(zip(*(record["curve"][column][:length] for record in records), strict=True))
    colour, dash, marker = style
    axes.plot(
        updates, [sum(values) / len(values) for values in curves],
        color=colour, linestyle=dash, marker=marker, markersize=4, markevery=max(1, length // 8), label=label,
    )  # fmt: skip
    if len(records) > 1:
        low, high = [min(values) for values in curves], [max(values) for values in curves]
        axes.fill_between(updates, low, high, color=colour, alpha=0.15, linewidth=0)


def tidy(axes: Any, x_label: str, y_label: str, floor: float | None) -> None:
    """Labels, and the line of guessing, if there is one."""
    if floor is not None:
        axes.axhline(floor, color="#666666", linewidth=1, linestyle=(0, (2, 2)), label=f"guess floor ({floor:.3g})")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)


def save(figures: Mapping[Path, Any], beside: Mapping[Path, bytes] = MappingProxyType({})) -> list[Path]:
    """PNG and SVG of each, and other files with them: all, or none where one cannot be written."""
    contents = dict(beside)
    for path, figure in figures.items():
        contents |= drawn(figure, path)
    for folder in {path.parent for path in contents}:
        files.make_folder(folder)
    files.write_all(contents)
    return list(contents)


def drawn(figure: Any, path: Path) -> dict[Path, bytes]:
    """The same bytes from the same records."""
    from matplotlib import rc_context

    made = {}
    with rc_context({"svg.hashsalt": "fastweights"}):
        for ending, about in ENDINGS.items():
            figure.savefig(buffer := BytesIO(), format=ending, dpi=150, metadata=about)
            made[path.with_name(f"{path.name}.{ending}")] = buffer.getvalue()
    return made
