"""Each model trains, and a run that was stopped anywhere and resumed equals one run."""

import json
import math
from dataclasses import replace

import pytest
import torch
from small_runs import SMALL, TASK, at_update, interrupt, same, sequences, train, weights

from fastweights.optim import Group
from fastweights.process.signals import Heard
from fastweights.tasks import TASKS, AssociativeRetrieval
from fastweights.training import checkpoints, evaluation, loop, run, run_folder
from fastweights.training.description import load_run
from fastweights.training.networks import NETWORKS
from fastweights.training.setup import Setup

pytestmark = pytest.mark.usefixtures("made_up_pictures")


@pytest.mark.parametrize("model", [name for name, network in NETWORKS.items() if not network.pairs])
def test_every_model_trains_and_writes_the_same_columns(model, tmp_path):
    row = train(model, SMALL, tmp_path / "run")
    rows = run_folder.read_rows(tmp_path / "run" / run_folder.METRICS)
    assert [r["epoch"] for r in rows] == [1, 2, 3] and rows[-1] == row
    assert list(row) == [
        "model", "epoch", "update", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "gradient_norm",
        "learning_rate",
    ]  # fmt: skip
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    stored = json.loads((tmp_path / "run" / run_folder.CONFIG).read_text())
    assert stored["model"] == model and stored["data"]["train_hash"] == sequences().train.hash
    assert stored["task"] == {
        "name": "associative-retrieval", "version": 1, "num_pairs": 2, "distinct_values": False, "renamed_keys": False,
    }  # fmt: skip
    assert stored["metric"] == {"name": "accuracy", "better": "higher", "floors": dict(TASK.floors)}
    timing = run_folder.read_rows(tmp_path / "run" / run_folder.TIMINGS)[-1]
    assert timing["seconds"] > 0 and isinstance(timing["backend"], str)
    loaded, task, _ = load_run(tmp_path / "run")
    assert task == TASK
    valid = sequences().valid
    with torch.no_grad():
        accuracy = (loaded(valid.inputs).argmax(1) == valid.targets).float().mean().item()
    assert accuracy == pytest.approx(row["valid_accuracy"])


def one_of_each_form():
    """Of tasks that differ to a run alone by what is drawn, one."""
    drawn = [kind() for name, kind in TASKS.items() if name != TASK.NAME and not {"read", "judge"} & set(dir(kind))]
    forms = {(task.spec.symbols, task.spec.every, hasattr(task, "held_out"), type(task).loss): task for task in drawn}
    return forms.values()


@pytest.mark.parametrize("settings, task", [
    ({}, TASK),
    ({"schedule": "cosine", "label_smoothing": 0.5}, TASK),
    ({}, AssociativeRetrieval(2, renamed_keys=True)),
    ({"head_dropout": 0.5, "fresh": True}, TASK),
    ({"groups": (Group(r"recurrent\.weight_ih_l0", share=0.5, decay=0.25),)}, TASK),
    ({"groups": (Group(r"recurrent\.weight_hh_l0|head\..*weight", kind="soap"),)}, TASK),
    *(({}, task) for task in one_of_each_form()),
    ({"head_dropout": 0.5}, TASKS["reverse"](trained=(1, 4), judged=(2, 5))),
    ({"fresh": True}, TASKS["copying"](length=3, delay=4)),
])  # fmt: skip
def test_stopped_anywhere_and_resumed_equals_one_run(settings, task, tmp_path):
    """Ctrl-C in the middle of an epoch, a kill after a row was logged and before its checkpoint, a kill at once."""
    config = replace(SMALL, **settings)
    train("RNN-LN-FW", config, tmp_path / "through", task)
    cut = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Loop", at_update(11, interrupt))
        with pytest.raises(KeyboardInterrupt):
            train("RNN-LN-FW", config, cut, task)
    assert checkpoints.load_checkpoint(cut / run_folder.CHECKPOINT)[1]["progress"]["update"] == 11
    logged = run_folder.read_rows(cut / run_folder.METRICS)[-1]
    run_folder.append_row(cut / run_folder.METRICS, logged | {"update": 16, "epoch": 2, "valid_loss": 0.0})
    train("RNN-LN-FW", config, cut, task, resume=True)
    assert same(cut, tmp_path / "through")
    for name in (run_folder.METRICS, run_folder.CHECKPOINT):
        assert (cut / name).read_bytes() == (tmp_path / "through" / name).read_bytes()

    (cut / run_folder.CHECKPOINT).unlink()
    (cut / ".checkpoint.safetensors.1.part").write_bytes(b"half of")
    train("RNN-LN-FW", config, cut, task, resume=True)
    assert same(cut, tmp_path / "through") and not list(cut.glob(".*.part"))


def test_stopped_at_the_last_batch_of_an_epoch_and_killed_before_its_checkpoint(tmp_path):
    train("CONTROL", SMALL, tmp_path / "through")
    cut = tmp_path / "cut"

    class Killed(run.Run):
        def save(self):
            raise SystemError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Loop", at_update(8, interrupt))
        with pytest.raises(KeyboardInterrupt):
            train("CONTROL", SMALL, cut)
        patch.setattr(run, "Run", Killed)
        with pytest.raises(SystemError):
            train("CONTROL", SMALL, cut, resume=True)
    assert len(run_folder.read_rows(cut / run_folder.METRICS)) == 1
    train("CONTROL", SMALL, cut, resume=True)
    assert same(cut, tmp_path / "through")
    assert (cut / run_folder.METRICS).read_bytes() == (tmp_path / "through" / run_folder.METRICS).read_bytes()


