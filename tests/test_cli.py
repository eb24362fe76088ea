"""The commands, from one to the next."""

import json
import re
import subprocess
import sys

import pytest
import torch
from command_line import TINY, run

from fastweights import cli
from fastweights.commands import sample
from fastweights.tasks import Spec


def test_help_does_not_import_torch():
    code = "import sys; from fastweights.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "commands:" in done.stdout


def test_every_command_has_help_without_torch():
    code = (
        "import sys; from fastweights.cli import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as stop: assert not stop.code, command\n"
        "    assert 'torch' not in sys.modules, command\n"
        "    print('end of', command)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    helped = done.stdout
    for command in cli.COMMANDS:
        help, _, helped = helped.partition(f"end of {command}\n")
        assert f"usage: fastweights {command}" in help
        assert max(map(len, help.splitlines())) <= 80, "tyro joins lines that begin with a letter"


@pytest.mark.usefixtures("jobs_here")
def test_the_table_shows_accuracy_beside_its_guess_floor(trained, capsys):
    code, out, _ = run(capsys, "train", "RNN-LN-FW", "CONTROL", *TINY, "--run", trained, "--resume")
    assert code == 0
    lines = out.splitlines()
    assert re.match(r"model\s+accuracy\s+guess\s+loss\s+grad\s+updates\s+seq/s\s+time\s+backend", lines[0])
    assert re.match(r"RNN-LN-FW +\d+\.\d\d% +55\.00%", lines[1])
    assert all(len(line) <= 80 for line in lines[:3])


@pytest.mark.usefixtures("jobs_here")
def test_data_to_train_to_sample_to_plot(tmp_path, capsys):
    code, out, _ = run(
        capsys, "data", "associative-retrieval", "--num-pairs", 2, "--train", 200, "--valid", 50,
        "--output", tmp_path / "data",
    )  # fmt: skip
    assert code == 0 and "train.csv (200 lines)" in out
    first = (tmp_path / "data" / "train.csv").read_text().splitlines()[0]
    assert re.fullmatch(r"([a-z]\d){2}\?\?[a-z],\d", first)
    options = "--hidden-size 8 --epochs 1 --batch-size 64".split()
    code, _, _ = run(capsys, "train", "RNN-LN-FW", *options, "--data", tmp_path / "data", "--run", tmp_path / "run")
    assert code == 0
    described = json.loads((tmp_path / "run" / "config.json").read_text())
    stored = json.loads((tmp_path / "data" / "data.json").read_text())
    assert described["data"]["train_hash"] == stored["train_hash"]
    assert described["task"]["num_pairs"] == 2
    code, out, _ = run(capsys, "sample", "RNN-LN-FW", "a1b2??b", "--run", tmp_path / "run")
    assert code == 0 and re.match(r"a1b2\?\?b -> \d   probability 0\.\d{4}   (right|wrong: 2)", out)
    assert len(re.findall(r"^  [ab12?] +-?\d+\.\d{3} ?#*$", out, re.M)) == 6
    code, out, _ = run(capsys, "plot", tmp_path / "run")
    assert code == 0
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert names == {f"{n}.{e}" for n in ("accuracy", "loss", "gradient_norm") for e in ("png", "svg")}


@pytest.mark.usefixtures("jobs_here")
def test_one_file_of_ones_own(tmp_path, capsys):
    run(capsys, "data", "associative-retrieval", "--train", 300, "--valid", 10, "--output", tmp_path)
    code, _, err = run(
        capsys, "train", "CONTROL", "--data", tmp_path / "train.csv", "--run", tmp_path / "r", "--epochs", 1
    )
    assert code == 0, err
    described = json.loads((tmp_path / "r" / "config.json").read_text())
    assert (described["data"]["train_size"], described["data"]["valid_size"]) == (240, 60)


def test_sample_of_a_network_without_fast_weights(trained, capsys):
    code, out, _ = run(capsys, "sample", "CONTROL", "a1b2??b", "--run", trained)
    assert code == 0 and "reads no fast weights" in out


@pytest.mark.usefixtures("jobs_here")
def test_a_network_with_another_rule_trains_and_answers(tmp_path, capsys):
    code, out, err = run(capsys, "train", "RNN-LN-FW", *TINY, "--rule", "Delta", "--run", tmp_path / "run")
    assert code == 0 and re.search(r"RNN-LN-FW .* cpu *$", out, re.M), err
    code, out, _ = run(capsys, "sample", "RNN-LN-FW", "a1b2??b", "--run", tmp_path / "run")
    assert code == 0 and re.search(r"^  \(cannot show .* Delta, only of Hebbian and Cosine\)$", out, re.M)


def test_backends(capsys):
    code, out, _ = run(capsys, "backends")
    assert code == 0 and re.search(r"reference +runs", out) and "what auto takes" in out


def test_a_model_that_the_folder_knows_is_not_named(trained, capsys):
    named, unnamed = (
        run(capsys, "sample", *model, "a1b2??b", "--run", trained / "RNN-LN-FW") for model in (["RNN-LN-FW"], [])
    )
    assert named == unnamed and named[0] == 0 and named[1].startswith("a1b2??b -> ")
    for arguments, says in (
        (["a1b2??b", "--run", trained], "got 2 runs \\(CONTROL, RNN-LN-FW\\), wanted one, such as --run .*/CONTROL"),
        (["RNN-LN-FX", "a1b2??b", "--run", trained / "CONTROL"], "unknown model 'RNN-LN-FX'; did you mean RNN-LN-FW"),
        (
            ["RNN-LN-FW", "--run", trained],
            "of associative-retrieval: `fastweights sample RNN-LN-FW '\\w+\\?\\?\\w' --run .*`",
        ),
        (["IRNN", "a1b2??b", "--run", trained], "train it with `fastweights train IRNN --run .*/IRNN`, or name"),
    ):
        code, out, err = run(capsys, "sample", *arguments)
        assert code == 2 and out == "" and err.count("\n") == 1 and re.search(says, err), err


def test_a_run_that_is_named_needs_no_other_run(trained, tmp_path, capsys):
    (tmp_path / "A").mkdir()
    (tmp_path / "A/config.json").write_text("{")
    (tmp_path / "CONTROL").symlink_to(trained / "CONTROL")
    code, out, err = run(capsys, "sample", "CONTROL", "a1b2??b", "--run", tmp_path)
    assert code == 0 and out.startswith("a1b2??b -> "), err


class Asked:
    """The first and the last of three steps are asked for."""

    NAME, SYMBOLS, CLASSES = "asked", "ab", "xy"
    spec = Spec(2, 2, every=True)
    encode = staticmethod(lambda text: torch.tensor(["ab".index(symbol) for symbol in text]))
    decode = staticmethod(lambda symbols: "".join("ab"[symbol] for symbol in symbols))
    answer = staticmethod(lambda text: "x-y")


def test_sample_judges_the_steps_that_are_asked_for(tmp_path, monkeypatch, capsys):
    class Knows:
        recurrent = None

        def __call__(self, inputs):
            return torch.tensor([[[3.0, 0.0], [0.0, 0.0], [0.0, 3.0]]])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample, "opened", lambda asked: (Knows(), Asked()))
    code, out, _ = run(capsys, "sample", "aba")
    assert code == 0 and out.startswith("aba -> x-y   probability 0.9074   right"), out


