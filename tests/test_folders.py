"""Every file of a run, result, data or figure folder in turn replaced by what is no file of ours.

A command then ends with 0, or with 2 and one line that names the file; nothing outside the folder changes, and nothing
waits for a FIFO.
"""

import contextlib
import os
import random
import re
import resource
import shutil
import socket

import pytest
from hangs import no_hang

from fastweights import cli, files
from fastweights.errors import UserError
from fastweights.papers.table import pages
from fastweights.training import run_folder

TINY = "--hidden-size 8 --epochs 2 --train-size 128 --valid-size 64 --batch-size 64 --num-pairs 2".split()
KINDS = (
    "link", "link to the old file", "dangling link", "link to itself", "link to a folder", "fifo", "socket", "folder",
    "empty", "noise", "lines of noise", "null", "of another run",
)  # fmt: skip
RUN_FILES = (*run_folder.FILES, run_folder.LOCK)


def go(*arguments):
    try:
        with no_hang():
            return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of one model with other seeds, one of another model and task, and two data folders."""
    from in_process import run_jobs_here

    where = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        for name, model, extra in (
            ("run", "RNN-LN-FW", []), ("twin", "RNN-LN-FW", ["--seed", 1]), ("other", "GRU", ["--task", "adding"]),
        ):  # fmt: skip
            given = TINY if "--task" not in extra else TINY[:-2]
            assert (
                cli.main(["train", model, *map(str, [*given, *extra, "--run", where / name])]) == 0
            )  # may compile kernels
        for name, task in (("data", "associative-retrieval"), ("other-data", "copying")):
            assert go("data", task, "--train", 128, "--valid", 64, "--output", where / name) == 0
        assert go("plot", where / "run") == 0
    return where


def replace(path, kind, other):
    """`path` is no longer what it was; returns the files outside that must stay."""
    outside = path.parent.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    if path.exists():
        os.rename(path, outside / "old")
    if kind == "link":
        path.symlink_to(outside / "precious")
    elif kind == "link to the old file":
        path.symlink_to(outside / ("old" if (outside / "old").exists() else "precious"))
    elif kind == "dangling link":
        path.symlink_to(outside / "nothing")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "link to a folder":
        path.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(path.parent):
            bound.bind(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "of another run":
        if other.exists():
            shutil.copy(other, path)
    else:
        noise = random.Random(0).randbytes(2**20)
        lines = noise.replace(b"e", b"\n")
        path.write_bytes(
            {"empty": b"", "noise": noise.replace(b"\n", b""), "lines of noise": lines, "null": b"null"}[kind]
        )
    return outside


def look(folder):
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def judge(code, capsys, name, outside, before, where):
    _, err = capsys.readouterr()
    assert code in (0, 2), (where, err)
    assert look(outside) == before, where
    if code == 2:
        last = err.splitlines()[-1]
        assert last.startswith("fastweights: error: ") and name in last, (where, err)
        assert last.isprintable() and len(last) < 1500 and "Traceback" not in err, err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RUN_FILES)
def test_a_file_of_a_run_that_is_none(name, kind, trained, tmp_path, jobs_here, capsys):
    commands = [
        ("sample", "RNN-LN-FW", "a1b2??a", "--run", tmp_path / "run"),
        ("diagnose", "RNN-LN-FW", "--sequences", 4, "--run", tmp_path / "run"),
        ("train", "RNN-LN-FW", *TINY, "--resume", "--run", tmp_path / "run"),
    ]
    if name in (run_folder.CONFIG, run_folder.METRICS):
        commands.append(("plot", tmp_path / "run"))
    shutil.copytree(trained / "run", tmp_path / "run", ignore=shutil.ignore_patterns("figures"))
    for other in ("twin", "other") if kind == "of another run" else ("twin",):
        shutil.rmtree(tmp_path / "outside", ignore_errors=True)
        outside = replace(tmp_path / "run" / name, kind, trained / other / name)
        before = look(outside)
        for command in commands:
            code = go(*command)
            judge(code, capsys, name, outside, before, (command, other))
        if kind == "of another run" and (outside / "old").exists():
            shutil.copy(outside / "old", tmp_path / "run" / name)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "noise" not in kind and kind not in ("empty", "null")])
@pytest.mark.parametrize("name", ["figures", "figures/accuracy.png", "figures/loss.svg"])
def test_a_figure_that_is_none(name, kind, trained, tmp_path, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    outside = replace(tmp_path / "run" / name, kind, trained / "run/figures/accuracy.png")
    before = look(outside)
    code = go("plot", tmp_path / "run")
    judge(code, capsys, name, outside, before, name)
    assert kind == "of another run" or name == "figures" or code == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["train.csv", "valid.csv", "data.json"])
def test_a_file_of_sequences_that_is_none(name, kind, trained, tmp_path, jobs_here, capsys):
    shutil.copytree(trained / "data", tmp_path / "data")
    outside = replace(tmp_path / "data" / name, kind, trained / "other-data" / name)
    before = look(outside)
    commands = [
        ("train", "GRU", *TINY[:-2], "--data", tmp_path / "data", "--run", tmp_path / "run"),
        ("data", "copying", "--train", 5, "--valid", 5, "--output", tmp_path / "data"),
    ]
    for command in commands:
        code = go(*command)
        judge(code, capsys, "data" if code == 2 and command[0] == "data" else name, outside, before, command)
        assert code == 2 and not (tmp_path / "run").exists()


TABLE_FILES = ["results/toy/A-8-seed0.json", "results/toy/search.json", *(f"runs/A-8-seed0/{n}" for n in RUN_FILES)]


# every kind, and of the files of a run every second: `reproduce` reads them as `train` does
@pytest.mark.parametrize(
    "name, kind",
    [(name, kind) for row, name in enumerate(TABLE_FILES) for column, kind in enumerate(KINDS)
     if row < 2 or (row + column) % 2],
)  # fmt: skip
def test_a_file_of_a_table_that_is_none(name, kind, toy, tmp_path, capsys):
    shutil.copytree(toy / "results/toy", tmp_path / "results/toy")
    for each in ("A-8-seed0", "B-8-seed0"):
        shutil.copytree(toy / "runs/toy" / each, tmp_path / "runs" / each)
    other = toy / (
        "results/toy/A-8-seed1.json" if "results" in name else name.replace("runs/A-8-seed0", "runs/toy/B-8-seed0")
    )
    outside = replace(tmp_path / name, kind, other)
    before = look(outside)
    given = ("reproduce", "toy", "--seeds", 1, "--run", tmp_path / "runs", "--results", tmp_path / "results")
    for extra in ((), ("--missing",)):
        code = go(*given, *extra)
        judge(code, capsys, name.rpartition("/")[2], outside, before, extra)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_is_none(kind, toy, tmp_path, monkeypatch, capsys):
    for place, path in enumerate((tmp_path / f"{kind}/docs/papers.md", tmp_path / f"{kind}/figures/toy.svg")):
        monkeypatch.setattr(pages, "PAGE", tmp_path / f"{kind}/docs/papers.md")
        monkeypatch.setattr(pages, "FIGURES", tmp_path / f"{kind}/figures")
        path.parent.mkdir(parents=True, exist_ok=True)
        outside = replace(path, kind, toy / "toy_paper.py")
        before = look(outside)
        code = go("reproduce", "toy", "--render", "--results", toy / "results")
        judge(code, capsys, path.name, outside, before, path)
        shutil.rmtree(tmp_path / kind)
        assert code == (0 if kind in ("empty", "noise", "lines of noise", "null", "of another run") else 2), place


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_measurements_that_is_none(kind, tmp_path, monkeypatch, capsys):
    def measured(*given, **options):
        return []

    monkeypatch.setattr("fastweights.bench.bench", measured)
    (tmp_path / "here").mkdir()
    outside = replace(tmp_path / "here/found.json", kind, tmp_path / "none")
    before = look(outside)
    code = go("bench", "--json", tmp_path / "here/found.json")
    judge(code, capsys, "found.json", outside, before, kind)


def test_a_folder_that_a_command_chose_is_no_link(trained, tmp_path, monkeypatch, jobs_here, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs/GRU").symlink_to(tmp_path / "outside")
    assert go("train", "GRU", *TINY) == 2
    assert "runs/GRU: got a symbolic link, wanted a folder" in capsys.readouterr().err
    assert not any((tmp_path / "outside").iterdir())
    assert go("train", "GRU", *TINY, "--run", "runs/GRU") == 0  # the user has named it


def test_what_a_killed_process_left_is_no_link_either(trained, tmp_path, jobs_here, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "precious").write_text("precious")
    for name in run_folder.FILES:
        (tmp_path / f"run/.{name}.{os.getpid()}.part").symlink_to(tmp_path / "precious")
    code = go("train", "RNN-LN-FW", *TINY, "--resume", "--run", tmp_path / "run")
    err = capsys.readouterr().err
    assert code == 2 and ".part: got a symbolic link" in err, err
    assert (tmp_path / "precious").read_text() == "precious"


# a disk that is full


@contextlib.contextmanager
def full_above(size):
    """No file can grow above this size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1000, 5000])
