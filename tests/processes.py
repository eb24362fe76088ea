"""Commands in processes of their own, for what only a process has: signals, streams, a path."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = "--hidden-size 8 --train-size 256 --valid-size 64 --batch-size 64 --num-pairs 2 --schedule constant".split()


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def begin(where, *arguments, before=lambda: None, **options):
    """`fastweights` with these arguments; `before` runs in the child before it is a Python."""

    def prepare():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored, where the tests run in a background
        before()

    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    command = [sys.executable, "-m", "fastweights", *map(str, arguments)]
    return subprocess.Popen(command, cwd=where, text=True, preexec_fn=prepare, **given)


def until(reached, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.01)


def minds(process, number):
    """Whether the process has taken a signal, by what Linux says of it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1


def workers_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
