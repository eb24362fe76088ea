"""The tables of docs/which-rule.md, from the committed results: `python docs/memory_tables.py` writes them, and a test
compares. A row names the rows whose intervals lie wholly below its own. Rows of too few seeds for that stand below, in
the order of the paper file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastweights.papers import paper
from fastweights.papers.cell import Cell
from fastweights.papers.table.order import order
from fastweights.papers.table.results import read, tested
from fastweights.training.metric import show

DOCS = Path(__file__).parent
PAGE, RESULTS = DOCS / "which-rule.md", DOCS.parent / "results"
BLOCK = re.compile(
    r"(<!-- (table|figure) ([a-z0-9-]+)(?: ([a-z0-9-]+))?(?: by (\w+))? -->\n).*?(<!-- end -->)", re.DOTALL
)
NONE = "No run is recorded yet."
FEW = {1: "one seed", 2: "two seeds"}


def of(named: str | None) -> Callable[[Cell], bool]:
    """Which cells of a paper: all, those of a task, of so many units, or of so many pairs."""
    if named is None:
        return lambda cell: True
    if match := re.fullmatch(r"(\d+)-units", named):
        return lambda cell: cell.setup.config.hidden_size == int(match[1])
    if match := re.fullmatch(r"(\d+)-pairs", named):
        return lambda cell: getattr(cell.setup.task, "num_pairs", None) == int(match[1])
    return lambda cell: named == cell.setup.task.NAME


def table(name: str, part: str | None, statistic: str | None) -> str:
    module, statistic = paper(name), statistic or "accuracy"
    cells = [cell for cell in module.RUNS if of(part)(cell)]
    found, _ = read(RESULTS / name, module.RUNS)
    told = {row: (span, above) for row, _, span, above in order(cells, found, statistic)}
    places = {row: place for place, row in enumerate(told)}
    lines = ["| network | accuracy | 95% | above | bytes of a stream |", "| --- | ---: | ---: | --- | ---: |"]
    known = [(cell, found[cell.name]) for cell in cells if found[cell.name]]
    for cell, records in sorted(known, key=lambda each: places.get(each[0].row, len(places))):
        span, above = told.get(cell.row, (FEW.get(len(records), ""), "not told"))
        size = show("bytes", tested(records[0], "state_bytes"))
        lines.append(f"| {cell.row} | {show(statistic, mean(records, statistic))} | {span} | {above} | {size} |")
    return "\n".join(lines) if known else NONE


def mean(records: list[dict[str, Any]], statistic: str) -> float:
    return sum(tested(record, statistic) for record in records) / len(records)


def figure(name: str) -> str:
    return f"![{paper(name).TITLE}](figures/{name}.svg)" if (DOCS / "figures" / f"{name}.svg").exists() else NONE


def block(found: re.Match[str]) -> str:
    begin, kind, name, part, statistic, end = found.groups()
    return f"{begin}\n{figure(name) if kind == 'figure' else table(name, part, statistic)}\n\n{end}"


def page(text: str) -> str:
    """The page with the figures and tables of the results as they are."""
    return BLOCK.sub(block, text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
