"""Whatever becomes of a checkpoint, it is refused, or holds what was saved; so does a folder of an earlier version."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from small_runs import SMALL, TASK, as_before, at_update, interrupt, same, save_raw, train

from fastweights import cli, files
from fastweights.optim import Group
from fastweights.tasks import AssociativeRetrieval
from fastweights.training import checkpoints, loop, run
from fastweights.training.description import load_run
from fastweights.training.run_folder import CHECKPOINT, FINAL, METRICS, RunError

CONFIG = replace(SMALL, groups=(Group(r"recurrent\.weight_hh_l0", kind="soap"),))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that is done, and the same one stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("runs")
    train("CONTROL", CONFIG, folder / "done")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Loop", at_update(11, interrupt))
        with pytest.raises(KeyboardInterrupt):
            train("CONTROL", CONFIG, folder / "cut")
    return folder


@pytest.fixture(params=["done", "cut"])
def folder(trained, tmp_path, request):
    return copy(trained / request.param, tmp_path / "run")


def copy(old, new):
    new.mkdir()
    for path in old.iterdir():
        (new / path.name).write_bytes(path.read_bytes())
    return new


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def refused(folder, match="checkpoint.safetensors: got", **options):
    """Going on is refused in one line, and nothing changes."""
    before = contents(folder)
    with pytest.raises(RunError, match=match) as caught:
        train("CONTROL", CONFIG, folder, resume=True, **options)
    assert "\n" not in str(caught.value) and contents(folder) == before


def parts(folder):
    return checkpoints.load_checkpoint(folder / CHECKPOINT)


def names(kinds):
    return [
        f"{kind}.{name}" for kind, several in kinds.items() for name in several
    ]  # fmt: skip


STATE = names({
    "adam": ("step", "exp_avg", "exp_avg_sq"), "random": ("torch",),
    "soap.0": ("left", "right", "left_covariance", "right_covariance"),
})  # fmt: skip
MODEL = names({"model": ("recurrent.weight_ih_l0", "recurrent.weight_hh_l0", "head.0.weight", "head.0.bias")})
DAMAGES = {
    "missing": lambda tensor: None,
    "one number": lambda tensor: tensor.flatten()[:1].reshape([1] * (tensor.dim() or 1)),
    "one row": lambda tensor: tensor.reshape(-1)[None, :],
    "another dtype": lambda tensor: tensor.to(torch.float16),
    "empty": lambda tensor: tensor.flatten()[:0],
    "not finite": lambda tensor: torch.full_like(tensor, math.nan if tensor.is_floating_point() else 255),
}


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", STATE + MODEL)
def test_every_part_is_there_and_of_its_shape_dtype_and_finite(name, damage, hashed, trained, tmp_path):
    folder = copy(trained / "cut", tmp_path / "run")
    tensors, header = parts(folder)
    assert set(STATE + MODEL) <= tensors.keys()
    made = DAMAGES[damage](tensors.pop(name).clone())
    tensors |= {} if made is None else {name: made}
    if hashed:
        checkpoints.save_checkpoint(folder / CHECKPOINT, tensors, header)
    else:
        save_raw(folder, tensors, {"model": header["model"], "progress": header["progress"]})
    refused(folder)


@pytest.mark.parametrize("change", [lambda t: t - 1, lambda t: t * 0, lambda t: t + 0.5, lambda t: -t])
def test_the_optimizer_is_after_as_many_updates(change, folder):
    tensors, header = parts(folder)
    checkpoints.save_checkpoint(folder / CHECKPOINT, tensors | {"adam.step": change(tensors["adam.step"])}, header)
    refused(folder, "adam.step is .* after")


@pytest.mark.parametrize("damage", ["none", "unknown tensor"])
def test_no_state_or_more_of_it(damage, folder):
    tensors, header = parts(folder)
    none = {name: tensor for name, tensor in tensors.items() if not name.startswith(("adam.", "soap."))}
    odd = none if damage == "none" else tensors | {"adam.more": torch.zeros(1)}
    checkpoints.save_checkpoint(folder / CHECKPOINT, odd, header)
    refused(folder, "missing|unknown")


@pytest.mark.parametrize("value", ["missing", None, "x", [], math.nan, math.inf, -1, {"loss": [math.nan, 1.0]}, {"loss": 1}])  # fmt: skip
@pytest.mark.parametrize("name", ["update", "epoch", "sums", "gradient_norm", "done", "unknown"])
def test_progress_that_is_none(name, value, trained, tmp_path):
    folder = copy(trained / "cut", tmp_path / "run")
    tensors, header = parts(folder)
    progress = dict(header["progress"])
    if value == "missing":
        progress.pop(name, None)
        if name == "unknown":
            progress = {}
    else:
        progress[name] = value
    if (name, value) == ("gradient_norm", -1):
        progress[name] = {}
    save_raw(folder, tensors, {"model": header["model"], "progress": progress})  # NaN and all
    refused(folder)


@pytest.mark.parametrize("kind", ["bit", "byte", "zeros", "swapped"])
def test_no_flipped_bit_goes_unseen(kind, trained, tmp_path):
    """Everywhere in the file: it is refused, or what is read is what was written."""
    path = tmp_path / CHECKPOINT
    good, generator = (trained / "cut" / CHECKPOINT).read_bytes(), random.Random(kind)
    tensors, header = parts(trained / "cut")
    seen = 0
    for _ in range(150):
        content, place = bytearray(good), generator.choice([generator.randrange(1500), generator.randrange(len(good))])
        if kind == "bit":
            content[place] ^= 1 << generator.randrange(8)
        elif kind == "byte":
            content[place] = generator.randrange(256)
        elif kind == "zeros":
            content[place : place + 512] = bytes(len(content[place : place + 512]))
        else:
            content[place : place + 16] = content[place : place + 16][::-1]
        path.write_bytes(content)
        try:
            got, said = checkpoints.load_checkpoint(path)
        except RunError as error:
            seen += 1
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        assert said == header and got.keys() == tensors.keys()
        assert all(torch.equal(got[name], tensors[name]) for name in tensors)
    assert seen > 75


@pytest.mark.parametrize("command", ["sample", "diagnose", "train"])
@pytest.mark.parametrize("hashed", [True, False])
def test_a_flipped_bit_in_the_weights_of_a_finished_run_is_seen_by_every_command(
    command, hashed, tmp_path, capsys, jobs_here
):
    """Of a run of an earlier version by the hash in final.json."""
    train("RNN-LN-FW", replace(SMALL, epochs=1), tmp_path)
    if not hashed:
        as_before(tmp_path)
    path = tmp_path / CHECKPOINT
    content, weights = bytearray(path.read_bytes()), parts(tmp_path)[0]["model.head.0.bias"]
    content[content.index(weights.numpy().tobytes()) + 1] ^= 1
    before = {**contents(tmp_path), CHECKPOINT: bytes(content)}
    path.write_bytes(content)
    settings = [
        "--hidden-size", "12", "--epochs", "1", "--train-size", "512", "--valid-size", "256", "--batch-size", "64",
        "--schedule", "constant", "--num-pairs", "2", "--resume",
    ]  # fmt: skip
    more = {"sample": ["a1b2??a"], "diagnose": [], "train": settings}[command]
    assert cli.main([command, "RNN-LN-FW", *more, "--run", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}: got " in said and "hash" in said and contents(tmp_path) == before


def test_the_checkpoint_of_another_run_of_the_same_model(folder, tmp_path):
    train("CONTROL", replace(CONFIG, seed=1), tmp_path / "other")
    (folder / CHECKPOINT).write_bytes((tmp_path / "other" / CHECKPOINT).read_bytes())
    refused(folder, "the checkpoint of another run than config.json tells of")
    with pytest.raises(RunError, match="of another run"):
        load_run(folder)


def test_a_folder_of_an_earlier_version_goes_on_bit_for_bit(trained, tmp_path):
    folder = copy(trained / "cut", tmp_path / "run")
    as_before(folder)
    load_run(folder)
    train("CONTROL", CONFIG, folder, resume=True)
    assert same(folder, trained / "done")
    for name in (METRICS, CHECKPOINT):
        assert (folder / name).read_bytes() == (trained / "done" / name).read_bytes()


def test_final_json_and_the_checkpoint_are_of_one_end(trained, tmp_path):
    folder = copy(trained / "cut", tmp_path / "run")
    (folder / FINAL).write_bytes((trained / "done" / FINAL).read_bytes())
    refused(folder, "got the weights after update 11, wanted those after 24, where final.json says")
    with pytest.raises(RunError, match="after update 11"):
        load_run(folder)
    (folder / FINAL).unlink()
    train("CONTROL", CONFIG, folder, resume=True)
    assert json.loads((folder / FINAL).read_text()) == json.loads((trained / "done" / FINAL).read_text())


def test_a_run_that_is_killed_after_it_was_trained_longer_has_its_own_end(tmp_path, monkeypatch):
    """The end of the shorter run is still there when the longer one is killed before its own is written."""
    train("CONTROL", replace(SMALL, epochs=1), tmp_path / "run")
    write_json = files.write_json

    def killed(path, content):
        if path.name == FINAL:
            raise SystemError("killed")
        write_json(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", killed)
        with pytest.raises(SystemError):
            train("CONTROL", SMALL, tmp_path / "run", resume=True)
    train("CONTROL", SMALL, tmp_path / "run", resume=True)
    train("CONTROL", SMALL, tmp_path / "through")
    ends = [json.loads((tmp_path / name / FINAL).read_text()) for name in ("run", "through")]
    assert ends[0] == ends[1] and ends[0]["update"] == 24


class Odd(AssociativeRetrieval):
    """Whose statistics stop to be numbers while its loss is one."""

    NAME = TASK.NAME
    when = "training"

    def loss(self, model, batch, **options):
        value, stats = super().loss(model, batch, **options)
        if model.training == (self.when == "training"):
            stats = {**stats, "odd": (torch.tensor(math.inf), torch.tensor(1.0))}
        return value, stats


@pytest.mark.parametrize("when, name, stopped", [("training", "train_odd", False), ("validation", "valid_odd", False), ("training", "the sum of odd", True)])  # fmt: skip
def test_what_is_no_finite_number_gets_into_no_file(when, name, stopped, tmp_path, monkeypatch):
    task = Odd(2)
    object.__setattr__(task, "when", when)
    if stopped:
        monkeypatch.setattr(run, "Loop", at_update(3, interrupt))
    with pytest.raises(loop.NonFiniteLoss, match=f"CONTROL: {name} became inf at update {3 if stopped else 8}; try"):
        train("CONTROL", SMALL, tmp_path, task)
    assert not (tmp_path / METRICS).exists() and not (tmp_path / CHECKPOINT).exists()
