"""What a user can do wrong is one line, exit code 2, and nothing is written."""

import json
import re
import shutil
import sys

import pytest
import torch
from command_line import TINY, contents, run


def bad_input(*arguments, says):
    return pytest.param(arguments, says, id=" ".join(map(str, arguments))[:60])


@pytest.mark.parametrize(
    "arguments, says",
    [
        bad_input("trian", says="unknown command 'trian'; did you mean train\\?"),
        bad_input("train", says="got no model"),
        bad_input("train", "RNN-LN-WF", says="unknown model 'RNN-LN-WF'; did you mean RNN-LN-FW\\?"),
        bad_input("train", "rnn-ln-fw", says="did you mean RNN-LN-FW\\?"),
        bad_input("train", "CONTROL", "CONTROL", says="got a model twice"),
        bad_input("train", "CONTROL", "--hidden-size", 0, says="--hidden-size 0: wanted an integer >= 1"),
        bad_input("train", "CONTROL", "--hidden-size", "x", says="--hidden-size: invalid literal for int.*'x'"),
        bad_input("train", "CONTROL", "--hidden-sise", 9, says="--hidden-sise.*--hidden-size"),
        bad_input("train", "RNN-LN-FW", "--decay", 1.5, says="Cosine\\(decay=1.5\\): wanted a number in \\[0, 1\\]"),
        bad_input("train", "RNN-LN-FW", "--rate", -1, says="Cosine\\(rate=-1\\): wanted a finite number >= 0"),
        bad_input(
            "train",
            "RNN-LN-FW",
            "--learned",
            "alpha",
            says="--learned alpha: wanted constants of Cosine \\(decay, rate\\)",
        ),
        bad_input("train", "RNN-LN-FW", "--backend", "cuda", says="backend: got 'cuda', wanted"),
        bad_input("train", "CONTROL", "--num-pairs", 0, says="num_pairs: got 0, wanted an integer from 1 to 26"),
        bad_input("train", "CONTROL", "--learning-rate", "nan", says="--learning-rate nan: wanted a number >= 0"),
        bad_input("train", "CONTROL", "--schedule", "step", says="step"),
        bad_input("train", "CONTROL", "--train-size", 5, says="--train-size 5: wanted at least one batch of 128"),
        bad_input("train", "CONTROL", "--data", "nowhere", says="nowhere: no such file"),
        bad_input("train", "CONTROL", "--workers", 0, says="--workers 0"),
        bad_input("train", "CONTROL", "--run", ".", says="--run '.': wanted a folder for the run"),
        bad_input("train", "CONTROL", "--run", "", says="got an empty argument after --run, wanted a value"),
        bad_input("plot", "", says="got an empty argument after fastweights plot, wanted a value"),
        bad_input("data", "associative-retrieval", "--output", "", says="got an empty argument after --output,"),
        bad_input("data", "associative-retrieval", "--output=", says="got an empty argument after --output=,"),
        bad_input("train", "CONTROL", "--train-size", 10**30, says="--train-size 1000.*: wanted at most 100,000,000"),
        bad_input("data", "associative-retrieval", "--train", 10**30, says="--train: got 1000.*to 100000000"),
        bad_input("train", "CONTROL", "--seed", 10**30, says="wanted an integer below 2"),
        bad_input("train", ":", says="wanted package.module:Class"),
        bad_input("data", "retrieval", says="unknown task 'retrieval'"),
        bad_input("data", "associative-retreival", says="did you mean associative-retrieval\\?"),
        bad_input("data", "associative-retrieval", "--num-pairs", 99, says="num_pairs: got 99"),
        bad_input("data", "associative-retrieval", "--train", 0, says="--train: got 0, wanted an integer from 1 to"),
        bad_input("sample", "RNN-LN-FW", "g5o8k1??g", says="got no run of RNN-LN-FW in runs"),
        bad_input("sample", "RNN-LN-FX", "g5o8k1??g", says="unknown model 'RNN-LN-FX'; did you mean RNN-LN-FW"),
        bad_input("plot", says="runs: got no run there"),
        bad_input("plot", "nowhere", says="nowhere: got no run there"),
        bad_input("backends", "cpu", says="cpu"),
        bad_input("bench", "--batch", 0, says="--batch 0: wanted an integer >= 1"),
        bad_input("bench", "--steps", 9, 0, says="--steps 0: wanted an integer >= 1"),
        bad_input("bench", "--hidden", "many", says="--hidden.*'many'"),
        bad_input("bench", "--inner-steps", -1, says="--inner-steps -1: wanted an integer >= 0"),
        bad_input("bench", "--rounds", 0, says="--rounds 0: wanted an integer >= 1"),
        bad_input("bench", "--threads", 0, says="--threads 0: wanted an integer >= 1"),
        bad_input("bench", "--device", "tpu", says="--device tpu: wanted cpu or cuda"),
        bad_input("bench", "--budget", -1, says="--budget -1: wanted a number >= 0"),
        bad_input("bench", "--figure", "figures", says="--figure: got no --curve"),
        bad_input("bench", "--json", "nowhere/bench.json", says="got no folder nowhere"),
        bad_input("bench", "--round", 3, says="--round"),
        bad_input("bench", "--json", "notes.md", says="--json notes.md: wanted a name that ends in .json"),
        bad_input("bench", "--json", ".", says=".: got a folder, wanted a file for --json"),
        bad_input("bench", "--curve", "--figure", __file__, says="test_bad_input.py: got a file, wanted a folder"),
        bad_input(
            "data", "associative-retrieval", "--seed", 10**30, says="--seed: got 1000.*wanted an integer from 0 to"
        ),
        bad_input("train", "CONTROL", "--hidden-size", 10**30, says="^.{,300}$"),
        bad_input("train", "RNN-LN-FW", "--inner-steps", 10**30, says="^.{,300}$"),
        bad_input(
            "train", "RNN-LN-FW", "--inner-steps", 10**7, says="--inner-steps 10000000: wanted .* at most 100,000"
        ),
        bad_input("train", "CONTROL", "--hidden-size", 10**7, says="--hidden-size 10000000: wanted at most 100,000"),
        bad_input("train", "RNN-LN-FW", "--learned", "rate", "rate", says="--learned rate rate: got a constant twice"),
        bad_input("train", "RNN-LN-FW", "--rule", "Dleta", says="unknown --rule 'Dleta'; did you mean Delta\\?"),
        bad_input("train", "GRU-LN", "--decay", 0.9, says="--decay is an option of `train RNN-LN-FW`"),
        bad_input("train", "GRU-LN", "--delay", 3, says="--delay is an option of --task copying"),
        bad_input("train", "GRU-LN", "--task", "coping", says="unknown task 'coping'; did you mean copying\\?"),
        bad_input("train", "GRU-LN", "--task", "nowhere:Task", says="task 'nowhere:Task': got ModuleNotFoundError"),
        bad_input("train", "GRU-LN", "--task", "torch.nn:GRU", says="task 'torch.nn:GRU': got GRU, wanted a frozen"),
        bad_input("train", "RNN-LN-FW", "--rule", "nowhere:Rule", says="rule 'nowhere:Rule': got ModuleNotFoundError"),
        bad_input(
            "train",
            "RNN-LN-FW",
            "--rule",
            "builtins:dict",
            says="--rule builtins:dict: got dict, wanted a frozen dataclass",
        ),
        bad_input("train", "GRU-LN", "--like", "FW-20", says="--like FW-20: wanted PAPER/CELL"),
        bad_input("train", "GRU-LN", "--like", "ba2016-retrieval/FW-21", says="did you mean FW-20\\?"),
        bad_input("train", "GRU-LN", "--task", "copying", "--delay", 0, says="delay: got 0, wanted"),
        bad_input("train", "GRU-LN", "--task", "adding", "--length", "x", says="--length.*'x'"),
        bad_input("train", "GRU-LN", "--task", "adding", "--label-smoothing", 0.1, says="loss of adding has no labels"),
        bad_input("train", "GRU-LN", "--device", "tpu", says="--device tpu: wanted cpu or cuda"),
        bad_input("train", "GRU-LN", "--fresh", "--data", "here", says="--fresh: got --data too"),
        bad_input("data", "copying", "--length", 201, says="length: got 201, wanted"),
        bad_input("data", "adding", "--train", 0, says="--train: got 0"),
        bad_input("train", "CONTROL", "--clip", 0, says="--clip 0: wanted a number > 0"),
        bad_input("train", "CONTROL", "--learning-rate", 0, says="--learning-rate 0: wanted a number > 0"),
        bad_input("train", "CONTROL", "--head-dropout", 1, says="--head-dropout 1: wanted a number below 1"),
        bad_input("train", "CONTROL", "--head-dropout", 1.5, says="--head-dropout 1.5: wanted a number from 0 to 1"),
        bad_input("train", "CONTROL", "--label-smoothing", 2, says="--label-smoothing 2: wanted a number from 0 to 1"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("fastweights: error: ") and err.count("\n") == 1, err
    assert re.search(says, err), err
    assert list(tmp_path.iterdir()) == []


def test_bench_on_a_device_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = run(capsys, "bench", "--device", "cuda")
    assert code == 2 and out == "" and err == "fastweights: error: --device cuda: got no CUDA device here, wanted cpu\n"


@pytest.mark.parametrize(
    "text, says",
    [
        ("a1b2??z", "got 'z' as the query of 'a1b2\\?\\?z', wanted one of its keys: a, b"),
        ("a1b2??", "got 'a1b2\\?\\?' of 6 symbols, wanted 7"),
        ("a1b2c3??a", "of 9 symbols, wanted 7"),
        ("a1a2??a", "got the key 'a' twice"),
        ("A1b2??b", "got 'A' as symbol 1"),
        ("", "got an empty argument after a1b2..b, wanted a value"),
    ],
)
def test_bad_sequences(text, says, trained, capsys):
    before = contents(trained)
    code, out, err = run(capsys, "sample", "RNN-LN-FW", "a1b2??b", text, "--run", trained)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert re.search(says, err), err
    assert contents(trained) == before


@pytest.mark.usefixtures("jobs_here")
def test_a_broken_line_of_a_csv_is_named(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("a1b2??a,1\nc3d4??d,4\na1b2??a,2\n")
    code, _, err = run(capsys, "train", "CONTROL", "--data", path, "--run", tmp_path / "run")
    assert code == 2 and err.count("\n") == 1 and "line 3: got the answer '2' to 'a1b2??a', wanted '1'" in err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_left_alone(trained, capsys):
    before = contents(trained)
    for arguments, says in [
        (["train", "RNN-LN-FW", *TINY, "--run", trained / "RNN-LN-FW"], "already holds a run of RNN-LN-FW; --resume"),
        (["train", "RNN-LN", *TINY, "--run", trained / "RNN-LN-FW", "--resume"], "holds another run"),
        (["train", "RNN-LN-FW", "CONTROL", *TINY, "--run", trained], "already holds a run"),
        (["sample", "CONTROL", "a1b2??b", "--run", trained / "RNN-LN-FW"], "got no run of CONTROL|holds a run of RNN"),
    ]:
        code, _, err = run(capsys, *arguments)
        assert code == 2 and err.count("\n") == 1 and re.search(says, err), err
    assert contents(trained) == before


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing"])
def test_a_bad_checkpoint(damage, trained, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "checkpoint.safetensors"):
        (folder / name).write_bytes((trained / "RNN-LN-FW" / name).read_bytes())
    path = folder / "checkpoint.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "foreign":
        path.write_bytes(b"\x80\x04cos\nsystem\n")
    else:
        path.unlink()
    code, _, err = run(capsys, "sample", "RNN-LN-FW", "a1b2??b", "--run", folder)
    assert code == 2 and err.count("\n") == 1 and "wanted a checkpoint" in err


@pytest.mark.parametrize(
    "damage",
    [
        "{", "[]", "3", {"model": 1}, {"config": 3}, {"config": {"hidden_size": "x"}}, {"config": {"decay": "x"}},
        {"config": {"embedding_sizes": ["a"]}}, {"task": 3}, {"task": {"name": "other"}},
        {"task": {"name": "associative-retrieval", "num_pairs": "a"}},
        {"task": {"name": "associative-retrieval", "no_such_field": 1}}, {"metric": 3}, {"metric": {"name": "loss"}},
        {"network": 3}, {"network": {"rule": 3}}, {"network": {"rule": {"name": "Hebian"}}}, {"network": {"no": 1}},
        {"network": {"rule": {"name": "Hebbian", "decay": "x"}}}, {"config": {"groups": [3]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_description_of_a_run(damage, trained, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained / "RNN-LN-FW", folder)
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(damage if isinstance(damage, str) else json.dumps(stored | damage))
    before = contents(folder)
    commands = [["sample", "RNN-LN-FW", "a1b2??b", "--run", folder], ["train", "RNN-LN-FW", *TINY, "--run", folder]]
    needless = [damage.get(part) for part in ("config", "task", "network")] if isinstance(damage, dict) else []
    if not any(isinstance(part, dict) for part in needless):  # a figure needs what config.json says of the metric
        commands.append(["plot", folder])
    for arguments in commands:
        code, _, err = run(capsys, *arguments)
        assert code == 2 and err.startswith("fastweights: error: ") and err.count("\n") == 1, err
    assert contents(folder) == before


@pytest.mark.usefixtures("jobs_here")
def test_a_file_where_a_folder_is_wanted(trained, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("mine")
    for arguments in [
        ["train", "CONTROL", *TINY, "--run", path],
        ["train", "CONTROL", "RNN-LN", *TINY, "--run", path],
        ["data", "associative-retrieval", "--train", 5, "--valid", 5, "--output", path],
        ["plot", trained, "--output", path],
    ]:
        code, out, err = run(capsys, *arguments)
        assert (
            code == 2 and out == "" and "got a file on the way there, wanted a folder" in err and err.count("\n") == 1
        ), err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "source, says",
    [
        ("def f(:", "got SyntaxError"), ("raise SystemExit(0)", "got SystemExit"), ("1 / 0", "got ZeroDivisionError"),
        ("class Net(torch.nn.GRU):\n    def forward(self, x): raise NotImplementedError", "got NotImplementedError in forward"),
        ("class Net(torch.nn.Module):\n    def __init__(self, *a, **k): assert False", "got AssertionError"),
        ("class Net(torch.nn.Identity): pass", "wanted output, state = model\\(input\\), the output \\[batch, time, 50\\]"),
    ],
)  # fmt: skip
def test_a_model_of_the_user_that_breaks(source, says, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text(f"import torch\n{source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    code, out, err = run(capsys, "train", "broken:Net", "--run", tmp_path / "run")
    assert code == 2 and out == "" and err.count("\n") == 1 and re.search(says, err), err
    assert not (tmp_path / "run").exists()
