"""`--data` from standard input, from a pipe of the shell and from a FIFO: read once, by as many models as there are."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import fastweights
from fastweights import cli, files
from fastweights.errors import UserError
from fastweights.training import run_folder

ROOT = Path(__file__).parent.parent
TINY = "--hidden-size 8 --epochs 1 --batch-size 32".split()
LINES = "a1b2??a,1\nc3d4??d,4\n" * 50
OWN = "AB,x\nBA,y\n" * 50


def hashes(folder):
    return run_folder.read_description(folder)["data"]


@pytest.fixture
def wanted(tmp_path, jobs_here, capsys):
    (tmp_path / "own.csv").write_text(LINES)
    assert cli.main(["train", "GRU", *TINY, "--data", str(tmp_path / "own.csv"), "--run", str(tmp_path / "file")]) == 0
    capsys.readouterr()
    return hashes(tmp_path / "file")


def test_a_stream_of_the_shell(wanted, tmp_path):
    command = f"{sys.executable} -m fastweights.cli train GRU CONTROL {' '.join(TINY)} --run runs --data"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        ["bash", "-c", f"cat own.csv | {command} /dev/stdin"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "runs/GRU") == hashes(tmp_path / "runs/CONTROL") == wanted
    assert not any((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("kind", ["< own.csv", "<(cat own.csv)"])
def test_a_descriptor_that_a_shell_has_opened(kind, wanted, tmp_path, jobs_here, capsys):
    if kind == "< own.csv":
        number = os.open(tmp_path / "own.csv", os.O_RDONLY)
    else:
        number, end = os.pipe()
        os.write(end, LINES.encode())
        os.close(end)
    code = cli.main(["train", "GRU", "CONTROL", *TINY, "--data", f"/dev/fd/{number}", "--run", str(tmp_path / "runs")])
    os.close(number)
    assert code == 0, capsys.readouterr().err
    assert hashes(tmp_path / "runs/GRU") == hashes(tmp_path / "runs/CONTROL") == wanted


def test_a_fifo_that_somebody_writes_into(wanted, tmp_path, jobs_here, capsys):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text(LINES))
    writer.start()
    code = cli.main(["train", "GRU", *TINY, "--data", str(tmp_path / "pipe"), "--run", str(tmp_path / "run")])
    writer.join()
    assert code == 0 and hashes(tmp_path / "run") == wanted, capsys.readouterr().err


@pytest.mark.parametrize(
    "kind, says",
    [
        ("fifo", "given: got a FIFO that nobody writes into, wanted lines"),
        ("device", "/dev/zero: got a character device"),
        ("closed", "/dev/fd/987: "),
        ("words", "given, line 1: got 'hello' with 1 column, wanted symbols"),
    ],
)
def test_a_stream_that_cannot_be_read(kind, says, tmp_path, monkeypatch, jobs_here, capsys):
    monkeypatch.setattr(files, "WRITER_WAIT", 0.1)
    given, writer = tmp_path / "given", threading.Thread(target=lambda: None)
    if kind in ("fifo", "words"):
        os.mkfifo(given)
    if kind == "words":
        monkeypatch.setattr(files, "WRITER_WAIT", 5.0)
        writer = threading.Thread(target=lambda: given.write_text("hello\n"))
    path = {"device": "/dev/zero", "closed": "/dev/fd/987"}.get(kind, str(given))
    writer.start()
    code = cli.main(["train", "GRU", *TINY, "--data", path, "--run", str(tmp_path / "run")])
    writer.join()
    err = capsys.readouterr().err
    assert code == 2 and says.replace("wanted lines", "wanted") in err and err.count("\n") == 1, err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("jobs_here")
@pytest.mark.parametrize("command", ["train GRU CONTROL", "sweep GRU --seeds 2"])
def test_a_stream_tells_its_task_as_a_file_does(command, tmp_path, capsys):
    (tmp_path / "own.csv").write_text(OWN)
    with open(tmp_path / "own.csv") as file:
        stream = f"/dev/fd/{file.fileno()}"
        code = cli.main([*command.split(), *TINY, "--data", stream, "--run", str(tmp_path / "runs")])
    err = capsys.readouterr().err
    assert code == 0 and f"note: {stream} is read as own-lines: 2 symbols" in err, err
    for folder in run_folder.find_runs(tmp_path / "runs"):
        assert run_folder.read_description(folder)["task"]["name"] == "own-lines"


def test_a_stream_tells_its_task_in_python(tmp_path):
    for lines, name in ((OWN, "own-lines"), (LINES, "associative-retrieval")):
        (tmp_path / "own.csv").write_text(lines)
        with open(tmp_path / "own.csv") as file:
            where = f"/dev/fd/{file.fileno()}"
            run = fastweights.train("GRU", data=where, folder=tmp_path / name, hidden_size=8, epochs=1, batch_size=32)
        assert name == run.task.NAME


def test_a_text_that_no_memory_holds(tmp_path, monkeypatch):
    (tmp_path / "large.csv").write_text(LINES)
    monkeypatch.setattr(files.memory, "available", lambda: 1000.0)
    with pytest.raises(UserError, match="large.csv: got more than 125.0 bytes, wanted what the free memory can hold"):
        files.read_named(tmp_path / "large.csv")
