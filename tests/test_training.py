import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from fastweights import checkpoints, data, runs, training
from fastweights.config import Config
from fastweights.nn.models import BUILDERS, build, try_out
from fastweights.rules import Hebbian
from fastweights.runs import RunError
from fastweights.tasks import AssociativeRetrieval
from fastweights.worker import Job

SMALL = Config(hidden_size=12, epochs=3, train_size=512, valid_size=256, batch_size=64, schedule="constant")


def sequences(config=SMALL, num_pairs=2):
    return data.draw(AssociativeRetrieval(num_pairs), config.train_size, config.valid_size, config.seed)


def weights(folder):
    return checkpoints.load_checkpoint(folder / runs.CHECKPOINT)[0]


def same(a, b):
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("model", BUILDERS)
def test_every_model_trains_and_writes_the_same_columns(model, tmp_path):
    row = training.train(model, SMALL, sequences(), tmp_path / "run")
    rows = runs.read_rows(tmp_path / "run" / runs.METRICS)
    assert [r["epoch"] for r in rows] == [1, 2, 3] and rows[-1] == row
    assert list(row) == [
        "model", "epoch", "update", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "gradient_norm",
        "learning_rate",
    ]  # fmt: skip
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    stored = json.loads((tmp_path / "run" / runs.CONFIG).read_text())
    assert stored["model"] == model and stored["data"]["train_hash"] == sequences().train.hash
    assert stored["task"] == {"name": "associative-retrieval", "version": 1, "num_pairs": 2, "distinct_values": False}
    timing = runs.read_rows(tmp_path / "run" / runs.TIMINGS)[-1]
    assert timing["seconds"] > 0 and isinstance(timing["backend"], str)
    loaded, _ = training.load_run(tmp_path / "run", model)
    tokens = sequences().valid.tokens
    with torch.no_grad():
        accuracy = (loaded(tokens).argmax(1) == sequences().valid.targets).float().mean().item()
    assert accuracy == pytest.approx(row["valid_accuracy"])


@pytest.mark.parametrize("settings", [
    {}, {"schedule": "cosine", "label_smoothing": 0.5}, {"renamed_keys": True},
    {"head_dropout": 0.5},
    {"input_learning_rates": (0.5,), "table_weight_decay": 0.25},
    {"optimizer": "soap"},
    {"centered_gradients": True},
])  # fmt: skip
def test_stopped_anywhere_and_resumed_equals_one_run(settings, tmp_path):
    """Ctrl-C in the middle of an epoch, a kill after a row was logged and before its checkpoint, a kill at once."""
    config = replace(SMALL, **settings)
    training.train("RNN-LN-FW", config, sequences(), tmp_path / "through")
    cut = tmp_path / "cut"

    class Interrupted(training.Run):
        def update(self, tokens, targets):
            super().update(tokens, targets)
            if self.progress.update == 11:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Run", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            training.train("RNN-LN-FW", config, sequences(), cut)
    assert checkpoints.load_checkpoint(cut / runs.CHECKPOINT)[1]["progress"]["update"] == 11
    logged = runs.read_rows(cut / runs.METRICS)[-1]
    runs.append_row(cut / runs.METRICS, logged | {"update": 16, "epoch": 2, "valid_accuracy": 0.0})
    training.train("RNN-LN-FW", config, sequences(), cut, resume=True)
    assert same(cut, tmp_path / "through")
    assert (cut / runs.METRICS).read_bytes() == (tmp_path / "through" / runs.METRICS).read_bytes()
    assert (cut / runs.CHECKPOINT).read_bytes() == (tmp_path / "through" / runs.CHECKPOINT).read_bytes()

    (cut / runs.CHECKPOINT).unlink()
    (cut / ".checkpoint.safetensors.1.part").write_bytes(b"half of")
    training.train("RNN-LN-FW", config, sequences(), cut, resume=True)
    assert same(cut, tmp_path / "through") and not list(cut.glob(".*.part"))


def test_stopped_at_the_last_batch_of_an_epoch_and_killed_before_its_checkpoint(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path / "through")
    cut = tmp_path / "cut"

    class Stopped(training.Run):
        def update(self, tokens, targets):
            super().update(tokens, targets)
            if self.progress.batch == self.batches:
                os.kill(os.getpid(), signal.SIGINT)

    class Killed(training.Run):
        def save(self):
            raise SystemError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Run", Stopped)
        with pytest.raises(KeyboardInterrupt):
            training.train("CONTROL", SMALL, sequences(), cut)
        patch.setattr(training, "Run", Killed)
        with pytest.raises(SystemError):
            training.train("CONTROL", SMALL, sequences(), cut, resume=True)
    assert len(runs.read_rows(cut / runs.METRICS)) == 1
    training.train("CONTROL", SMALL, sequences(), cut, resume=True)
    assert same(cut, tmp_path / "through")
    assert (cut / runs.METRICS).read_bytes() == (tmp_path / "through" / runs.METRICS).read_bytes()


