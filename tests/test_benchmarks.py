"""The scripts whose numbers the docs quote run on the code as it is, in a small form."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_kernels(monkeypatch, capsys):
    found = script("cpu_kernel")
    monkeypatch.setattr(found, "SHAPES", [(3, 5)])
    monkeypatch.setattr(found, "ROUNDS", 2)
    found.kernel()
    assert len(capsys.readouterr().out.splitlines()) == 4  # two of heads, with and without an inner step


def test_glimpses(monkeypatch, capsys, made_up_pictures):
    found = script("glimpses")
    monkeypatch.setattr(found, "ROUNDS", 1)
    monkeypatch.setattr(found, "PICTURES", 20)
    found.cutting()
    found.updates(50)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 7 and [line.split()[0] for line in out[3:]] == ["LSTM", "FW", "IRNN", "ConvNet"]


@pytest.mark.parametrize("part", ["train", "long", "stream"])
def test_the_path_of_a_user(part, monkeypatch, capsys):
    found = script("users_path")
    compare = found.compare
    monkeypatch.setattr(found, "compare", lambda title, functions, rounds, parts=1: compare(title, functions, 1, parts))
    getattr(found, part)()
    assert "FastWeightsRNN" in capsys.readouterr().out
