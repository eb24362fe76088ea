"""A table on standard output."""

from rich.table import Table

from fastweights.commands.consoles import console

WIDEST = 1000  # columns


def print_table(table: Table) -> None:
    """As wide as it is: a narrow terminal breaks its lines, and nothing is cut."""
    console(width=WIDEST, soft_wrap=True).print(table)
