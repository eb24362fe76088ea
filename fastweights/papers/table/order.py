"""Which networks of a table are apart: an order that three seeds do not bear out is not told."""

from fastweights.papers.cell import Cell
from fastweights.papers.table.results import Record, tested
from fastweights.papers.table.tables import Titled
from fastweights.training.evaluation import over_seeds
from fastweights.training.metric import show

FEWEST = 3  # seeds: of two rows that are alike, three seeds each put one wholly below the other once in ten times
Intervals = dict[str, tuple[float, tuple[float, float]]]


def intervals(cells: list[Cell], found: dict[str, list[Record]], statistic: str) -> Intervals:
    """{name: (mean, interval)} of the cells with three seeds and more, the highest first."""
    several = {cell.name: [tested(record, statistic) for record in found[cell.name]] for cell in cells}
    told = {name: over_seeds(values) for name, values in several.items() if len(values) >= FEWEST}
    known = {name: (mean, interval) for name, (mean, interval) in told.items() if interval is not None}
    return dict(sorted(known.items(), key=lambda each: -each[1][0]))


def order(cells: list[Cell], found: dict[str, list[Record]], statistic: str) -> list[tuple[str, ...]]:
    """A row for each cell of enough seeds: its mean and interval, and the cells whose intervals lie wholly below."""
    known = intervals(cells, found, statistic)
    rows = {cell.name: cell.row for cell in cells}
    told = []
    for name, (mean, (low, high)) in known.items():
        below = [rows[other] for other, (_, (_, top)) in known.items() if top < low]
        span = f"{show(statistic, low)}-{show(statistic, high)}"
        told.append((rows[name], show(statistic, mean), span, ", ".join(below) or "none"))
    return told


def apart(what: str, cells: list[Cell], found: dict[str, list[Record]], statistic: str) -> list[Titled]:
    """A table of that order; none where fewer than two cells have enough seeds."""
    rows = order(cells, found, statistic)
    return [Titled(what, ("network", "accuracy", "95%", "above"), rows)] if len(rows) > 1 else []
