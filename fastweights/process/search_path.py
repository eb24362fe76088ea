"""Where modules are found: nothing that lies in the current folder takes the place of what is installed."""

import os  # like sys, it is there before any folder is searched
import sys

INSTALLED = ("site-packages", "dist-packages", "lib-dynload")


def leave_out_current_folder() -> None:
    """Off the path with it, whoever put it there; where PYTHONPATH names it in full, it is searched last."""
    here = current_folder()
    if here in ("", os.path.dirname(os.path.realpath(os.__file__))) or os.path.basename(here) in INSTALLED:
        return
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
    if any(os.path.realpath(entry) == here for entry in named()):
        sys.path.append(here)


def named() -> list[str]:
    """What PYTHONPATH has for a process that is started here: the current folder last, and only if named in full."""
    here = current_folder()
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if not here:
        return entries
    last = [entry for entry in entries if os.path.isabs(entry) and os.path.realpath(entry) == here]
    return [entry for entry in entries if os.path.realpath(entry) != here] + last


def current_folder() -> str:
    try:
        return os.path.realpath(os.getcwd())
    except OSError:  # it has been deleted
        return ""