def test_a_full_disk_is_named_and_leaves_nothing_half(room, trained, toy, tmp_path, jobs_here, monkeypatch, capsys):
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "results/toy").mkdir(parents=True)
    whole = files_of(tmp_path / "run")
    monkeypatch.setattr(pages, "PAGE", tmp_path / "docs/papers.md")
    monkeypatch.setattr(pages, "FIGURES", tmp_path / "docs/figures")
    for command, says in (
        (("data", "copying", "--train", 500, "--valid", 500, "--output", tmp_path / "data"), "data/train.csv: got File"),
        (("plot", tmp_path / "run"), "run/figures/.*: got File"),
        (("train", "GRU", *TINY, "--run", tmp_path / "new"), "new/.*: got File too large, wanted room for it; free some"),
        (("reproduce", "toy", "--only", "B-8", "--run", "runs/toy", "--results", tmp_path / "results"), "B-8-seed0.json: got"),
        (("reproduce", "toy", "--render", "--results", toy / "results"), "docs/.*: got File"),
    ):  # fmt: skip
        if room == 5000 and "B-8" in command:
            continue  # it fits
        with full_above(room):
            code = go(*command)
        err = capsys.readouterr().err.splitlines()
        assert code == 2 and re.search(says, err[-1]), err
        assert "free some, or choose another" in err[-1]
    assert files_of(tmp_path / "run") == whole
    assert not files_of(tmp_path / "data") and not files_of(tmp_path / "docs") and not files_of(tmp_path / "results")
    assert not list(tmp_path.rglob("*.part"))
    assert go("train", "GRU", *TINY, "--resume", "--run", tmp_path / "new") == 0  # what is there goes on


def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / "rows"
    path.write_text("one\n")
    with full_above(8), pytest.raises(UserError, match="rows: got File too large, wanted room for it"):
        files.append(path, "a longer line\n")
    assert path.read_text() == "one\n"
