"""How an input may end: in a UserError of one line, or a command with 0 or 2 and one line."""

import contextlib
import io
from typing import Any

from fastweights import cli
from fastweights.errors import in_one_line


def said(error: BaseException) -> None:
    line = in_one_line(error)
    assert line.isprintable() and len(line) < 1500, line


def command(*arguments: Any) -> int:
    """In this process; the jobs of a command are not done, but taken as done."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code or 0
    lines = err.getvalue().splitlines()
    assert code in (0, 2), (code, err.getvalue())
    assert "Traceback" not in err.getvalue(), err.getvalue()
    if code == 2:
        assert lines[-1].startswith("fastweights: error: "), err.getvalue()
        assert lines[-1].isprintable() and len(lines[-1]) < 1500, lines[-1]
    assert "\x1b" not in out.getvalue() + err.getvalue() and "\x07" not in out.getvalue() + err.getvalue(), (
        arguments,
        lines,
    )
    return code
