"""What the command line does, from Python: train, load, and a model for others."""

import json
import shutil
import sys
from dataclasses import dataclass

import pytest
import torch

import fastweights
from fastweights import cli
from fastweights.errors import UserError
from fastweights.rules import Hebbian
from fastweights.tasks import AssociativeRetrieval, Copying

SMALL = {"hidden_size": 8, "epochs": 2, "train_size": 256, "valid_size": 64, "batch_size": 64}
TINY = "--hidden-size 8 --epochs 2 --train-size 256 --valid-size 64 --batch-size 64".split()
TASK = AssociativeRetrieval(2)


class Cell(torch.nn.GRU):
    """A cell of the user's."""


@dataclass(frozen=True)
class Later(Copying):
    """A task of the user's?"""

    NAME = "later"


@dataclass(frozen=True)
class Rule(Hebbian):
    pass


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("python") / "runs" / "first"
    return fastweights.train("RNN-LN-FW", TASK, folder=folder, rule=Hebbian(decay=0.9), learned=("decay",), **SMALL)


def test_a_run_has_model_task_config_and_curve(run):
    assert run.task == TASK and run.config.hidden_size == 8 and run.name == "RNN-LN-FW" and not run.model.training
    assert run.network.rule == Hebbian(decay=0.9) and run.network.learned == ("decay",)
    assert [row["epoch"] for row in run.curve] == [1, 2] and run.curve[-1]["update"] == 8
    assert run.model(run.task.encode("a1b2??a")[None]).shape == (1, 10)


@pytest.mark.usefixtures("jobs_here")
def test_it_trains_as_the_command_line_does(run, tmp_path):
    given = ["--rule", "Hebbian", "--decay", "0.9", "--learned", "decay", "--num-pairs", "2"]
    assert cli.main(["train", "RNN-LN-FW", *TINY, *given, "--run", str(tmp_path / "run")]) == 0
    for name in ("config.json", "metrics.jsonl", "checkpoint.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (run.folder / name).read_bytes()


def test_the_caller_keeps_threads_and_random_numbers(tmp_path):
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    rows = []
    fastweights.train("CONTROL", TASK, folder=tmp_path / "run", progress=rows.append, **SMALL)
    assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state)
    assert rows == fastweights.load(tmp_path / "run").curve


def test_metrics_are_json_lines_with_the_same_keys_in_each(run):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    assert {tuple(row) for row in rows} == {tuple(run.curve[0])} and rows == run.curve


def test_a_run_is_found_by_its_folder_that_above_or_its_name(run, tmp_path):
    for arguments in ([run.folder], [run.folder.parent], [run.folder, "RNN-LN-FW"], [str(run.folder)]):
        found = fastweights.load(*arguments)
        assert found.folder == run.folder and found.curve == run.curve
    fastweights.train("CONTROL", TASK, folder=run.folder.parent / "CONTROL", **SMALL)
    assert fastweights.load(run.folder.parent, "CONTROL").name == "CONTROL"
    for arguments, says in (
        ([run.folder.parent], "got 2 runs \\(CONTROL, first\\), wanted one, such as folder "),
        ([run.folder, "GRU"], "holds a run of RNN-LN-FW, not of GRU"),
        ([run.folder.parent, "CONTRL"], "got no run of CONTRL in .*; did you mean CONTROL"),
        (
            [tmp_path / "nowhere"],
            "got no run, wanted a run folder; `fastweights train RNN-LN-FW --run .*nowhere` makes one",
        ),
    ):
        with pytest.raises(UserError, match=says):
            fastweights.load(*arguments)


