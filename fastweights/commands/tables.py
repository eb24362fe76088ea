"""A table on standard output."""

from rich.console import Console
from rich.table import Table

WIDEST = 1000  # columns


def print_table(table: Table) -> None:
    """As wide as it is: a narrow terminal breaks its lines, and nothing is cut."""
    Console(width=WIDEST, soft_wrap=True).print(table)
