"""Glimpses of pictures: what they show, in which order, and what is wrong with files and folders."""

import numpy as np
import pytest
import torch
from PIL import Image

from fastweights.errors import UserError
from fastweights.tasks import Glimpses, Spec, drawn_faces, image_rows, pictures
from fastweights.training import data
from fastweights.training.setup import Setup

MODES = [
    (order, coarse, "coordinates") for order in ("rows", "columns", "clockwise") for coarse in ("mean", "skip", "max")
]


def one_by_one(task, image):
    """The glimpses of one picture, pixel by pixel."""
    side, found = len(image), []
    small = side // 4
    corners = {
        "rows": [(0, 0), (0, 1), (1, 0), (1, 1)],
        "columns": [(0, 0), (1, 0), (0, 1), (1, 1)],
        "clockwise": [(0, 0), (0, 1), (1, 1), (1, 0)],
    }[task.order]
    of_four = {"mean": lambda each: each.mean(), "skip": lambda each: each[0, 0], "max": lambda each: each.max()}[
        task.coarse
    ]
    for row, column in corners:
        quadrant = image[2 * small * row :, 2 * small * column :][: 2 * small, : 2 * small]
        half = torch.tensor(
            [[of_four(quadrant[2 * r : 2 * r + 2, 2 * c : 2 * c + 2]) for c in range(small)] for r in range(small)]
        )
        whole = [half.flatten(), torch.tensor([row - 0.5, column - 0.5, 1.0])]
        quarters = [
            [quadrant[small * r :, small * c :][:small, :small].flatten(), torch.tensor([row - 0.5 + (r - 0.5) / 2, column - 0.5 + (c - 0.5) / 2, -1.0])]
            for r, c in corners
        ]  # fmt: skip
        found += [torch.cat(each[: 1 + (task.position != "none")]) for each in (whole, *quarters, whole)]
    return torch.stack(found)


@pytest.mark.parametrize("mode", [*MODES, ("rows", "mean", "none")], ids=lambda mode: "-".join(mode))
def test_a_picture_in_24_glimpses_and_back(mode):
    task = Glimpses("drawn-faces", "", *mode)
    images = torch.rand(2, 8, 8)
    made = torch.empty(2, 24, 4 + 3 * (mode[2] != "none"))
    task.look(images, made)
    torch.testing.assert_close(made, torch.stack([one_by_one(task, image) for image in images]))
    assert task.picture(made).equal(images)


def test_the_pictures_of_idx_files(made_up_pictures):
    images, labels, test_images, test_labels = image_rows.read("", "mnist")
    drawn = data.draw(Glimpses(), 40, 20, 0, 20)
    everything = data.draw(Glimpses(validation="test"), 60, 20, 0, 20)
    for batch, wanted, whose in (
        (drawn.train, images[:40], labels[:40]), (drawn.valid, images[40:], labels[40:]),
        (drawn.test, test_images, test_labels), (everything.train, images, labels),
        (everything.valid, test_images, test_labels),
    ):  # fmt: skip
        found = ((Glimpses().picture(batch.inputs) * 0.3081 + 0.1307) * 255).round().to(torch.uint8)
        told = sorted(zip(found.flatten(1).tolist(), batch.targets.tolist(), strict=True))
        assert told == sorted(zip(wanted.flatten(1).tolist(), whose.tolist(), strict=True))
        assert batch.inputs.shape[1:] == (24, 49)


