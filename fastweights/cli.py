"""The command line: finds the command, and makes of every error one line and an exit code.

Nothing else is imported at first: Ctrl-C is to be ours by then, and the current folder off the path. A command imports
what it needs when it runs: `fastweights --help` waits for no torch.
"""

import sys

from fastweights.process.codes import DONE, NOT_DONE, OURS, STOPPED

TYPE_CHECKING = False  # typing is not imported yet
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS = {
    "data": ("data", "draw sequences of a task into CSV files"),
    "train": ("train", "train one model, or several side by side"),
    "sweep": ("sweep", "train every combination of settings, from several seeds each"),
    "sample": ("sample", "ask a trained model, and see what it attended to"),
    "explore": ("explore", "write a page on which one looks into the memory, and changes it"),
    "diagnose": ("diagnose", "how loud the memory of a trained model is, by layer and step"),
    "play": ("play", "watch a trained agent act an episode"),
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

GOES_ON = {
    "train": "; --resume goes on with it",
    **dict.fromkeys(("sweep", "reproduce"), "; the same command goes on with it"),
}


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run one command; returns its exit code. None: those of this process, which is the command's alone."""
    if arguments is not None:
        return run(list(arguments))
    from fastweights.process.search_path import leave_out_current_folder

    leave_out_current_folder()
    from fastweights.process import signals, streams

    arguments = sys.argv[1:]
    signals.begin(stop_line(arguments))
    streams.begin()
    try:
        code = run(arguments)
    except SystemExit:  # --help has been answered
        code = DONE
    signals.over()
    if code == STOPPED:
        streams.leave(code)
    if (lost := streams.end()) is not None and code == DONE:
        what = "what was to be shown there is lost; what went into files is there"
        print(f"fastweights: error: standard output: got {lost.strerror}, wanted room: {what}", file=sys.stderr)
        return NOT_DONE
    return code


def run(arguments: "list[str]") -> int:
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(HELP.format(commands="\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items())))
            return DONE
        if arguments[0] == "--version":
            from fastweights import __version__

            print(__version__)
            return DONE
        return command(arguments[0])(arguments[1:]) or DONE
    except BaseException as error:
        return explained(error, arguments)


def explained(error: BaseException, arguments: "list[str]") -> int:
    """What an error is to the user, on standard error; the exit code."""
    from fastweights.process import signals

    if isinstance(error, KeyboardInterrupt) or signals.told():  # whatever else an interrupted library makes of it
        signals.over()
        about = f"; {error}" if isinstance(error, KeyboardInterrupt) and str(error) else ""
        print(f"{stop_line(arguments)}{about}", file=sys.stderr)
        return STOPPED
    from fastweights.errors import UserError, in_one_line
    from fastweights.own import fault_of_own

    if isinstance(error, UserError | OSError):  # what the system refuses, a full disk say, is no fault of ours either
        print(f"fastweights: error: {in_one_line(error)}", file=sys.stderr)
        return NOT_DONE
    if (isinstance(error, SystemExit) and not error.code) or not isinstance(error, Exception | SystemExit):
        raise error  # --help has been answered
    if said := fault_of_own(error):
        print(f"fastweights: error: {said}", file=sys.stderr)
        return NOT_DONE
    import traceback

    from fastweights.commands.faults import PLEASE

    traceback.print_exception(error)
    print(PLEASE, file=sys.stderr)
    return OURS


def stop_line(arguments: "list[str]") -> str:
    return f"fastweights: stopped{GOES_ON.get(arguments[0], '') if arguments else ''}"


def command(name: str) -> "Callable[[list[str]], int | None]":
    from importlib import import_module

    if name not in COMMANDS:
        from fastweights.errors import UserError, near

        raise UserError(f"unknown command {name!r}{near(name, COMMANDS)} (commands: {', '.join(COMMANDS)})")
    return import_module(f"fastweights.commands.{COMMANDS[name][0]}").main


if __name__ == "__main__":
    sys.exit(main())
