"""The networks whose memories are compared: blocks that differ in the update rule alone, attention, and an LSTM."""

from typing import Any

from fastweights.papers.cell import Cell
from fastweights.rules import GLA, Delta, DeltaProduct, GatedDelta, KimiDelta, LinearAttention, Retention
from fastweights.training.networks import Blocks
from fastweights.training.setup import Setup

MODEL = "FastWeightsModel"
RULES: dict[str, Any] = {
    "sum": LinearAttention(normalize=False),
    "retention": Retention(),
    "GLA": GLA(),
    "delta": Delta(),
    "gated-delta": GatedDelta(),
    "Kimi-delta": KimiDelta(),
    "delta-product": DeltaProduct(),
}
LSTM = "nn.LSTM"


def network(row: str, **options: Any) -> tuple[str, Any]:
    """The model and its options: two blocks of one head without an MLP, where the options do not say otherwise."""
    if row == LSTM:
        return LSTM, None
    given = {"heads": 1, "layers": 2, "mlp": 0, **options}
    if row == "attention":
        shape = {name: given[name] for name in ("heads", "layers", "mlp")}
        return MODEL, Blocks(attention=tuple(range(1, given["layers"] + 1)), **shape)
    return MODEL, Blocks(RULES[row], **given)


def cell(name: str, row: str, task: Any, settings: Any, made: tuple[str, Any]) -> Cell:
    return Cell(name, row, "paper", Setup(made[0], task, settings, made[1]))


def panel(axes: Any, records: list[dict[str, Any]], rows: dict[str, str], column: str = "valid_accuracy") -> None:
    """Curves of the cells, {name: row}, against updates."""
    from fastweights.plotting import plot_band, style

    for place, (name, row) in enumerate(rows.items()):
        plot_band(axes, [record for record in records if record["cell"] == name], column, row, style(place))


def against_bytes(axes: Any, records: list[dict[str, Any]], rows: dict[str, str], statistic: str) -> None:
    """A statistic of the test sequences against the measured bytes of the state; cells of one row are joined."""
    from fastweights.papers.table.results import tested
    from fastweights.plotting import style

    for place, row in enumerate(dict.fromkeys(rows.values())):
        colour, dash, marker = style(place)
        points = []
        for name in (name for name, each in rows.items() if each == row):
            mine = [record for record in records if record["cell"] == name]
            values = [tested(record, statistic) for record in mine]
            if values:
                size = tested(mine[0], "state_bytes")
                points.append((size, sum(values) / len(values)))
                axes.plot([size, size], [min(values), max(values)], color=colour, alpha=0.4)
        if points:
            axes.plot(*zip(*sorted(points), strict=True), color=colour, linestyle=dash, marker=marker, label=row)
    axes.set_xscale("log")