def test_a_picture_to_train_on_is_moved_anew_in_each_epoch_and_no_other(made_up_pictures):
    task = Glimpses(shift=2)
    batch = task.draw(40, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    one, other = task.renew(batch, generator), task.renew(batch, generator)
    assert not one.inputs.equal(other.inputs) and one.targets is batch.targets
    assert task.renew(batch, torch.Generator().manual_seed(1)).inputs.equal(one.inputs)
    before, after = task.picture(batch.inputs), task.picture(one.inputs)
    black = -0.1307 / 0.3081
    padded = torch.nn.functional.pad(before, (2, 2, 2, 2), value=black)
    moves = [padded[:, down : down + 28, right : right + 28] for down in range(5) for right in range(5)]
    hits = torch.stack([(move == after).flatten(1).all(1) for move in moves])
    assert hits.sum(0).tolist() == [1] * 40 and hits.any(1).sum() > 10
    torch.testing.assert_close(task.look(after), one.inputs)  # the coarse glimpses are those of the moved picture
    assert Glimpses().renew(batch, generator) is batch


@pytest.fixture
def faces(tmp_path):
    """12 people, each smiling and neutral; a person's pictures have one brightness."""
    for place, name in enumerate(("neutral", "smile")):
        (tmp_path / name).mkdir()
        for person in range(12):
            Image.fromarray(np.full((8, 8), 10 * person + place, np.uint8)).save(tmp_path / name / f"{person:02}_1.png")
    return tmp_path


def people_of(batch, task):
    mean, deviation = task._read().scale
    return {int(((each * deviation + mean) * 255).round().item()) // 10 for each in batch.inputs[:, 0, 0]}


def test_a_folder_whose_test_people_are_unseen(faces):
    task = Glimpses("folder", str(faces))
    assert task.spec == Spec(4, 2, symbols=False) and task.missing() is None
    assert task.floors == {"accuracy": 0.5, "loss": pytest.approx(0.6931, abs=1e-4)}
    drawn = data.draw(task, 20, 2, 0, 2)
    assert people_of(drawn.valid, task) == {4} and people_of(drawn.test, task) == {9}
    assert people_of(drawn.train, task) == set(range(12)) - {4, 9}
    assert sorted(drawn.test.targets.tolist()) == [0, 1]


def write_csv(folder, *extra, part=lambda person: ",train,valid,test".split(",")[1 + min(person, 2)]):
    lines = [
        f"{name}/{person:02}_1.png,p{person},{part(person)}".rstrip(",")
        for name in ("neutral", "smile")
        for person in range(12)
    ]
    (folder / "identities.csv").write_text("\n".join(["file,identity", *lines, *extra]))


def test_people_and_parts_of_a_csv(faces):
    write_csv(faces, " ", "smile/00_1.png, p0, train")  # blanks as people write them
    task = Glimpses("folder", str(faces))
    drawn = data.draw(task, 2, 2, 0, 20)
    assert (people_of(drawn.train, task), people_of(drawn.valid, task)) == ({0}, {1})
    assert people_of(drawn.test, task) == set(range(2, 12))
    pictures.from_folder.cache_clear()
    write_csv(faces, part=lambda person: "")
    assert people_of(task.held_out("test", 2, torch.Generator()), task) == {7}  # p0 p1 p10 p11 p2 p3 ...


def test_each_picture_stands_for_itself_where_names_tell_of_nobody(faces):
    assert Glimpses("folder", str(faces)).summary().endswith("20 pictures train, 2 validate, 2 test, of 12 people")
    pictures.from_folder.cache_clear()
    for file in list(faces.glob("*/*.png")):
        file.rename(file.with_name(f"IMG_{file.name}"))
    task = Glimpses("folder", str(faces))
    assert task.summary() == "2 classes, 20 pictures train, 2 validate, 2 test, each stands for itself"
    assert task.sizes == {"train": 20, "valid": 2, "test": 2} and not Glimpses().sizes and not Glimpses().summary()
    assert people_of(task.held_out("valid", 2, torch.Generator()), task) == {4, 2}  # places 4 and 14 of 24


def cut(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


BROKEN = {
    "no folder": (lambda folder: "nowhere", "nowhere: no such folder, wanted a folder with one sub-folder of pictures a class; name it by --data-dir"),
    "no classes": (lambda folder: folder / "smile", "smile: got 0 sub-folders, wanted a folder .*, at least two"),
    "one image": (lambda folder: [file.unlink() for file in sorted((folder / "smile").iterdir())[1:]], "smile: got 1 pictures of this class, wanted at least two"),
    "text": (lambda folder: (folder / "smile/00_2.png").write_text("no picture"), "00_2.png: got a file that cannot be read as a picture .*, wanted one"),
    "cut": (lambda folder: cut(folder / "smile/03_1.png"), "03_1.png: got a file that cannot be read as a picture .*, wanted one"),
    "folder in it": (lambda folder: (folder / "smile/more").mkdir(), "more: got a file that cannot be read as a picture"),
    "stray file": (lambda folder: ([file.unlink() for file in folder.glob("*/0[5-9]*")], (folder / "smile/notes.txt").write_text("")), "notes.txt: got a file that cannot be read as a picture"),
    "other size": (lambda folder: Image.new("L", (8, 12)).save(folder / "smile/07_1.png"), "07_1.png: got a picture of 8 x 12 pixels, wanted 8 x 8 as .*00_1.png has"),
    "odd size": (lambda folder: Image.new("L", (9, 9)).save(folder / "neutral/00_1.png"), "00_1.png: got a picture of 9 x 9 pixels, wanted as many rows as columns, a multiple of 4"),
    "few people": (lambda folder: [file.unlink() for name in ("neutral", "smile") for file in sorted((folder / name).iterdir())[5:]], r"got pictures of 5 people .* wanted at least ten, named before the first _ or - of each file; or in .*identities.csv, in lines such as neutral/00_1.png,anna, a name for each"),
    "in two parts": (lambda folder: write_csv(folder, "neutral/00_1.png,p3,train"), "identities.csv, line 26: got 'p3' in train, and in test in line 5, wanted nobody in two parts"),
    "two people": (lambda folder: write_csv(folder, "neutral/00_1.png,p1,valid"), "identities.csv, line 26: got 'neutral/00_1.png' of 'p1', and before of 'p0', wanted one person in it"),
    "no part": (lambda folder: write_csv(folder, part=lambda person: "train" if person else ""), "identities.csv: got 'p0' without a part, wanted one for all people or for none"),
    "empty part": (lambda folder: write_csv(folder, part=lambda person: "train" if person else "test"), "identities.csv: got nobody in valid, wanted somebody in each of train, valid, test"),
    "odd line": (lambda folder: write_csv(folder, "smile/00_1.png"), "identities.csv, line 26: got 'smile/00_1.png', wanted a file, who is in it, and perhaps"),
    "no line": (lambda folder: (folder / "identities.csv").write_text("smile/00_1.png,anna\n"), "identities.csv: got no line for neutral/00_1.png, wanted one for each of the 24 pictures"),
    "class unseen": (lambda folder: [file.unlink() for file in (folder / "smile").iterdir() if file.name[:2] not in ("04", "09")], "smile: got pictures of nobody who trains"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_with_a_folder_is_told_with_the_name_of_the_file(kind, faces):
    damage, says = BROKEN[kind]
    made = damage(faces)
    task = Glimpses("folder", str(made if kind.startswith("no ") and kind in ("no folder", "no classes") else faces))
    with pytest.raises(UserError, match=says):
        task.draw(1, torch.Generator())
    said = task.missing()
    assert said is not None and "\n" not in said


def test_drawn_faces_are_of_people_who_are_in_one_part_and_differ_by_expression(monkeypatch):
    monkeypatch.setattr(drawn_faces, "PEOPLE", {"train": 6, "valid": 2, "test": 2})
    draw = drawn_faces.draw_faces.__wrapped__
    found, again, other = draw(0), draw(0), draw(1)
    assert found.images.equal(again.images) and not found.images.equal(other.images)
    assert [len(found.parts[part]) for part in ("train", "valid", "test")] == [600, 200, 200]
    assert found.side == 48 and set(found.labels.tolist()) == set(range(6))
    pixels = found.images.double() / 255
    mouth = pixels[:, 34:40, 20:28].mean((1, 2)) - pixels.mean((1, 2))
    by = {name: mouth[found.labels == label].mean().item() for label, name in enumerate(found.classes)}
    assert by["scream"] < by["surprise"] < by["neutral"] - 0.05  # an open mouth is dark


def test_a_folder_of_pictures_that_is_taken_for_idx_files(faces):
    for task in (Glimpses(data_dir=str(faces)), image_rows.ImageRows(data_dir=str(faces))):
        said = str(task.missing())
        assert said.endswith("or take its own: --task glimpses --pictures folder") and "idx3-ubyte.gz: no such" in said
    with pytest.raises(UserError, match="--data .*: got no train.csv there, wanted it; --data-dir names the folder of"):
        data.sequences(Setup("GRU", Glimpses()), faces)


def test_bad_settings(as_users_have_it):
    with pytest.raises(UserError, match="order: got 'random', wanted rows or columns or clockwise"):
        Glimpses(order="random")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="shift: got 13, wanted an integer from 0 to 12"):
        Glimpses(shift=13)
