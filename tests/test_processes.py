"""What a process promises: its exit code, what a signal does, and that output which nobody reads stops nothing."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from processes import ROOT, SMALL, begin, environment, minds, until, workers_of

from fastweights import cli
from fastweights.process import codes, signals
from fastweights.training.checkpoints import load_checkpoint

ENDLESS = ["GRU-LN", *SMALL, "--epochs", "100000"]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc says what other processes are and do")
STOPPED = "fastweights: stopped; --resume goes on with it"


def train(folder, *more):
    return begin(folder, "train", *ENDLESS, "--run", "run", *more)


def under_way(process, folder):
    until((folder / "run" / "checkpoint.safetensors").exists, process)


def last_line(process):
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err and process.returncode == codes.STOPPED, err
    return err.splitlines()[-1]


def saved_at(line):
    return int(re.search(r"saved at update ([\d,]+) of ", line)[1].replace(",", ""))


@ON_LINUX
def test_told_to_stop_or_to_save(tmp_path, capsys):
    """Each of two commands in its own way; the other one is saved first, and goes on."""
    started = {}
    for name in ("worker", "parent"):
        (tmp_path / name).mkdir()
        started[name] = train(tmp_path / name)
    for name, process in started.items():
        under_way(process, tmp_path / name)
    os.kill(workers_of(started["worker"])[0], signal.SIGXCPU)
    started["parent"].send_signal(signal.SIGUSR1)
    for line in started["parent"].stderr:
        if "saved" in line:
            break
    assert re.fullmatch(r"GRU-LN: saved at update [\d,]+ of 400,000, and goes on\n", line)
    asked = saved_at(line)
    started["parent"].send_signal(signal.SIGTERM)
    for _ in range(5):
        started["parent"].send_signal(signal.SIGINT)
    for name, process in started.items():
        line = last_line(process)
        assert line.startswith(f"{STOPPED}; GRU-LN is saved at update "), line
        _, header = load_checkpoint(tmp_path / name / "run" / "checkpoint.safetensors")
        assert header["progress"]["update"] == saved_at(line)
    assert saved_at(line) > asked
    folder = tmp_path / "parent" / "run"
    assert cli.main(["train", *ENDLESS, "--epochs", "1", "--run", str(folder), "--resume"]) == codes.DONE
    assert re.search(r"^GRU-LN +\d+\.\d\d%", capsys.readouterr().out, re.M)


@ON_LINUX
def test_ctrl_c_while_a_command_starts(tmp_path):
    """Five times, at moments from its first line to the import of torch: one line, and nothing is written."""
    for delay in (0.0, 0.03, 0.1, 0.2, 0.4, 0.8):
        process = train(tmp_path)
        until(lambda process=process: minds(process, signal.SIGTERM), process)
        time.sleep(delay)
        for _ in range(5):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (codes.STOPPED, STOPPED + "\n"), delay
    assert list(tmp_path.iterdir()) == []


WORKER = """
import os, sys, time
from fastweights.process import signals
heard = signals.watched(int(sys.argv[1]))
heard.unsaved = lambda: {unsaved}
print("begun", flush=True)
while not heard.stop:
    time.sleep(0.01)
print("saved", flush=True)
heard.unsaved = lambda: False
time.sleep(60)
"""


@pytest.mark.parametrize("number", signals.STOP)
@pytest.mark.parametrize("unsaved", [True, False])
def test_a_worker_saves_what_is_unsaved_and_ends(unsaved, number):
    command = [sys.executable, "-c", WORKER.format(unsaved=unsaved), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stdout.read() in (("saved\n",) if unsaved else ("", "saved\n"))
    assert process.returncode == codes.STOPPED


HANGS = """
import sys, time
from fastweights.process import signals
signals.GRACE = signals.LOOK = 0.1
signals.watched(int(sys.argv[1])).unsaved = lambda: True
print("begun", flush=True)
time.sleep(60)
"""


def test_a_worker_that_does_not_come_to_save_ends_all_the_same():
    command = [sys.executable, "-c", HANGS, str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.stdout.read() == "" and process.wait() == codes.STOPPED


PARENT = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=sys.stderr)
"""


