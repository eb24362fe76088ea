"""The command line and Python over runs whose answers are sequences of their own."""

import sys

import pytest
import torch
from command_line import run
from in_process import run_jobs_here

import fastweights
from fastweights import cli
from fastweights.errors import UserError
from fastweights.tasks import Reverse

TINY = "--task reverse --symbols 4 --trained 1 3 --judged 2 4 --hidden-size 8 --batch-size 32 --train-size 64".split()
MEMORY = """
from fastweights.nn.memories import DeltaMemory

class Mine(DeltaMemory):
    pass
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        models = ["EncoderDecoder", "FastWeightsTransducer", "GRU"]
        assert cli.main(["train", *models, *TINY, "--valid-size", "8", "--epochs", "1", "--run", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("model", ["EncoderDecoder", "FastWeightsTransducer", "GRU"])
def test_an_answer_and_what_it_attended_to(model, runs, capsys):
    code, out, err = run(capsys, "sample", model, "abc", "bad", "--run", runs)
    assert (code == 0 and out.count("probability") == 2 and "wrong: cba" in out) or "right" in out, err
    loaded = fastweights.load(runs, model)
    symbols = loaded.task.target.decode(
        fastweights.training.evaluation.decoded(loaded.model, loaded.task, one("abc"))[0]
    )
    assert f"abc -> {symbols}   probability" in out
    if model == "GRU":
        assert "GRU has no method attention(input)" in out or "no symbols" in out
    elif symbols:
        line = out.splitlines()[1]
        assert line.split() == ["read", "for", "a", "b", "c"]


def one(text):
    from fastweights.tasks.pairs import batch_of

    source = Reverse(symbols=4).source.encode(text)
    return batch_of([source], [source[::-1]], 4)


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["sample", "EncoderDecoder", "abz"], "got 'z' as symbol 3 of 'abz', wanted a to d"),
        (["sample", "EncoderDecoder", "abc", "--figure", "a.png"], "--figure: got a run of reverse"),
        (["sample", "GRU"], "got no sequence, wanted one of reverse: `fastweights sample GRU "),
        (["diagnose", "EncoderDecoder"], "got the network EncoderDecoder, wanted a FastWeightsRNN"),
        (["diagnose", "GRU"], "as FastWeightsTransducer has one"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(arguments, says, runs, capsys):
    code, _out, err = run(capsys, *arguments, "--run", runs)
    assert code == 2 and err.count("\n") == 1 and says in err, err


def test_a_transducer_is_diagnosed(runs, capsys):
    code, out, err = run(capsys, "diagnose", "FastWeightsTransducer", "--run", runs, "--sequences", 4)
    assert code == 0 and "read/boundary" in out, err


def test_a_look_into_a_network_is_refused(runs):
    loaded = fastweights.load(runs, "FastWeightsTransducer")
    for look in (lambda: loaded.trace("abc"), loaded.codes, loaded.mistakes):
        with pytest.raises(UserError, match="reverse: got a run whose answers are sequences of their own"):
            look()


def test_the_pairs_of_a_task_are_drawn_into_files(tmp_path, capsys):
    code, out, err = run(capsys, "data", "sort", "--train", 20, "--valid", 5, "--output", tmp_path / "data")
    first = (tmp_path / "data/train.tsv").read_text().splitlines()[0]
    source, answer = first.split("\t")
    assert code == 0 and sorted(source) == list(answer) and "train.tsv (20 lines), valid.tsv (5)" in out, err


def test_a_memory_that_breaks_is_named_with_its_method(tmp_path, monkeypatch):
    (tmp_path / "broken_memory.py").write_text(MEMORY + "\n    def write(self, states, lengths=None):\n        1 / 0\n")
    monkeypatch.chdir(tmp_path)
    says = r"got ZeroDivisionError in write \(broken_memory.py, line \d+\) when tried out: .*; wanted what "
    with pytest.raises(UserError, match=f"broken_memory:Mine: {says}fastweights.nn.memories.Memory says"):
        fastweights.train("EncoderDecoder", Reverse(symbols=4), folder="run", memory="broken_memory:Mine")


def test_a_memory_of_ones_own_has_to_be_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_memory.py").write_text(MEMORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = {"hidden_size": 8, "batch_size": 32, "train_size": 64, "valid_size": 8, "epochs": 1}
    task = Reverse(symbols=4, trained=(1, 3), judged=(2, 4))
    made = fastweights.train("EncoderDecoder", task, folder="run", memory="my_memory:Mine", **settings)
    with pytest.raises(UserError, match=r"holds a run of my_memory:Mine; add .*load\(folder, memory=Mine\)"):
        fastweights.load("run")
    mine = sys.modules["my_memory"].Mine
    again = fastweights.load("run", memory=mine)
    assert all(torch.equal(a, b) for a, b in zip(made.model.parameters(), again.model.parameters(), strict=True))
    assert run(capsys, "sample", "abc", "--run", "run", "--memory", "my_memory:Mine")[0] == 0
    same = fastweights.train("EncoderDecoder", task, folder="other", memory=mine, **settings)
    assert same.network.memory == "my_memory:Mine" and same.curve == made.curve
    monkeypatch.delitem(sys.modules, "my_memory")
