"""The terminal as rich writes to it: texts as they are, for what stands in a file is no markup."""

from typing import Any

from rich.console import Console


def console(**settings: Any) -> Console:
    return Console(markup=False, emoji=False, highlight=False, **settings)
