"""Commands that are killed at random moments.

A process that has imported all that commands need forks one for each: a kill then costs no start of Python and torch.
Its runs are trained in the process of the command. `started` makes processes as users have them.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "OMP_NUM_THREADS": "1"}


class Command:
    """One that runs; it writes what it says into `said`."""

    def __init__(self, pid: int, said: Path, code: Path | None, process: subprocess.Popen | None = None) -> None:
        self.pid, self.said, self.code, self.process = pid, said, code, process

    def ended(self, seconds: float) -> int | None:
        """Its exit code; None where it still runs after so long."""
        until = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > until:
                return None
            time.sleep(0.002)
        return self.process.returncode if self.process else int(self.code.read_text() or -1)

    def alive(self) -> bool:
        return self.process.poll() is None if self.process else is_alive(self.pid)

    def kill(self, whom: str = "all") -> None:
        """All of its processes, the command alone, or those that it has started; returns when none is left."""
        others = children(self.pid)
        for pid in {"all": [self.pid, *others], "command": [self.pid], "workers": others}[whom]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        until = time.monotonic() + 120
        while any(is_alive(pid) for pid in [self.pid, *others]):
            assert time.monotonic() < until, "a process does not end"
            time.sleep(0.002)


class Forks:
    """The process that forks commands."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__], env={**os.environ, **ENVIRONMENT}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.server.stdout.readline() == "ready\n"
        self.count = 0

    def start(self, arguments: list[str], folder: Path, beside: Path) -> Command:
        self.count += 1
        said, code = beside / f"said{self.count}", beside / f"code{self.count}"
        code.touch()
        asked = {"arguments": arguments, "folder": str(folder), "said": str(said), "code": str(code)}
        print(json.dumps(asked), file=self.server.stdin, flush=True)
        return Command(int(self.server.stdout.readline()), said, code)

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()


def started(arguments: list[str], folder: Path, beside: Path) -> Command:
    said = beside / "said"
    with open(said, "w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "fastweights.cli", *arguments], cwd=folder, env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    return Command(process.pid, said, None, process)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """Those of a process, and theirs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found


def serve() -> None:
    """Fork a command for each line, and print the number of its process."""
    import torch

    torch.set_num_threads(1)
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
    import pytest
    from in_process import run_jobs_here

    from fastweights import bench, cli, papers, plotting  # noqa: F401
    from fastweights.commands import data, plot, train  # noqa: F401
    from fastweights.commands import reproduce as command
    from fastweights.ops.fast_weights_rnn import cpu_kernels  # noqa: F401
    from fastweights.papers.table import pages
    from fastweights.training import provenance, run, trial  # noqa: F401

    provenance.commit()
    bench.bench = lambda *given, **options: None  # it writes once, when all is measured
    for module in (papers, pages, command):
        module.PAPERS = {"toy": "toy_paper"}
    run_jobs_here(pytest.MonkeyPatch())
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.chdir(asked["folder"])
            said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, said), (2, said)):
                os.dup2(file, number)
            code = cli.main(asked["arguments"])
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
            code = 1
        Path(asked["code"]).write_text(str(code))
        os._exit(0)


if __name__ == "__main__":
    serve()