def test_stopped_while_it_validates_or_saved_and_gone_on_equals_one_run(tmp_path, monkeypatch):
    """Validation that draws random numbers begins anew where it was stopped in its middle."""
    config = replace(SMALL, head_dropout=0.5)
    heard, told = Heard(), []
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 100)

    def watch(run):
        told.append((run.progress.update, run.saved, run.asked))

    class Drawing(run.Run):
        def until_stopped(self, batches):
            for number, batch in enumerate(super().until_stopped(batches)):
                torch.rand(1)
                yield batch
                heard.stop = number == 0 and self.progress.update == stop_at

    class Saved(Drawing):
        def epoch(self, watch):
            heard.save = True
            super().epoch(watch)

    def go_on(kind, folder):
        monkeypatch.setattr(run, "Run", kind)
        train("RNN-LN-FW", config, folder, resume=True, watch=watch, heard=heard)

    stop_at = 0
    go_on(Drawing, tmp_path / "through")
    stop_at = 16
    with pytest.raises(KeyboardInterrupt):
        go_on(Drawing, tmp_path / "cut")
    assert told[-1] == (16, 16, 0) and not heard.unsaved()
    assert len(run_folder.read_rows(tmp_path / "cut" / run_folder.METRICS)) == 1
    stop_at, heard.stop = 0, False
    go_on(Saved, tmp_path / "cut")
    assert told[-1] == (24, 24, 17) and not heard.save
    assert same(tmp_path / "cut", tmp_path / "through")
    for name in (run_folder.METRICS, run_folder.CHECKPOINT):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "through" / name).read_bytes()


def test_a_done_run_can_be_trained_longer(tmp_path):
    train("CONTROL", replace(SMALL, epochs=1), tmp_path / "a")
    train("CONTROL", SMALL, tmp_path / "a", resume=True)
    train("CONTROL", SMALL, tmp_path / "b")
    assert same(tmp_path / "a", tmp_path / "b")
    assert json.loads((tmp_path / "a" / run_folder.CONFIG).read_text())["config"]["epochs"] == 3


@pytest.mark.parametrize("task, target", [(TASK, 0.1), (TASKS["adding"](length=10), 10.0)])
def test_it_stops_at_the_target(task, target, tmp_path):
    """A target of a loss is reached from above."""
    row = train("RNN-LN-FW", replace(SMALL, target=target), tmp_path / "reached", task)
    assert row["epoch"] == 1
    row = train("RNN-LN-FW", replace(SMALL, target=-target if target > 1 else 1.0), tmp_path / "not", task)
    assert row["epoch"] == 3


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_non_finite_loss_or_gradient_stops_and_keeps_the_last_checkpoint(what, tmp_path):
    class Breaks(loop.Loop):
        def update(self):
            if self.progress.update == 12:
                if what == "loss":
                    self.model.head[0].bias.data.fill_(math.nan)
                else:
                    self.model.head[0].bias.register_hook(lambda g: g * math.inf)
            return super().update()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Loop", Breaks)
        with pytest.raises(loop.NonFiniteLoss, match="became (nan|inf) at update 13; the last good checkpoint"):
            train("RNN-LN", SMALL, tmp_path)
    kept = weights(tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert checkpoints.load_checkpoint(tmp_path / run_folder.CHECKPOINT)[1]["progress"]["update"] == 8


def test_a_model_of_the_user(tmp_path):
    row = train("torch.nn:GRU", SMALL, tmp_path)
    assert row["model"] == "torch.nn:GRU"
    load_run(tmp_path, ["torch.nn:GRU"])
    for name, message in [("nowhere:Cell", "ModuleNotFoundError"), ("torch.nn:Nothing", "AttributeError")]:
        with pytest.raises(ValueError, match=message):
            Setup(name, TASK, SMALL).build()


@pytest.mark.parametrize("settings", [
    {"groups": (Group(r"recurrent\.weight_ih_l0", share=0.5),)}, {"groups": (Group(r"head\..*weight", decay=1.0),)},
    {"groups": (Group(r"recurrent\.weight_hh_l0", kind="soap"),)}, {"clip": 0.01},
])  # fmt: skip
def test_the_settings_of_the_optimizer_are_those_of_the_run(settings, tmp_path):
    plain = train("RNN-LN-FW", SMALL, tmp_path / "plain")
    other = train("RNN-LN-FW", replace(SMALL, **settings), tmp_path / "other")
    assert other["train_loss"] != plain["train_loss"]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_smoothed_labels_are_of_the_training_loss_alone_and_fall_with_the_learning_rate(tmp_path, schedule):
    config = replace(SMALL, epochs=2, batch_size=64, train_size=64, learning_rate=1e-30, schedule=schedule)
    plain = train("CONTROL", config, tmp_path / "plain")
    train("CONTROL", replace(config, label_smoothing=0.2), tmp_path / "smooth")
    torch.manual_seed(config.seed)
    few = sequences(config).train
    spread = -Setup("CONTROL", TASK, config).build()(few.inputs).log_softmax(1).mean().item()
    rows = run_folder.read_rows(tmp_path / "smooth" / run_folder.METRICS)
    for row, share in zip(rows, (0.2, 0.2 if schedule == "constant" else 0.1), strict=True):
        assert row["train_loss"] == pytest.approx((1 - share) * plain["train_loss"] + share * spread, rel=1e-5)
        assert row["train_loss"] != plain["train_loss"]
        assert row["valid_loss"] == plain["valid_loss"]
