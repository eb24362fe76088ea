"""Figures from run folders alone; no model is touched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastweights import runs

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
QUANTITIES = {
    "accuracy": ("valid_accuracy", "validation accuracy"),
    "loss": ("valid_loss", "validation loss (nats)"),
    "gradient_norm": ("gradient_norm", "gradient norm before clipping"),
}


def plot_runs(folders: Sequence[Path], output: Path) -> list[Path]:
    """accuracy, loss and gradient norm against updates, each as PNG and SVG into `output`; returns the files."""
    curves = [(*name_of(folder, folders), runs.read_rows(folder / runs.METRICS)) for folder in folders]
    curves = sorted((c for c in curves if c[2]), key=lambda curve: -curve[2][-1]["valid_accuracy"])
    if not curves:
        raise runs.RunError(f"{folders[0]}: got runs without a finished epoch, wanted at least one")
    figures = {
        name: draw(curves, column, label, log_scale=column != "valid_accuracy")
        for name, (column, label) in QUANTITIES.items()
    }
    runs.make_folder(output)  # once all that can go wrong has gone well
    written = []
    for name, figure in figures.items():
        for ending in ("png", "svg"):
            written.append(output / f"{name}.{ending}")
            figure.savefig(written[-1], dpi=150)
    return written


def name_of(folder: Path, folders: Sequence[Path]) -> tuple[str, dict[str, Any]]:
    """The model, with its folder where two runs share a model; and the task."""
    described = runs.read_description(folder)
    model = described["model"]
    twins = [f for f in folders if runs.read_description(f)["model"] == model]
    return (model if len(twins) == 1 else f"{model} ({folder.name})"), described["task"]


def draw(curves: Sequence[Any], column: str, label: str, log_scale: bool) -> Any:
    from matplotlib.figure import Figure

    from fastweights.tasks import make_task

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, _, rows) in enumerate(curves):
        colour, dash, marker = STYLES[place % len(STYLES)]
        axes.plot(
            [row["update"] for row in rows],
            [row[column] for row in rows],
            color=colour, linestyle=dash, marker=marker, markersize=4, markevery=max(1, len(rows) // 12), label=name,
        )  # fmt: skip
    floors = {"valid_accuracy": "guess_floor", "valid_loss": "guess_loss"}
    tasks = {tuple(sorted(task.items())) for _, task, _ in curves}
    if column in floors and len(tasks) == 1:
        task = make_task(curves[0][1])
        floor = getattr(task, floors[column])
        axes.axhline(floor, color="#666666", linewidth=1, linestyle=(0, (2, 2)), label=f"guess floor ({floor:.3g})")
    axes.set_xlabel("updates")
    axes.set_ylabel(label)
    if log_scale:
        axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


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


def tidy(axes: Any, x_label: str, y_label: str, floor: float) -> None:
    """Labels, and the line of guessing."""
    axes.axhline(floor, color="#666666", linewidth=1, linestyle=(0, (2, 2)), label=f"guess floor ({floor:.3g})")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)


def save(figure: Any, path: Path) -> list[Path]:
    """PNG and SVG, the same bytes from the same records."""
    from matplotlib import rc_context

    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context({"svg.hashsalt": "fastweights"}):
        for ending, about in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            written.append(path.with_name(f"{path.name}.{ending}"))
            figure.savefig(written[-1], dpi=150, metadata=about)
    return written
