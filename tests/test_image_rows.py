import gzip
import hashlib
import json
import struct

import pytest
import torch

from fastweights import cli
from fastweights.commands import fetch
from fastweights.errors import UserError
from fastweights.jobs.job import Job
from fastweights.tasks import ImageRows, describe, image_rows, places
from fastweights.training import data
from fastweights.training.setup import Setup

TRAIN, VALID, TEST = 7, 3, 4


def content(name):
    """Pictures of one brightness each, 0 1 2 ..., and their labels."""
    count = TRAIN + VALID if "train" in name else TEST
    shape = (count, 28, 28) if "images" in name else (count,)
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return header + b"".join(bytes([n]) * (784 if "images" in name else 1) for n in range(count))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in image_rows.FILES:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content(name)))
    known = tuple(hashlib.md5(content(name)).hexdigest() for name in image_rows.FILES)
    monkeypatch.setattr(image_rows, "MD5", {"mnist": known, "fashion-mnist": ("0",) * 4})
    monkeypatch.setattr(image_rows, "VALID", VALID)
    return tmp_path


def test_all_pictures_of_a_part_come_before_one_comes_again(folder):
    drawn = data.draw(ImageRows(data_dir=str(folder)), 2 * TRAIN, VALID, 0, TEST)
    assert (
        drawn.train.targets[:TRAIN].sort()[0].tolist() == drawn.train.targets[TRAIN:].sort()[0].tolist() == [*range(7)]
    )
    assert drawn.valid.targets.sort()[0].tolist() == [7, 8, 9] and drawn.test.targets.sort()[0].tolist() == [0, 1, 2, 3]
    for batch in drawn.parts().values():
        assert batch.inputs.shape[1:] == (28, 28) and batch.inputs.dtype == torch.float32
        brightness = batch.inputs * 0.3081 + 0.1307
        assert torch.allclose(brightness, (batch.targets / 255)[:, None, None].expand_as(brightness), atol=1e-6)


def test_files_may_be_unpacked_and_known_by_the_md5_of_what_is_packed(folder, monkeypatch):
    before = ImageRows(data_dir=str(folder)).held_out("test", 4, torch.Generator()).hash
    packed = tuple(hashlib.md5((folder / f"{name}.gz").read_bytes()).hexdigest() for name in image_rows.FILES)
    monkeypatch.setitem(image_rows.MD5, "fashion-mnist", packed)
    assert ImageRows("fashion-mnist", str(folder)).missing() is None
    for name in image_rows.FILES:
        (folder / f"{name}.gz").unlink()
        (folder / name).write_bytes(content(name))
    image_rows.read.cache_clear()
    assert ImageRows(data_dir=str(folder)).held_out("test", 4, torch.Generator()).hash == before


BROKEN = {
    "gone": (lambda file: file.unlink(), "no such file"),
    "other": (lambda file: file.write_bytes(gzip.compress(b"other")), "got a file of md5 795f3202b17cb6bc3d4b771d8c6c9eaf"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-9]), "got a file that cannot be read"),
    "no gzip": (lambda file: file.write_bytes(b"<html>"), "got a file that cannot be read"),
    "damaged": (lambda file: file.write_bytes(file.read_bytes()[:20] + b"\xff" * 30), "got a file that cannot be read"),
    "folder": (lambda file: (file.unlink(), file.mkdir()), "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_files_that_are_not_those_of_the_data_set_are_told_in_one_line(kind, folder):
    damage, says = BROKEN[kind]
    damage(folder / "t10k-labels-idx1-ubyte.gz")
    task = ImageRows(data_dir=str(folder))
    for ask in (task.missing, lambda: task.draw(1, torch.Generator())):
        try:
            said = ask()
        except UserError as error:
            said = str(error)
        assert f"t10k-labels-idx1-ubyte.gz: {says}" in said and "\n" not in said
        assert "wanted t10k-labels-idx1-ubyte.gz of mnist; name the folder of its four idx files by --data-dir" in said


def test_where_the_files_lie_is_no_part_of_what_the_task_is(folder):
    task = ImageRows(data_dir=str(folder))
    assert describe(task) == describe(ImageRows()) and places(task) == {"data_dir": str(folder)}
    job = Job(Setup("GRU", task), folder / "run")
    assert Job.from_json(job.as_json()) == job
    assert str(folder) not in json.dumps(job.setup.as_json())


def test_bad_settings(as_users_have_it):
    with pytest.raises(UserError, match="pictures: got 'cifar', wanted mnist or fashion-mnist"):
        ImageRows("cifar")


def test_files_are_fetched_from_the_first_mirror_that_has_them_and_no_other_is_touched(
    folder, tmp_path, monkeypatch, capsys
):
    there, here = f"{folder.as_uri()}/", tmp_path / "new/mnist"
    (folder / "odd").mkdir()
    for name in image_rows.FILES:
        (folder / f"odd/{name}.gz").write_bytes(b"<html>")
    monkeypatch.setattr(fetch, "MIRRORS", {"mnist": (f"{there}none/", f"{there}odd/", there)})
    here.mkdir(parents=True)
    (here / image_rows.FILES[0]).write_bytes(content(image_rows.FILES[0]))
    assert cli.main(["data", "mnist", "--data-dir", str(here)]) == 0
    assert "train-images-idx3-ubyte was there before" in capsys.readouterr().out
    assert len(list(here.iterdir())) == 4 and ImageRows(data_dir=str(here)).missing() is None
    (here / image_rows.FILES[0]).write_bytes(b"mine")
    assert cli.main(["data", "mnist", "--data-dir", str(here)]) == 2
    assert (here / image_rows.FILES[0]).read_bytes() == b"mine"


def test_without_a_network_it_is_said_what_to_do_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "MIRRORS", {"mnist": ((tmp_path / "none").as_uri() + "/",)})
    assert cli.main(["data", "mnist", "--data-dir", str(tmp_path / "data")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "got no train-images-idx3-ubyte.gz" in said and "or fetch by hand, on any machine, train-images" in said
    assert not list((tmp_path / "data").iterdir())
