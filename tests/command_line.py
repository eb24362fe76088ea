"""The command line in the process of the tests, and two runs that it has trained."""

import pytest
from in_process import run_jobs_here

from fastweights import cli

TINY = "--hidden-size 8 --epochs 2 --train-size 256 --valid-size 64 --batch-size 64 --num-pairs 2".split()


def run(capsys, *arguments):
    """Exit code, standard output, standard error."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    return code or 0, said.out, said.err


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        assert cli.main(["train", "RNN-LN-FW", "CONTROL", *TINY, "--run", str(folder)]) == 0
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
