"""Figures from run folders alone; no model is touched."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from operator import eq
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastweights import files
from fastweights.errors import plain
from fastweights.files import FileError
from fastweights.training import run_folder
from fastweights.training.metric import Metric
from fastweights.training.setup import what_counts

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
TITLED = 2  # tasks that a title names
MARKS = 12  # on a curve
FEW = 3  # settings that tell two curves apart in a legend
LINE, LETTER = 0.25, 0.08  # inches of a line of the legend, and of its letters


@dataclass(frozen=True)
class Curve:
    """What run folders say that differ by their seed alone: their name in the legend, how they are judged, and rows of
    epochs."""

    name: str
    metric: Metric
    task: Mapping[str, Any]
    runs: Sequence[Sequence[Mapping[str, Any]]]

    def of(self, column: str) -> tuple[list[int], list[list[float]]]:
        """The updates up to which all runs have come, and for each of them the values of the runs."""
        together = list(zip(*self.runs, strict=False))
        return [rows[0]["update"] for rows in together], [[row[column] for row in rows] for rows in together]

    def has(self, column: str) -> bool:
        return all(isinstance(row.get(column), int | float) for rows in self.runs for row in rows)


def plot_runs(folders: Sequence[Path], output: Path) -> list[Path]:
    """The tasks' metrics, loss and gradient norm against updates, each as PNG and SVG into `output`; the files."""
    curves = [curve for curve in read_curves(folders) if curve.runs]
    if not curves:
        raise FileError(f"{folders[0] / run_folder.METRICS}: got no finished epoch, wanted at least one")
    names = [*dict.fromkeys([*(curve.metric.name for curve in curves), "loss", "gradient_norm"])]
    for name in names:  # before the time is spent
        for ending in ENDINGS:
            files.check(output / f"{name}.{ending}")
    figures = {name: draw(curves, name) for name in names}
    return save({output / name: figure for name, figure in figures.items() if figure is not None})


def read_curves(folders: Sequence[Path]) -> list[Curve]:
    """The runs, those that differ by their seed alone in one."""
    described = {folder: run_folder.read_description(folder) for folder in folders}
    groups: dict[str, list[Path]] = {}
    for folder, each in described.items():
        groups.setdefault(json.dumps([what_counts(each), given_data(each)], sort_keys=True), []).append(folder)
    apart: list[list[Path]] = []
    for group in groups.values():
        seeds = {str(described[folder]["config"].get("seed")) for folder in group}
        apart += [group] if len(seeds) == len(group) else [[folder] for folder in group]
    found = []
    for group, name in zip(
        apart, names_of([[described[folder] for folder in each] for each in apart], apart), strict=True
    ):
        read = [rows for folder in group if (rows := run_folder.read_rows(folder / run_folder.METRICS))]
        seeds = f" ({len(read)} seeds)" if len(read) > 1 else ""
        first = described[group[0]]
        found.append(Curve(name + seeds, Metric.stored(first), first["task"], read))
    return found


