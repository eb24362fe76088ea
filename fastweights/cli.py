"""The command line. A command imports what it needs when it runs: `fastweights --help` waits for no torch."""

import contextlib
import io
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import TypeVar

from fastweights.errors import UserError, in_one_line, near
from fastweights.own import fault_of_own

T = TypeVar("T")

COMMANDS = {
    "data": ("data", "draw sequences of a task into CSV files"),
    "train": ("train", "train one model, or several side by side"),
    "sample": ("sample", "ask a trained model, and see what it attended to"),
    "diagnose": ("diagnose", "how loud the memory of a trained model is, by layer and step"),
    "plot": ("plot", "draw the metric, loss and gradient norm of runs"),
    "bench": ("bench", "cost of training and of one step, beside nn.LSTM and nn.GRU"),
    "reproduce": ("reproduce", "train the table of a paper, and set ours beside it"),
    "backends": ("backends", "what can run here, and why the others cannot"),
}

HELP = """usage: fastweights COMMAND [options]

Networks with fast weights: a memory matrix that is written while a sequence
is read (Ba et al. 2016).

commands:
{commands}

`fastweights COMMAND --help` lists the options of a command. An example:
  fastweights train RNN-LN-FW --run runs/first --epochs 10
  fastweights sample RNN-LN-FW 'g5o8k1??g' --run runs/first"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 after bad input, 1 after a fault of ours, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP.format(commands="\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        from fastweights import __version__

        print(__version__)
        return 0
    try:
        return command(arguments[0])(arguments[1:]) or 0
    except KeyboardInterrupt as stopped:
        print(f"fastweights: stopped{'; ' + str(stopped) if str(stopped) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except (UserError, OSError) as error:  # what the system refuses, a full disk say, is no fault of ours either
        print(f"fastweights: error: {in_one_line(error)}", file=sys.stderr)
        return 2
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and not error.code:  # --help has been answered
            raise
        if said := fault_of_own(error):
            print(f"fastweights: error: {said}", file=sys.stderr)
            return 2
        from fastweights.commands.faults import OURS, PLEASE

        traceback.print_exc()
        print(PLEASE, file=sys.stderr)
        return OURS


def command(name: str) -> Callable[[list[str]], int | None]:
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}{near(name, COMMANDS)} (commands: {', '.join(COMMANDS)})")
    return import_module(f"fastweights.commands.{COMMANDS[name][0]}").main


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


if __name__ == "__main__":
    sys.exit(main())
