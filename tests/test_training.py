import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from fastweights.jobs import runner, worker
from fastweights.jobs.job import Job
from fastweights.optim import Group
from fastweights.process.signals import Heard
from fastweights.rules import Delta
from fastweights.tasks import TASKS, AssociativeRetrieval
from fastweights.training import checkpoints, data, evaluation, loop, run, run_folder
from fastweights.training.config import Config
from fastweights.training.description import load_run
from fastweights.training.networks import NETWORKS, FastWeights
from fastweights.training.run_folder import RunError
from fastweights.training.setup import Setup

SMALL = Config(hidden_size=12, epochs=3, train_size=512, valid_size=256, batch_size=64, schedule="constant")
TASK = AssociativeRetrieval(2)
pytestmark = pytest.mark.usefixtures("made_up_pictures")


def sequences(config=SMALL, task=TASK):
    return data.draw(task, config.train_size, config.valid_size, config.seed)


def train(model, config, folder, task=TASK, network=None, **options):
    return run.train(Setup(model, task, config, network), sequences(config, task), folder, **options)


def weights(folder):
    return checkpoints.load_checkpoint(folder / run_folder.CHECKPOINT)[0]


def as_before(folder):
    """As an earlier version has written it: the checkpoint has no hash, and does not say of which run it is."""
    tensors, header = checkpoints.load_checkpoint(folder / run_folder.CHECKPOINT)
    save_raw(folder, tensors, {"model": header["model"], "progress": header["progress"]})


def save_raw(folder, tensors, header):
    metadata = {"fastweights": json.dumps(header)}
    (folder / run_folder.CHECKPOINT).write_bytes(safetensors.torch.save(tensors, metadata=metadata))


def same(a, b):
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def at_update(number, what):
    """A loop that does `what` after so many updates."""

    class Watched(loop.Loop):
        def update(self):
            found = super().update()
            if self.progress.update == number:
                what()
            return found

    return Watched


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("model", NETWORKS)
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


@pytest.mark.parametrize("settings, task", [
    ({}, TASK),
    ({"schedule": "cosine", "label_smoothing": 0.5}, TASK),
    ({}, AssociativeRetrieval(2, renamed_keys=True)),
    ({"head_dropout": 0.5, "fresh": True}, TASK),
    ({"groups": (Group(r"recurrent\.weight_ih_l0", share=0.5, decay=0.25),)}, TASK),
    ({"groups": (Group(r"recurrent\.weight_hh_l0|head\..*weight", kind="soap"),)}, TASK),
    *(({}, kind()) for name, kind in TASKS.items() if name != TASK.NAME and not hasattr(kind, "read")),
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


def test_kill_nine_and_resume_equals_one_run(tmp_path):
    config = replace(SMALL, epochs=60, hidden_size=16, train_size=1024)
    job = Job(Setup("RNN-LN-FW", TASK, config), tmp_path / "cut")
    command = [sys.executable, "-P", str(runner.START), job.as_json(), str(os.getpid())]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(run_folder.read_rows(job.folder / run_folder.METRICS)) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len(run_folder.read_rows(job.folder / run_folder.METRICS))
    assert 5 <= done < 60
    assert worker.outcome(job.as_json(), lambda event: None) == 0
    train("RNN-LN-FW", config, tmp_path / "through")
    assert same(job.folder, tmp_path / "through")
    assert (job.folder / run_folder.METRICS).read_bytes() == (tmp_path / "through" / run_folder.METRICS).read_bytes()


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