def test_a_rule_is_of_networks_with_fast_weights(tmp_path):
    config = replace(SMALL, rule="Delta", backend="cpu")
    assert build("RNN-LN", config, 37, 10).recurrent.rule == Hebbian(config.decay, config.rate)
    with pytest.raises(ValueError, match="unknown --rule 'Dleta'; did you mean Delta"):
        try_out("GRU", replace(SMALL, rule="Dleta"))


def test_kill_nine_and_resume_equals_one_run(tmp_path):
    config = replace(SMALL, epochs=60, hidden_size=16, train_size=1024)
    job = Job("RNN-LN-FW", config, tmp_path / "cut", {"name": "associative-retrieval", "num_pairs": 2})
    command = [sys.executable, "-m", "fastweights.worker"]
    killed = subprocess.Popen([*command, job.as_json()], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(runs.read_rows(job.folder / runs.METRICS)) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len(runs.read_rows(job.folder / runs.METRICS))
    assert 5 <= done < 60
    through = replace(job, folder=tmp_path / "through")
    for each in (job, through):
        subprocess.run([*command, each.as_json()], check=True, stdout=subprocess.DEVNULL)
    assert same(job.folder, through.folder)
    assert (job.folder / runs.METRICS).read_bytes() == (through.folder / runs.METRICS).read_bytes()


def test_a_done_run_can_be_trained_longer(tmp_path):
    training.train("CONTROL", replace(SMALL, epochs=1), sequences(), tmp_path / "a")
    training.train("CONTROL", SMALL, sequences(), tmp_path / "a", resume=True)
    training.train("CONTROL", SMALL, sequences(), tmp_path / "b")
    assert same(tmp_path / "a", tmp_path / "b")
    assert json.loads((tmp_path / "a" / runs.CONFIG).read_text())["config"]["epochs"] == 3


def test_it_stops_at_the_target(tmp_path):
    row = training.train("RNN-LN-FW", replace(SMALL, target_accuracy=0.1), sequences(), tmp_path)
    assert row["epoch"] == 1


def test_a_folder_with_another_run_is_left_alone(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for model, config, resume, message in [
        ("CONTROL", SMALL, False, "already holds a run of CONTROL; --resume goes on with it"),
        ("RNN-LN", SMALL, True, "holds another run \\(model 'CONTROL', not 'RNN-LN'\\)"),
        ("CONTROL", replace(SMALL, hidden_size=13), True, "config hidden_size 12, not 13"),
        ("CONTROL", replace(SMALL, seed=1), True, "holds another run"),
    ]:
        with pytest.raises(RunError, match=message):
            training.train(model, config, sequences(config), tmp_path, resume=resume)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_processes_do_not_share_a_folder(tmp_path):
    with runs.only_one(tmp_path), pytest.raises(RunError, match="another process is training here"):
        training.train("CONTROL", SMALL, sequences(), tmp_path)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_non_finite_loss_or_gradient_stops_and_keeps_the_last_checkpoint(what, tmp_path):
    class Breaks(training.Run):
        def update(self, tokens, targets):
            if self.progress.update == 12:
                if what == "loss":
                    self.model.head[0].bias.data.fill_(math.nan)
                else:
                    self.model.head[0].bias.register_hook(lambda g: g * math.inf)
            super().update(tokens, targets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Run", Breaks)
        with pytest.raises(training.NonFiniteLoss, match="became (nan|inf) at update 13; the last good checkpoint"):
            training.train("RNN-LN", SMALL, sequences(), tmp_path)
    kept = weights(tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert checkpoints.load_checkpoint(tmp_path / runs.CHECKPOINT)[1]["progress"]["update"] == 8


def test_bad_checkpoints(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path / "control")
    training.train("GRU", SMALL, sequences(), tmp_path / "gru")
    path = tmp_path / "control" / runs.CHECKPOINT
    good = path.read_bytes()
    other = (tmp_path / "gru" / runs.CHECKPOINT).read_bytes()
    for content, message in [
        (good[:1000], "truncated file"),
        (good[:-10], "truncated file"),
        (b"", "truncated file"),
        (b"not a checkpoint at all", "truncated file"),
        (other, "got the checkpoint of GRU, wanted one of CONTROL"),
    ]:
        path.write_bytes(content)
        with pytest.raises(RunError, match=message):
            training.load_run(tmp_path / "control", "CONTROL")
        with pytest.raises(RunError, match=message):
            training.train("CONTROL", SMALL, sequences(), tmp_path / "control", resume=True)
        assert path.read_bytes() == content
    path.unlink()
    with pytest.raises(RunError, match="no such file"):
        training.load_run(tmp_path / "control", "CONTROL")


def test_a_checkpoint_of_other_sizes(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    described = json.loads((tmp_path / runs.CONFIG).read_text())
    described["config"]["hidden_size"] = 13
    (tmp_path / runs.CONFIG).write_text(json.dumps(described))
    with pytest.raises(RunError, match="the checkpoint of another model"):
        training.load_run(tmp_path)


def test_a_run_folder_cannot_choose_what_is_imported(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    described = json.loads((tmp_path / runs.CONFIG).read_text()) | {"model": "antigravity:Cell"}
    (tmp_path / runs.CONFIG).write_text(json.dumps(described))
    with pytest.raises(RunError, match="name that model yourself"):
        training.load_run(tmp_path)
    assert "antigravity" not in sys.modules


def test_a_model_of_the_user(tmp_path):
    row = training.train("torch.nn:GRU", SMALL, sequences(), tmp_path)
    assert row["model"] == "torch.nn:GRU"
    training.load_run(tmp_path, "torch.nn:GRU")
    for name, message in [("nowhere:Cell", "ModuleNotFoundError"), ("torch.nn:Nothing", "AttributeError")]:
        with pytest.raises(ValueError, match=message):
            build(name, SMALL, 37, 10)


@pytest.mark.parametrize("settings", [
    {"input_learning_rates": (0.5,)}, {"table_weight_decay": 0.25}, {"head_weight_decay": 1.0}, {"optimizer": "soap"},
    {"centered_gradients": True}, {"clip": 0.01},
])  # fmt: skip
def test_the_settings_of_the_optimizer_are_those_of_the_run(settings, tmp_path):
    plain = training.train("RNN-LN-FW", SMALL, sequences(), tmp_path / "plain")
    other = training.train("RNN-LN-FW", replace(SMALL, **settings), sequences(), tmp_path / "other")
    assert other["train_loss"] != plain["train_loss"]


@pytest.mark.parametrize("embedding_sizes, head_sizes", [((), ()), ((7,), (9,)), ((7, 11), (9, 5))])
def test_the_classifier_reads_embeddings_step_by_step(embedding_sizes, head_sizes):
    config = replace(SMALL, embedding_sizes=embedding_sizes, head_sizes=head_sizes)
    model = build("GRU", config, 37, 10)
    tokens = sequences().train.tokens[:5]
    features = torch.nn.functional.one_hot(tokens, 37).float()
    features = model.embedding(features * (1.0 if embedding_sizes else config.symbol_scale))
    expected = model.head(model.recurrent(features)[0][:, -1])
    assert torch.allclose(model(tokens), expected, atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_smoothed_labels_are_of_the_training_loss_alone_and_fall_with_the_learning_rate(tmp_path, schedule):
    config = replace(SMALL, epochs=2, batch_size=64, train_size=64, learning_rate=1e-30, schedule=schedule)
    batch = sequences().train
    few = data.Data(sequences().task, type(batch)(batch.tokens[:64], batch.targets[:64]), sequences().valid)
    plain = training.train("CONTROL", config, few, tmp_path / "plain")
    training.train("CONTROL", replace(config, label_smoothing=0.2), few, tmp_path / "smooth")
    torch.manual_seed(config.seed)
    spread = -build("CONTROL", config, 37, 10)(few.train.tokens).log_softmax(1).mean().item()
    rows = runs.read_rows(tmp_path / "smooth" / runs.METRICS)
    for row, share in zip(rows, (0.2, 0.2 if schedule == "constant" else 0.1), strict=True):
        assert row["train_loss"] == pytest.approx((1 - share) * plain["train_loss"] + share * spread, rel=1e-5)
        assert row["train_loss"] != plain["train_loss"]
        assert row["valid_loss"] == plain["valid_loss"]


def test_dropout_is_of_the_hidden_vector_of_each_sequence_in_training_alone():
    tokens = sequences().train.tokens[:50]
    model, plain = (build("CONTROL", replace(SMALL, head_dropout=share), 37, 10) for share in (0.25, 0.0))
    plain.load_state_dict(model.state_dict())
    model.head, plain.head = (torch.nn.Identity() for _ in range(2))
    hidden, dropped = plain(tokens), model(tokens)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], hidden[kept] / 0.75)
    assert 0.65 < kept[hidden != 0].double().mean() < 0.85 and len(kept.unique(dim=0)) > 40
    assert torch.equal(model.eval()(tokens), hidden)


def test_weights_that_are_not_finite_are_refused_and_nothing_is_rewritten(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    path = tmp_path / runs.CHECKPOINT
    tensors, header = checkpoints.load_checkpoint(path)
    tensors["model.head.0.bias"].fill_(math.nan)
    checkpoints.save_checkpoint(path, tensors, header)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(RunError, match="got a head.0.bias that is not finite, wanted weights"):
        training.load_run(tmp_path, "CONTROL")
    with pytest.raises(RunError, match="not finite"):
        training.train("CONTROL", SMALL, sequences(), tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_moments_that_are_not_finite_are_refused(tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    tensors, header = checkpoints.load_checkpoint(tmp_path / runs.CHECKPOINT)
    tensors["adam.exp_avg_sq"][3] = math.inf
    checkpoints.save_checkpoint(tmp_path / runs.CHECKPOINT, tensors, header)
    with pytest.raises(RunError, match="adam.exp_avg_sq is not finite.*train again into another --run"):
        training.train("CONTROL", replace(SMALL, epochs=4), sequences(), tmp_path, resume=True)


@pytest.mark.parametrize("header", [[1], None, "x"])
def test_a_header_that_is_no_object(header, tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    tensors, _ = checkpoints.load_checkpoint(tmp_path / runs.CHECKPOINT)
    checkpoints.save_checkpoint(tmp_path / runs.CHECKPOINT, tensors, header)
    with pytest.raises(RunError, match="no header of fastweights"):
        training.load_run(tmp_path, "CONTROL")


@pytest.mark.parametrize("part", ["random.order", "adam.exp_avg", "progress", "progress update"])
@pytest.mark.parametrize("damage", ["missing", "odd"])
def test_a_checkpoint_that_no_run_can_go_on_from(part, damage, tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    path = tmp_path / runs.CHECKPOINT
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
        training.train("CONTROL", SMALL, sequences(), tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", [runs.METRICS, runs.TIMINGS])
@pytest.mark.parametrize(
    "content, says",
    [
        (b"[1]\n", "broken line 1"), (b'{"a": 1}\n', "broken line 1"), (b"\xff\n\n", "broken line 1"),
        (b'{"update": "x"}\n', "broken line 1"), (b"", "got 0 epochs up to the checkpoint, wanted its 3"),
    ],
)  # fmt: skip
def test_rows_that_do_not_go_with_the_checkpoint(name, content, says, tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    (tmp_path / name).write_bytes(content)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(RunError, match=says):
        training.train("CONTROL", SMALL, sequences(), tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("place", [{"batch": -3}, {"batch": 99}, {"update": 10**9}, {"epoch": -1}])
def test_a_checkpoint_of_no_place_of_the_run(place, tmp_path):
    training.train("CONTROL", SMALL, sequences(), tmp_path)
    tensors, header = checkpoints.load_checkpoint(tmp_path / runs.CHECKPOINT)
    checkpoints.save_checkpoint(tmp_path / runs.CHECKPOINT, tensors, header | {"progress": header["progress"] | place})
    with pytest.raises(RunError, match="no run can go on from .ValueError: batch .* is not update"):
        training.train("CONTROL", SMALL, sequences(), tmp_path, resume=True)


def test_a_loss_that_breaks_down_at_once_speaks_of_no_checkpoint(tmp_path):
    with pytest.raises(training.NonFiniteLoss, match="at update 2; try `fastweights train` with a smaller"):
        training.train("RNN-LN", replace(SMALL, learning_rate=1e30), sequences(), tmp_path)


@pytest.mark.parametrize("name", ["final.json", runs.TIMINGS, runs.METRICS])
def test_files_without_a_description_are_left_alone(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match="files of a run without its config.json"):
        training.train("CONTROL", SMALL, sequences(), tmp_path)
    assert (tmp_path / name).read_text() == "mine" and not (tmp_path / runs.CONFIG).exists()