def test_saved_for_others_and_loaded_again(run, tmp_path):
    run.save_pretrained(tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == ["config.json", "model.safetensors"]
    stored = json.loads((tmp_path / "shared/config.json").read_text())
    assert stored["model_type"] == "fastweights" and stored["architectures"] == ["RNN-LN-FW"]
    again = fastweights.load(tmp_path / "shared")
    assert (again.task, again.config, again.network, again.curve) == (run.task, run.config, run.network, [])
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)
    again.save_pretrained(tmp_path / "twice")
    assert (tmp_path / "twice/model.safetensors").read_bytes() == (tmp_path / "shared/model.safetensors").read_bytes()
    with pytest.raises(UserError, match="config.json: already there"):
        run.save_pretrained(tmp_path / "shared")
    with pytest.raises(UserError, match="config.json: already there"):
        run.save_pretrained(run.folder)
    path = tmp_path / "shared/model.safetensors"
    for content, says in (
        (path.read_bytes()[:100], "got a truncated file"),
        (b"\x80\x04cos\nsystem\n", "or no safetensors"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=says):
            fastweights.load(tmp_path / "shared")


def test_classes_of_ones_own_are_named(tmp_path):
    run = fastweights.train(Cell, Later(length=3, delay=2), folder=tmp_path / "own", **SMALL)
    assert isinstance(run.model.recurrent, Cell) and run.task == Later(length=3, delay=2)
    assert isinstance(fastweights.load(tmp_path / "own", Cell, task=Later).task, Later)
    with pytest.raises(UserError, match=f"holds a run of {__name__}:Cell; add `{__name__}:Cell` to have that imported"):
        fastweights.load(tmp_path / "own", task=Later)
    with pytest.raises(UserError, match=f"add `--task {__name__}:Later` to have that imported"):
        fastweights.load(tmp_path / "own", Cell)
    ruled = fastweights.train("RNN-LN-FW", TASK, folder=tmp_path / "rule", rule=Rule(), **SMALL)
    assert ruled.network.rule == Rule() == fastweights.load(tmp_path / "rule", rule=Rule).network.rule


def in_main(kind, monkeypatch):
    """The class as a script or a notebook defines it."""
    made = type(kind.__name__, (kind,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], kind.__name__, made, raising=False)
    return made


def test_classes_of_a_script_are_handed_in(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as script:
        cell, task = in_main(Cell, script), dataclass(frozen=True)(in_main(Later, script))
        fastweights.train(cell, task(length=3, delay=2), folder=tmp_path / "own", **SMALL)
        fastweights.train("RNN-LN-FW", TASK, folder=tmp_path / "rule", rule=in_main(Rule, script)(), **SMALL)
        assert isinstance(fastweights.load(tmp_path / "own", cell, task=task).model.recurrent, cell)
    for folder, says in (
        ("own", "holds a run of __main__:Cell, __main__:Later; in Python, where that is defined, "
                r"`load\(folder, Cell, task=Later\)`; for the command line put it into a module of its own"),
        ("rule", r"in Python, where that is defined, `load\(folder, rule=Rule\)`; for the command line put it"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=says):
            fastweights.load(tmp_path / folder)
    for arguments in (["diagnose", "--run", tmp_path / "own"], ["diagnose", "__main__:Cell", "--run", tmp_path / "own"],
                      ["train", "__main__:Cell", "--run", tmp_path / "new"]):  # fmt: skip
        assert cli.main(list(map(str, arguments))) == 2
        assert "put it into a module of its own" in capsys.readouterr().err


def test_what_is_said_of_options_is_said_of_arguments(run, tmp_path):
    for call, says in (
        (lambda: fastweights.train("GRU", TASK, folder=run.folder, **SMALL), "; resume=True goes on with it, or choose another folder$"),
        (lambda: fastweights.train("GRU", **{**SMALL, "batch_size": 0}), "^batch_size 0: wanted"),
        (lambda: fastweights.load(tmp_path), "`fastweights train RNN-LN-FW --run .*` makes one"),
        (lambda: fastweights.load(run.folder, "GRU"), "not of GRU; name another folder$"),
        (lambda: fastweights.load(run.folder, task="copying"), "of the task associative-retrieval, not of copying; leave task out$"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=says):
            call()


def test_a_run_is_found_by_the_name_of_its_folder(run, tmp_path, capsys):
    runs = tmp_path / "sweep"
    shutil.copytree(run.folder, runs / "RNN-LN-FW-decay=.9-seed0")
    shutil.copytree(run.folder, runs / "RNN-LN-FW-decay=.9-seed1")
    shutil.copytree(run.folder, runs / "GRU")
    for name in ("RNN-LN-FW-decay=.9-seed0", "RNN-LN-FW-decay=.9-seed1"):
        assert fastweights.load(runs, name).folder == runs / name
        assert cli.main(["sample", name, "a1b2??a", "--run", str(runs)]) == 0
        assert cli.main(["diagnose", name, "--run", str(runs)]) == 0
    with pytest.raises(UserError, match="GRU/config.json: holds a run of RNN-LN-FW, not of GRU"):
        fastweights.load(runs, "GRU")


def test_a_file_is_trained_on(tmp_path):
    (tmp_path / "own.csv").write_text("AB,x\nBA,y\nABC,z\n" * 30)
    run = fastweights.train("GRU", data=tmp_path / "own.csv", folder=tmp_path / "run", **SMALL)
    assert run.task.classes == ("x", "y", "z") == fastweights.load(tmp_path / "run").task.classes


@pytest.mark.parametrize(
    "model, task, settings, says",
    [
        ("RNN-LN-FV", None, {}, "unknown model 'RNN-LN-FV'; did you mean"),
        ("GRU", None, {"epoch": 3}, "got the setting 'epoch', which GRU does not have; did you mean epochs"),
        ("GRU", None, {"inner_steps": 3}, "got the setting 'inner_steps', which GRU does not have"),
        ("RNN-LN-FW", None, {"decay": 0.5}, r"'decay', .* wanted rule=Cosine\(decay=0.5\)"),
        ("RNN-LN-FW", None, {"decay": 0.5, "rule": Hebbian()}, r"wanted rule=Hebbian\(decay=0.5\)"),
        ("RNN-LN-FW", None, {"decya": 0.5}, "got the setting 'decya', which RNN-LN-FW does not have"),
        ("GRU", None, {"decay": 0.5}, "got the setting 'decay', which GRU does not have"),
        ("GRU", "copyin", {}, "unknown task 'copyin'; did you mean copying"),
        ("GRU", None, {"epochs": 0}, "epochs 0: wanted an integer >= 1"),
        ("GRU", None, {"data": "nowhere.csv"}, "nowhere.csv: no such file"),
        (3, None, {}, "got 3, wanted a class, or a name"),
        ("RNN-LN-FW", None, {"backend": "cudnn"}, "cudnn"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_writes_nothing(model, task, settings, says, tmp_path):
    with pytest.raises(UserError, match=says):
        fastweights.train(model, task, folder=tmp_path / "run", **settings)
    assert not any(tmp_path.iterdir())


def test_a_run_is_not_overwritten_and_goes_on(tmp_path):
    first = fastweights.train("GRU", TASK, folder=tmp_path, **SMALL)
    with pytest.raises(UserError, match="already holds a run of GRU; resume=True goes on"):
        fastweights.train("GRU", TASK, folder=tmp_path, **SMALL)
    assert fastweights.train("GRU", TASK, folder=tmp_path, resume=True, **SMALL).curve == first.curve


def test_every_public_name_is_there():
    for name in fastweights.__all__:
        assert getattr(fastweights, name) is not None and name in dir(fastweights)
