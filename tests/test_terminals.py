"""What is shown, where, and how wide: logs, terminals that can draw nothing, narrow ones, and names with signs in them."""

import io
import logging
import os
import re
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from rich.table import Table

from fastweights.commands import live, tables
from fastweights.jobs.cores import usable
from fastweights.jobs.job import Job
from fastweights.jobs.runner import Status
from fastweights.ops.cpu import launch
from fastweights.plotting import Curve, draw
from fastweights.tasks import AssociativeRetrieval
from fastweights.training.metric import Metric
from fastweights.training.setup import Setup

SETUP = Setup("RNN-LN-FW", AssociativeRetrieval())
ROW = {"valid_accuracy": 0.4321, "valid_loss": 1.2345}


def status(folder="run", **known):
    given = {"state": "running", "update": 12_345, "updates": 100_000, "seconds": 61.0, "row": ROW}
    return Status(Job(SETUP, Path(folder)), **given | known)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(live, "time", made)
    return made


def test_a_log_has_a_line_for_each_tenth_and_each_half_minute_of_silence(clock):
    said = []
    printer = live.Printer(lambda job: str(job.folder), said.append)

    def after(seconds, *statuses):
        clock.now += seconds
        said.clear()
        printer(list(statuses))
        return said[:]

    begun, first = status("a", update=0, updates=0, row=None), status("a", update=999, row=None, seconds=9.0)
    assert after(0, begun) == [] and after(29, begun) == []
    assert after(1, begun) == ["a: starting"]
    assert after(29, first) == []
    assert after(1, first, status("b", state="waiting")) == ["a: update 999 of 100,000, 892 s left"]
    assert after(1, status("a", update=9_999)) == []
    tenth = status("a", update=10_000)
    assert after(1, tenth) == ["a: update 10,000 of 100,000, accuracy 43.21%, 549 s left"]
    assert after(29, tenth) == [] and len(after(1, tenth)) == 1
    assert after(0, status("a", update=100_000, state="done")) == ["a: update 100,000 of 100,000, accuracy 43.21%"]
    assert after(99, status("a", update=100_000, state="done")) == []
    assert after(0, status("c", update=9, said=["compiling\n", "done\n"])) == ["compiling", "done"]
    assert after(0, status("c", update=9, saved=7, asked=7)) == ["c: saved at update 7 of 100,000, and goes on"]
    assert after(0, status("c", update=9, saved=9, asked=7)) == []


@pytest.mark.parametrize("term, variables, drawn", [
    ("xterm", {}, True), ("dumb", {}, False), ("unknown", {}, False), ("xterm", {"FORCE_COLOR": "1"}, True),
])  # fmt: skip
def test_a_terminal_that_cannot_draw_gets_lines(term, variables, drawn, monkeypatch):
    for name, value in {"TERM": term, **variables}.items():
        monkeypatch.setenv(name, value)
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb"), os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with live.view(lambda job: "") as view:
            assert isinstance(view, live.Printer) is not drawn
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # a log, whatever a build server says of colours
    with live.view(lambda job: "") as view:
        assert isinstance(view, live.Printer)


WRONG = {
    "train RNN-LN-FW --dekay 0.9": "--dekay: no such option; did you mean --decay? (`fastweights train --help` lists the options)",
    "plot --outputt x": "--outputt: no such option; did you mean --output? (`fastweights plot --help` lists the options)",
    "train GRU --seed": "Missing value for argument '--seed'. Expected 1 values (`fastweights train --help` lists the options)",
    "train GRU-LN --decay 1 --clipp=3": "--decay: no such option here; --decay is an option of `train RNN-LN-FW`, "
                                        "`train MULTI-LEVEL`, `train FastWeightsTransducer`; --clipp: no such option; did you mean --clip? (`fastweights train --help` lists the options)",
    "backends cpu": "got cpu, wanted no more arguments (`fastweights backends --help` lists the options)",
}  # fmt: skip


