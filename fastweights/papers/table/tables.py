"""The table of a paper beside ours, for a terminal of 80 columns and for the page."""

from rich.table import Table

from fastweights.papers.table.results import Summary

HEADS = ("model", "paper", "ours", "95%", "seeds", "guess", "to 99%", "updates", "time", "params")


def fields(row: Summary) -> tuple[str, ...]:
    """Errors in per cent; `guess`: that of the guess floor."""
    paper = "" if row.reported is None else f"{row.reported:.2f}"
    if row.error is None:
        return (row.name, paper, "", "", "0", f"{row.guess:.2f}", "", "", "", "")
    interval = "" if row.error.interval is None else "{:.2f}-{:.2f}".format(*row.error.interval)
    return (
        row.name, paper, f"{row.error.mean:.2f}", interval, str(row.seeds), f"{row.guess:.2f}",
        "never" if row.to_99 is None else thousands(row.to_99), thousands(row.updates),
        duration(row.seconds), thousands(row.parameters),
    )  # fmt: skip


def thousands(number: float) -> str:
    if number < 1000:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}k" if number < 100_000 else f"{number / 1000:.0f}k"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 3600 else f"{seconds / 3600:.1f}h"


def terminal(rows: list[Summary]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in HEADS:
        table.add_column(head, justify="left" if head == "model" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*fields(row))
    return table


def markdown(rows: list[Summary]) -> str:
    lines = ["| " + " | ".join(HEADS) + " |", "| --- |" + " ---: |" * (len(HEADS) - 1)]
    lines += ["| " + " | ".join(fields(row)) + " |" for row in rows]
    return "\n".join(lines)