@pytest.mark.usefixtures("jobs_here")
def test_what_an_own_cell_attended_to(tmp_path, monkeypatch, capsys):
    (tmp_path / "plain_cell.py").write_text("import torch\nclass Plain(torch.nn.GRU): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run(capsys, "train", "plain_cell:Plain", *TINY, "--run", tmp_path / "run")[0] == 0
    code, out, _ = run(capsys, "sample", "plain_cell:Plain", "a1b2??b", "--run", tmp_path / "run")
    assert code == 0 and "Plain has no method attention(input)" in out
    code, _, err = run(capsys, "sample", "a1b2??b", "--run", tmp_path / "run")
    assert code == 2 and "add `plain_cell:Plain` to have that imported" in err
    sys.modules.pop("plain_cell", None)


@pytest.mark.usefixtures("jobs_here")
def test_diagnose(tmp_path, capsys):
    assert run(capsys, "train", "RNN-LN-FW", *TINY, "--run", tmp_path / "run")[0] == 0
    code, out, _ = run(capsys, "diagnose", "RNN-LN-FW", "--run", tmp_path / "run", "--sequences", 4)
    assert code == 0 and out.startswith("layer") and "times the boundary" in out
    assert run(capsys, "train", "LSTM", *TINY, "--run", tmp_path / "lstm")[0] == 0
    for name, folder, words in (
        ("LSTM", "lstm", "got the network LSTM, wanted a FastWeightsRNN, as RNN-LN-FW has one"),
        ("LSTM", "run", "holds a run of RNN-LN-FW"),
        ("RNN-LN-FW", "nowhere", "got no run of RNN-LN-FW"),
    ):
        code, _, err = run(capsys, "diagnose", name, "--run", tmp_path / folder)
        assert code == 2 and words in err and err.count("\n") == 1
    assert run(capsys, "diagnose", "RNN-LN-FW", "--run", tmp_path / "run", "--sequences", 0)[0] == 2
