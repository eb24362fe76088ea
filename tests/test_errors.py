"""What is the user's is one line and exit code 2; a fault of the library is a traceback and exit code 1."""

import os

import pytest

from fastweights import cli
from fastweights.errors import UserError, out_of_memory
from fastweights.jobs import runner
from fastweights.optim import flat_adamw
from fastweights.training import data, description

TINY = "--hidden-size 8 --epochs 1 --train-size 256 --valid-size 64 --batch-size 64".split()
FAULTS = [TypeError, AttributeError, RuntimeError, LookupError, KeyError, ValueError, AssertionError, ZeroDivisionError]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "arguments, where, name",
    [
        (["data", "copying", "--train", "5", "--valid", "5"], data, "to_lines"),
        (["train", "GRU", *TINY], description, "describe"),
        (["plot", "runs"], description.run_folder, "find_runs"),
        (["sample", "GRU", "a1b2c3??a"], description.run_folder, "read_description"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_fault_of_the_library_shows_its_traceback(arguments, where, name, fault, tmp_path, monkeypatch, capsys):
    def broken(*given, **options):
        raise fault("planted")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/GRU").mkdir(parents=True)
    (tmp_path / "runs/GRU/config.json").write_text("{}")
    monkeypatch.setattr(where, name, broken)
    assert cli.main([*arguments, *(["--run", "runs/GRU"] if arguments[0] in ("train", "sample") else [])]) == 1
    said = capsys.readouterr()
    assert "Traceback" in said.err and "planted" in said.err and "a fault of fastweights, not yours" in said.err


def test_a_fault_in_a_process_of_its_own_shows_its_traceback_too(tmp_path, monkeypatch, capsys):
    """Planted where a worker starts: the command that waits for it shows the lines, and writes no table."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        f"if {str(runner.START)!r} in sys.orig_argv:\n"
        "    from fastweights.training import loop\n"
        "    def broken(*given): raise TypeError('planted')\n"
        "    loop.training_step = broken\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", paths)
    assert cli.main(["train", "GRU", *TINY, "--run", str(tmp_path / "run")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" in err and "TypeError: planted" in err and "please report" in err


def test_no_memory_is_the_users_and_another_runtime_error_is_not():
    for error in (
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried"),
        RuntimeError("can't allocate memory: 4 TB"),
    ):
        wanted = pytest.raises(UserError, match="got too little memory .*; choose a smaller --hidden-size")
        with wanted, out_of_memory("--hidden-size"):
            raise error
    with pytest.raises(RuntimeError, match="planted"), out_of_memory("--hidden-size"):
        raise RuntimeError("planted")


def test_the_family_is_one():
    from fastweights.ops import UnsupportedBackend
    from fastweights.tasks import BadSequence
    from fastweights.training.loop import NonFiniteLoss
    from fastweights.training.run_folder import RunError, RunLocked

    for kind in (UnsupportedBackend, BadSequence, NonFiniteLoss, RunError, RunLocked):
        assert issubclass(kind, UserError)
    assert flat_adamw.UserError is UserError