def given_data(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said of the sequences, where they were not drawn as the settings say: their seed changes those."""
    data, config = described.get("data", {}), described["config"]
    sizes = {name: size for name, size in data.items() if name.endswith("_size")}
    return {} if all(config.get(name) == size for name, size in sizes.items()) else data


def names_of(groups: Sequence[Sequence[Mapping[str, Any]]], folders: Sequence[Sequence[Path]]) -> list[str]:
    """The model; where several have one, the few settings that tell them apart, or the name of the folder."""
    models = [group[0]["model"] for group in groups]
    settings = [dict(leaves(what_counts(dict(group[0])))) for group in groups]
    found = []
    for model, mine in zip(models, settings, strict=True):
        others = [each for each, other in zip(settings, models, strict=True) if other == model]
        odd = [name for name in mine if any(each.get(name) != mine[name] for each in others)]
        told = ", ".join(f"{name.replace('_', ' ')} {mine[name]}" for name in odd) if len(odd) <= FEW else ""
        found.append(f"{model}, {told}" if told else model)
    return [name if found.count(name) == 1 else f"{model} ({plain(place)})"
            for name, model, place in zip(found, models, places_of(models, folders), strict=True)]  # fmt: skip


def places_of(models: Sequence[str], folders: Sequence[Sequence[Path]]) -> list[str]:
    """The ends of their paths, without the seeds: the shortest that are all different, and not the model's name."""
    whole = [str(each[0].absolute()) for each in folders]
    seedless = [re.sub(r"[-/]?seed\d+$", "", path) if len(each) > 1 else path
                for path, each in zip(whole, folders, strict=True)]  # fmt: skip
    paths = [short if seedless.count(short) == 1 else path for short, path in zip(seedless, whole, strict=True)]
    for depth in range(1, max(path.count("/") for path in paths) + 1):
        ends = ["/".join(path.split("/")[-depth:]) for path in paths]
        if len(set(ends)) == len(ends) and not any(map(eq, ends, models)):
            return ends
    return paths


def leaves(stored: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The settings by their names, as the command line has them."""
    for name, value in stored.items():
        if isinstance(value, Mapping):
            yield from leaves(value, name)
        else:
            yield (above if name == "name" else name), value


def style(place: int) -> tuple[str, Any, str]:
    """Of a curve: colours come back with other dashes and markers."""
    count = len(STYLES)
    return (
        STYLES[place % count][0],
        STYLES[(place + place // count) % count][1],
        STYLES[(place + place // count) % count][2],
    )


def draw(curves: Sequence[Curve], quantity: str) -> Any:
    """One quantity of all runs that have it, those that end best first; None where none has it. The style of a curve
    is that of its place among all, whatever is drawn of it."""
    from matplotlib.figure import Figure

    column = quantity if quantity == "gradient_norm" else f"valid_{quantity}"
    styles = {curve.name: style(place) for place, curve in enumerate(curves)}
    shown = [curve for curve in curves if curve.has(column)]
    if not shown:
        return None
    higher = any(curve.metric.name == quantity and curve.metric.better == "higher" for curve in shown)
    shown.sort(key=lambda curve: sum(curve.of(column)[1][-1]) / len(curve.runs), reverse=higher)
    wide = max(7, 4.5 + LETTER * max(len(curve.name) for curve in shown))
    figure = Figure(figsize=(wide, max(4.2, LINE * len(shown))), layout="constrained")
    axes = figure.add_subplot()
    for curve in shown:
        band(axes, *curve.of(column), curve.name, styles[curve.name])
    floor = shown[0].metric.floors.get(quantity)
    label = LABELS.get(quantity, f"validation {quantity.replace('_', ' ')}")
    tidy(axes, "updates", label, floor if all(curve.task == shown[0].task for curve in shown) else None)
    axes.set_title(title(label, [curve.task for curve in shown]), parse_math=False, loc="left", fontsize="medium")
    if not higher and all(row[column] > 0 for curve in shown for rows in curve.runs for row in rows):
        axes.set_yscale("log")
    name_lines(axes, "mean and range of seeds" if any(len(curve.runs) > 1 for curve in shown) else None)
    return figure


def title(label: str, tasks: Sequence[Mapping[str, Any]]) -> str:
    """What is shown, and on which tasks."""
    names = list(dict.fromkeys(str(task["name"]) for task in tasks if "name" in task))
    more = len(names) - TITLED
    shown = ", ".join(names[:TITLED]) + (f" and {more} more task{'s' * (more > 1)}" if more > 0 else "")
    return f"{label[:1].upper()}{label[1:]}{': ' if shown else ''}{shown}"


def name_lines(axes: Any, title: str | None) -> None:
    """The legend: names as they are, where matplotlib reads `$` as mathematics and leaves out what begins with `_`."""
    lines = axes.get_lines()
    legend = axes.legend(
        lines, map(str, range(len(lines))), title=title, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5)
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
    values = list(zip(*(record["curve"][column][:length] for record in records), strict=True))
    band(axes, updates, values, label, style)


def band(
    axes: Any, updates: Sequence[float], values: Sequence[Sequence[float]], label: str, style: Sequence[Any]
) -> None:
    """The mean of several runs at each update, and the range between the lowest and the highest of them."""
    colour, dash, marker = style
    axes.plot(
        updates, [sum(each) / len(each) for each in values],
        color=colour, linestyle=dash, marker=marker, markersize=4, markevery=max(1, len(values) // MARKS), label=label,
    )  # fmt: skip
    if values and len(values[0]) > 1:
        low, high = map(min, values), map(max, values)
        axes.fill_between(updates, list(low), list(high), color=colour, alpha=0.15, linewidth=0)


def with_error(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record, its curve with the validation error in per cent, too: `valid_error`."""
    curve = record["curve"]
    return {**record, "curve": curve | {"valid_error": [100 * (1 - value) for value in curve["valid_accuracy"]]}}


def legend_of_all(drawn: Any, panels: Any) -> None:
    """One legend beside all panels of a figure, each name once."""
    named = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if named:
        drawn.legend(named.values(), named, frameon=False, loc="outside right upper")


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
