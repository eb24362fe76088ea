"""The options of a command from its arguments."""

import contextlib
import io
import re
from itertools import pairwise
from typing import TypeVar

from fastweights.errors import UserError

T = TypeVar("T")


def parse(options: type[T], arguments: list[str], prog: str) -> T:
    """The options of a command from its arguments; what tyro says of bad ones, in one line."""
    import tyro

    for before, argument in pairwise([prog, *arguments]):  # as a path, nothing would be the current folder
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            after = argument or before
            raise UserError(f"got an empty argument after {after}, wanted a value (an unset variable of the shell?)")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(options, args=arguments, prog=prog)
    except SystemExit as stop:
        if not stop.code:
            raise
        # a box: its title stands in the rule above, or above a rule where the terminal has plain characters alone
        lines = [line for line in said.getvalue().splitlines() if not line.startswith(("╭", "╰"))]
        lines = lines[1:] if lines and lines[0].strip().endswith(" error") else lines
        text = " ".join(filter(None, (line.strip("│─ \n") for line in lines if line.strip().strip("-"))))
        text = text.split("For full helptext")[0].split("Argument helptext")[0]
        text = re.sub(r"^Error parsing (?!-)[\w-]+: ", "", text.strip())
        raise UserError(f"{text} (`{prog} --help` lists the options)") from None
