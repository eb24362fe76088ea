"""A toy paper that is trained once, and `fastweights reproduce` on it, for the tests of reproductions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run
from in_process import run_jobs_here

from fastweights import cli, papers
from fastweights.commands import reproduce as command
from fastweights.papers.table import pages

ROOT = Path(__file__).parent.parent
TOY = Path(__file__).with_name("toy_paper.py").read_text()
GO = """import sys
from fastweights import cli, papers
papers.PAPERS = {"toy": "toy_paper"}
sys.exit(cli.main(["reproduce", *sys.argv[1:]]))
"""
FILES = {"A-8-seed0.json", "A-8-seed1.json", "B-8-seed0.json"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """With the toy paper, and its table trained."""
    where = tmp_path_factory.mktemp("toy")
    (where / "toy_paper.py").write_text(TOY)
    (where / "go.py").write_text(GO)
    with pytest.MonkeyPatch.context() as patch:
        go_to(where, patch)
        run_jobs_here(patch)
        assert cli.main(["reproduce", "toy"]) == 0
    assert {path.name for path in (where / "results/toy").iterdir()} == FILES
    return where


def start(where, *arguments, **environment):
    paths = os.pathsep.join([str(ROOT), str(where)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "go.py", *arguments], cwd=where, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def toy_in_processes(folder, monkeypatch):
    go_to(folder, monkeypatch)
    return folder


@pytest.fixture
def toy(toy_in_processes, jobs_here):
    return toy_in_processes


def go_to(folder, patch):
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    for module in (papers, pages, command):
        patch.setattr(module, "PAPERS", {"toy": "toy_paper"})
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))


def reproduce(capsys, *arguments):
    return run(capsys, "reproduce", *arguments)


def no_processes(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a process was started")

    monkeypatch.setattr("fastweights.jobs.runner._start", refuse)
