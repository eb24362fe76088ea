"""The options of a command from its arguments."""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from fastweights.errors import UserError, near

T = TypeVar("T")
COLUMNS = "COLUMNS"  # what a terminal is as wide as, where that is set
PARSING = r"^Error parsing (?!-)[\w-]+: |^Error parsing "
# options that may be left out: their help says what is done then
MaybePath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
MaybeName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
MaybeOwn = Annotated[str | None, tyro.conf.arg(metavar="PACKAGE.MODULE:CLASS", help_behavior_hint="")]
MaybeCount = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
UNBROKEN, LISTED = 10_000, 80  # columns: of a line of any length, and of boxes one below the other


class UnknownOptions(UserError):
    """Options that a command does not have: as they were written, and what is said of each."""

    def __init__(self, said: dict[str, str], way_out: str) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in said.items()) + way_out)
        self.said, self.way_out = said, way_out


def parse(options: type[T], arguments: list[str], prog: str) -> T:
    """The options of a command from its arguments; what is wrong with them is said in one line."""
    for before, argument in itertools.pairwise([prog, *arguments]):  # as a path, nothing would be the current folder
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            after = argument or before
            raise UserError(f"got an empty argument after {after}, wanted a value (an unset variable of the shell?)")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(options, args=arguments, prog=prog)
    except SystemExit as stop:
        if not stop.code:
            raise
    with caught(UNBROKEN) as said, contextlib.suppress(SystemExit):
        tyro.cli(options, args=arguments, prog=prog)
    raise complaint(in_box(said.getvalue()), options, prog)


@contextlib.contextmanager
def caught(columns: int) -> Iterator[io.StringIO]:
    """What is written on both streams, as where there is no terminal: without colours, and so wide."""
    said, before = io.StringIO(), os.environ.get(COLUMNS)
    os.environ[COLUMNS] = str(columns)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield said
    finally:
        os.environ.pop(COLUMNS)
        if before is not None:
            os.environ[COLUMNS] = before


def in_box(said: str) -> str:
    """What a box says below its title and above the next rule."""
    lines = [line.strip("│─╭╮╰╯- \n") for line in said.splitlines()]
    told = list(itertools.dropwhile(lambda line: not line, lines[1:]))
    return " ".join(itertools.takewhile(bool, told))


def complaint(text: str, options: type, prog: str) -> UserError:
    way_out = f" (`{prog} --help` lists the options)"
    what, colon, words = text.partition(": ")
    if not colon or not what.startswith("Unrecognized"):
        return UserError(re.sub(PARSING, "", text).rstrip(".") + way_out)
    names = [word.partition("=")[0] for word in words.split(", ") if word.startswith("-")]
    if not names:
        return UserError(f"got {words}, wanted no more arguments{way_out}")
    known = known_options(options, prog)
    return UnknownOptions({name: f"no such option{near(name, known, least=0.6)}" for name in names}, way_out)


def known_options(options: type, prog: str) -> list[str]:
    """As the help lists them."""
    with caught(LISTED) as streams, contextlib.suppress(SystemExit):
        tyro.cli(options, args=["--help"], prog=prog)
    return re.findall(r"^[│|\s]*(--[a-z][\w-]*)", streams.getvalue(), re.MULTILINE)