@pytest.mark.parametrize("width", [0, 80, 20])
def test_a_wrong_option_is_one_line_on_any_terminal(width):
    code = f"from fastweights import cli\nfor line in {list(WRONG)}: print('code', cli.main(line.split()), flush=True)"
    leader, follower = os.openpty() if width else os.pipe()
    if width:
        termios.tcsetwinsize(follower, (24, width))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parent.parent)}
    environment.pop("COLUMNS", None)
    streams = {"stdout": follower, "stderr": follower, **({"stdin": follower} if width else {})}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **streams) as process:
        os.close(follower)
        said = b""
        with suppress(OSError):  # Linux's end of a terminal
            while part := os.read(leader, 4096):
                said += part
    os.close(leader)
    assert process.returncode == 0
    assert said.decode().splitlines() == [
        line for text in WRONG.values() for line in (f"fastweights: error: {text}", "code 2")
    ]


@pytest.mark.parametrize("width", [80, 60, 40, 30, 20])
def test_a_narrow_table_of_progress_has_whole_numbers(width, capsys):
    from rich.console import Console

    runs = [status(), status(state="failed"), status(state="waiting", update=0, updates=0, row=None)]
    Console(width=width).print(live.progress_table(runs, lambda job: "FW-renamed-20-seed0", width))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(len(line) <= width for line in lines)
    assert set(re.findall(r"\d[\d.,%]*", lines[1].partition(" ")[2])) <= {
        "12,345",
        "100,000",
        "43.21%",
        "1.2345",
        "61",
        "433",
    }
    assert re.search(r"43\.21% .*433 s$", lines[1].rstrip())
    assert ("FW-renamed-20-seed0" in lines[1]) is (width >= 40)


@pytest.mark.parametrize("columns", ["10", "40"])
def test_a_table_of_results_is_as_wide_as_its_numbers(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    table = Table(box=None, pad_edge=False)
    for head in range(9):
        table.add_column(str(head), no_wrap=True)
    table.add_row(*["1,234,567.89"] * 9)
    tables.print_table(table)
    assert capsys.readouterr().out.splitlines()[1].split() == ["1,234,567.89"] * 9


NAMES = ["a $x^2$ b", "_hidden", r"\frac{1}{2}", "$", "half $open"]


def test_a_figure_has_names_as_they_are():
    metric = Metric("accuracy of $all$", "higher", {})
    rows = [{"update": 1, f"valid_{metric.name}": 0.5}, {"update": 2, f"valid_{metric.name}": 0.6}]
    figure = draw([Curve(name, metric, {}, [rows]) for name in NAMES], metric.name)
    axes = figure.axes[0]
    shown = axes.get_legend().get_texts()
    assert [text.get_text() for text in shown] == NAMES
    assert not any(text.get_parse_math() for text in (*shown, axes.yaxis.label))
    figure.savefig(io.BytesIO(), format="svg")


GROUPS = {
    "none": ({}, None),
    "second": ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "250000 100000\n"}, 2),
    "second, in a container": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
    "first": ({"proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/docker/x\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
               "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 3),
    "first, without one": ({"proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None),
    "odd": ({"proc/self/cgroup": "x\n0::/../..\n", "sys/fs/cgroup/cpu.max": "many 0\n"}, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPS)
def test_processors_are_those_that_this_process_may_use(kind, tmp_path, monkeypatch):
    files, quota = GROUPS[kind]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert usable(tmp_path) == (quota or 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert usable(tmp_path) == 1


@pytest.mark.parametrize("compiles", [True, False])
def test_only_what_is_compiled_is_said_to_be(compiles, monkeypatch, caplog):
    import threading
    from types import SimpleNamespace

    import torch
    from numba.core import event

    warned = threading.Event()
    logger = logging.getLogger("fastweights")
    monkeypatch.setattr(logger, "warning", lambda *said: warned.set())
    monkeypatch.setattr(launch, "PATIENCE", 0.01)
    monkeypatch.setattr(launch, "_ready", {})

    def kernel(*arguments):
        if not compiles:
            return warned.wait(0.3)  # a slow disk
        with event.trigger_event("numba:compile", data={}):
            return warned.wait(60)

    monkeypatch.setattr(launch.importlib, "import_module", lambda name: SimpleNamespace(step=kernel))
    assert launch.launch("x", "step", torch.float32) is compiles