def test_a_worker_whose_parent_is_gone_stops():
    command = [sys.executable, "-c", PARENT, WORKER.format(unsaved=False)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0 and done.stderr.startswith("begun")  # and it is closed: the worker has ended


def light(*arguments, **options):
    process = begin(ROOT, *arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["data", "--help"]])
def test_standard_output_that_is_full_or_closed_is_told_in_one_line(arguments):
    with open("/dev/full", "w") as full:
        found = [light(*arguments, stdout=full), light(*arguments, before=lambda: os.close(1))]
    for code, _, err in found:
        assert code == codes.NOT_DONE, err
        assert re.fullmatch(r"fastweights: error: standard output: got .+, wanted room: .+\n", err), err


def test_output_that_nobody_reads_stops_nothing(tmp_path):
    read, write = os.pipe()
    os.close(read)
    assert light("--help", stdout=write) == (codes.DONE, None, "")
    process = begin(tmp_path, "train", "GRU-LN", *SMALL, "--epochs", 2, "--run", "run", stdout=write, stderr=write)
    os.close(write)
    mute = begin(
        tmp_path, "train", "RNN", "--run", "none", stdout=None, stderr=None, before=lambda: os.closerange(0, 3)
    )
    assert process.wait(120) == codes.DONE and (tmp_path / "run" / "final.json").exists()
    assert mute.wait(120) == codes.NOT_DONE and not (tmp_path / "none").exists()


def test_a_current_folder_that_is_gone_is_told_in_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    process = begin(tmp_path / "gone", "plot", before=lambda: os.rmdir(os.getcwd()))
    _, err = process.communicate(timeout=60)
    assert process.returncode == codes.NOT_DONE and re.fullmatch("fastweights: error: .+\n", err), err


TALKS = """
import sys
from fastweights.process import streams
streams.begin()
for line in range(100_000):
    print("a line that nobody reads", file=sys.stderr)
print("done")
"""


def test_a_reader_that_does_not_read_holds_nothing_up():
    read, write = os.pipe()
    command = [sys.executable, "-c", TALKS]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, text=True, env=environment(), timeout=60)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert (done.stdout, done.returncode) == ("done\n", 0)
        assert pipe.readline() == "a line that nobody reads\n"


def test_the_page_has_every_exit_code():
    page = (ROOT / "docs" / "promises.md").read_text()
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)}
    known = {value for name, value in vars(codes).items() if name.isupper()}
    assert table == known


SHADOWS = ["random", "typing", "signal", "json", "threading", "traceback", "inspect", "select", "subprocess", "logging"]
MISSING = ["pandas", "IPython", "opt_einsum", "yaml", "cupy", "dill", "torchvision", "colorama", "triton", "scipy"]
INTRUDER = """import os, sys
with open(os.path.join(os.path.dirname(__file__), "executed"), "a") as file:
    print(__name__, file=file)
"""


def intrude(folder):
    """Files that take the place of Python's modules, and of such that may or may not be installed."""
    for name in (*SHADOWS, *MISSING):
        (folder / f"{name}.py").write_text(INTRUDER)


def test_nothing_of_the_current_folder_runs_but_the_class_that_is_named(tmp_path):
    """`python -m` puts the current folder first, and so does an empty entry of PYTHONPATH."""
    intrude(tmp_path)
    (tmp_path / "beside.py").write_text("import torch\nGRU = torch.nn.GRU\n")
    (tmp_path / "mine.py").write_text("from beside import GRU\n\n\nclass Net(GRU):\n    pass\n")
    process = begin(
        tmp_path, "train", "mine:Net", *SMALL, "--epochs", 1, "--run", "run",
        env=environment(PYTHONPATH=os.pathsep + str(ROOT)),
    )  # fmt: skip
    _, err = process.communicate(timeout=120)
    executed = tmp_path / "executed"
    assert not executed.exists(), executed.read_text()
    assert process.returncode == 0 and (tmp_path / "run" / "final.json").exists(), err
