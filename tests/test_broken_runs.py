"""What no run can go on from, or answer by, is refused, and left as it is."""

import json
import math
import sys
from dataclasses import replace

import pytest
import torch
from small_runs import SMALL, TASK, as_before, save_raw, sequences, train

from fastweights.rules import Delta
from fastweights.tasks import TASKS
from fastweights.training import checkpoints, loop, run, run_folder
from fastweights.training.description import load_run
from fastweights.training.networks import FastWeights
from fastweights.training.run_folder import RunError
from fastweights.training.setup import Setup


def test_a_folder_with_another_run_is_left_alone(tmp_path):
    train("RNN-LN-FW", SMALL, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for model, task, network, config, resume, message in [
        ("RNN-LN-FW", TASK, None, SMALL, False, "already holds a run of RNN-LN-FW; --resume goes on with it"),
        ("RNN-LN", TASK, None, SMALL, True, "holds another run \\(model 'RNN-LN-FW', not 'RNN-LN'\\)"),
        ("RNN-LN-FW", TASK, None, replace(SMALL, hidden_size=13), True, "config hidden_size 12, not 13"),
        ("RNN-LN-FW", TASK, FastWeights(Delta()), SMALL, True, "network .*Cosine.* not .*Delta"),
        ("RNN-LN-FW", replace(TASK, renamed_keys=True), None, SMALL, True, "task renamed_keys False, not True"),
        ("RNN-LN-FW", TASK, None, replace(SMALL, seed=1), True, "holds another run"),
    ]:
        with pytest.raises(RunError, match=message):
            train(model, config, tmp_path, task, network, resume=resume)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_sequences_of_other_symbols_are_another_run(tmp_path):
    """Symbols that are 256 apart, and vectors, once had the same hash."""
    task = TASKS["adding"](length=6)
    drawn = sequences(task=task)
    other = replace(drawn, train=drawn.train._replace(inputs=drawn.train.inputs + 1))
    run.train(Setup("CONTROL", task, SMALL), drawn, tmp_path)
    with pytest.raises(RunError, match="holds another run \\(data train_hash"):
        run.train(Setup("CONTROL", task, SMALL), other, tmp_path, resume=True)


def test_two_processes_do_not_share_a_folder(tmp_path):
    with run_folder.only_one(tmp_path), pytest.raises(RunError, match="another process is training here"):
        train("CONTROL", SMALL, tmp_path)


def test_bad_checkpoints(tmp_path):
    train("CONTROL", SMALL, tmp_path / "control")
    train("GRU", SMALL, tmp_path / "gru")
    path = tmp_path / "control" / run_folder.CHECKPOINT
    good = path.read_bytes()
    other = (tmp_path / "gru" / run_folder.CHECKPOINT).read_bytes()
    for content, message in [
        (good[:1000], "truncated file"),
        (good[:-10], "truncated file"),
        (b"", "truncated file"),
        (b"not a checkpoint at all", "truncated file"),
        (other, "got the checkpoint of GRU, wanted one of CONTROL"),
    ]:
        path.write_bytes(content)
        with pytest.raises(RunError, match=message):
            load_run(tmp_path / "control")
        with pytest.raises(RunError, match=message):
            train("CONTROL", SMALL, tmp_path / "control", resume=True)
        assert path.read_bytes() == content
    path.unlink()
    with pytest.raises(RunError, match="no such file"):
        load_run(tmp_path / "control")


def test_a_checkpoint_of_other_sizes(tmp_path):
    train("CONTROL", SMALL, tmp_path)
    described = json.loads((tmp_path / run_folder.CONFIG).read_text())
    described["config"]["hidden_size"] = 13
    (tmp_path / run_folder.CONFIG).write_text(json.dumps(described))
    with pytest.raises(RunError, match="the checkpoint of another run than config.json tells of"):
        load_run(tmp_path)
    as_before(tmp_path)
    with pytest.raises(RunError, match="the checkpoint of another model"):
        load_run(tmp_path)


def test_a_run_folder_cannot_choose_what_is_imported(tmp_path):
    train("CONTROL", SMALL, tmp_path)
    described = json.loads((tmp_path / run_folder.CONFIG).read_text()) | {"model": "antigravity:Cell"}
    (tmp_path / run_folder.CONFIG).write_text(json.dumps(described))
    with pytest.raises(RunError, match="to have that imported"):
        load_run(tmp_path)
    assert "antigravity" not in sys.modules


def test_weights_that_are_not_finite_are_refused_and_nothing_is_rewritten(tmp_path):
    train("CONTROL", SMALL, tmp_path)
    path = tmp_path / run_folder.CHECKPOINT
    tensors, header = checkpoints.load_checkpoint(path)
    tensors["model.head.0.bias"].fill_(math.nan)
    checkpoints.save_checkpoint(path, tensors, header)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(RunError, match="got a head.0.bias that is not finite, wanted weights"):
        load_run(tmp_path)
    with pytest.raises(RunError, match="not finite"):
        train("CONTROL", SMALL, tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_moments_that_are_not_finite_are_refused(tmp_path):
    train("CONTROL", SMALL, tmp_path)
    tensors, header = checkpoints.load_checkpoint(tmp_path / run_folder.CHECKPOINT)
    tensors["adam.exp_avg_sq"][3] = math.inf
    checkpoints.save_checkpoint(tmp_path / run_folder.CHECKPOINT, tensors, header)
    with pytest.raises(RunError, match="adam.exp_avg_sq is not finite.*train again into another --run"):
        train("CONTROL", replace(SMALL, epochs=4), tmp_path, resume=True)


@pytest.mark.parametrize("header", [[1], None, "x"])
def test_a_header_that_is_no_object(header, tmp_path):
    train("CONTROL", SMALL, tmp_path)
    tensors, _ = checkpoints.load_checkpoint(tmp_path / run_folder.CHECKPOINT)
    save_raw(tmp_path, tensors, header)
    with pytest.raises(RunError, match="no header of fastweights"):
        load_run(tmp_path)


@pytest.mark.parametrize("part", ["random.torch", "adam.exp_avg", "progress", "progress update"])
@pytest.mark.parametrize("damage", ["missing", "odd"])
def test_a_checkpoint_that_no_run_can_go_on_from(part, damage, tmp_path):
    train("CONTROL", SMALL, tmp_path)
    path = tmp_path / run_folder.CHECKPOINT
    tensors, header = checkpoints.load_checkpoint(path)
    place, _, name = (header["progress"], "", "update") if " " in part else (header, "", part)
    where = tensors if part in tensors else place
    if damage == "missing" and " " not in part:
        del where[name]
    else:
        where[name] = torch.zeros(3) if where is tensors else "three"
    checkpoints.save_checkpoint(path, tensors, header)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(RunError, match=r"checkpoint\.safetensors: got a checkpoint that no run can go on from"):
        train("CONTROL", SMALL, tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", [run_folder.METRICS, run_folder.TIMINGS])
@pytest.mark.parametrize(
    "content, says",
    [
        (b"[1]\n", "broken line 1"), (b'{"a": 1}\n', "broken line 1"), (b"\xff\n\n", "broken line 1"),
        (b'{"update": "x"}\n', "broken line 1"), (b"", "got 0 epochs up to the checkpoint, wanted its 3"),
    ],
)  # fmt: skip
def test_rows_that_do_not_go_with_the_checkpoint(name, content, says, tmp_path):
    train("CONTROL", SMALL, tmp_path)
    (tmp_path / name).write_bytes(content)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(RunError, match=says):
        train("CONTROL", SMALL, tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("place", [{"update": -3}, {"update": 10**9}, {"epoch": -1}, {"epoch": 9}])
def test_a_checkpoint_of_no_place_of_the_run(place, tmp_path):
    train("CONTROL", SMALL, tmp_path)
    tensors, header = checkpoints.load_checkpoint(tmp_path / run_folder.CHECKPOINT)
    checkpoints.save_checkpoint(
        tmp_path / run_folder.CHECKPOINT, tensors, header | {"progress": header["progress"] | place}
    )
    with pytest.raises(RunError, match="no run can go on from .ValueError: update .* is not in epoch"):
        train("CONTROL", SMALL, tmp_path, resume=True)


def test_a_loss_that_breaks_down_at_once_speaks_of_no_checkpoint(tmp_path):
    with pytest.raises(loop.NonFiniteLoss, match="at update 2; try `fastweights train` with a smaller"):
        train("RNN-LN", replace(SMALL, learning_rate=1e30), tmp_path)


@pytest.mark.parametrize("name", ["final.json", run_folder.TIMINGS, run_folder.METRICS])
def test_files_without_a_description_are_left_alone(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=f"{name}: got a file of a run without its config.json"):
        train("CONTROL", SMALL, tmp_path)
    assert (tmp_path / name).read_text() == "mine" and not (tmp_path / run_folder.CONFIG).exists()
