"""Pictures of classes, in the parts that train, validate and test: from idx files, or from a folder."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastweights import files
from fastweights.errors import UserError, plain, shown
from fastweights.tasks import image_rows

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Tensor

PEOPLE = "identities.csv"
PARTS = ("train", "valid", "test")
EVERY = {"valid": 4, "test": 9}  # the first of their people, of whom every tenth is theirs
LARGEST = 1024  # pixels of a side


class Pictures(NamedTuple):
    images: "Tensor"  # [count, side, side] bytes
    labels: "Tensor"  # [count] places in `classes`
    parts: "Mapping[str, Tensor]"  # of PARTS, the places of their pictures
    classes: tuple[str, ...]
    scale: tuple[float, float]  # mean and deviation of a pixel of those to train on, of 1 for white
    people: int = 0  # of a folder: how many there are, each in one part alone

    @property
    def side(self) -> int:
        return self.images.shape[-1]

    @property
    def shares(self) -> list[float]:
        """Of each class, of the pictures to train on."""
        counts = self.labels[self.parts["train"]].bincount(minlength=len(self.classes))
        return (counts / counts.sum()).tolist()


def from_idx(folder: str, name: str) -> Pictures:
    """Of four idx files of mnist or fashion-mnist, held to their md5; the last to train on validate."""
    return _from_idx(image_rows.read, folder, name)


@lru_cache(maxsize=2)
def _from_idx(read: Any, folder: str, name: str) -> Pictures:
    import torch

    images, labels, test_images, test_labels = read(folder, name)
    places, last = torch.arange(len(images) + len(test_images)), len(images)
    first = last - image_rows.VALID
    parts = {"train": places[:first], "valid": places[first:last], "test": places[last:]}
    classes = tuple(map(str, range(10)))
    both = torch.cat([images, test_images]), torch.cat([labels, test_labels]).long()
    return Pictures(*both, parts, classes, image_rows.SCALE[name])


@lru_cache(maxsize=1)
def from_folder(folder: str) -> Pictures:
    """Of a folder with one sub-folder a class.

    Who is shown stands in the file's name, before its first `_` or `-`; or in identities.csv, with a line
    `smile/a.png,anna` for each file, and behind it, where that is to be said, the part: train, valid or test. Else, of
    every ten people in the order of their names, one validates and one tests. Nobody is in two parts. Where all names
    of a class begin alike, as IMG_001.png does, they tell of nobody, and each picture stands for itself.
    """
    import numpy as np
    import torch

    root = Path(folder)
    wanted = "wanted a folder with one sub-folder of pictures a class; name it by --data-dir"
    if not root.is_dir():
        raise UserError(f"{root}: no such folder, {wanted}")
    classes = sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    if len(classes) < 2:
        raise UserError(f"{root}: got {len(classes)} sub-folders, {wanted}, at least two")
    found = [(label, file) for label, name in enumerate(classes) for file in _pictures_in(root / name)]
    names = [f"{classes[label]}/{file.name}" for label, file in found]
    images = _read_all([file for _, file in found])
    people, said = _people(root, names)
    part_of = _parts(root, people, said)
    labels = torch.tensor([label for label, _ in found])
    parts = {part: torch.tensor([n for n, name in enumerate(names) if part_of[name] == part]) for part in PARTS}
    for label, name in enumerate(classes):
        if not (labels[parts["train"]] == label).any():
            raise UserError(f"{root / name}: got pictures of nobody who trains, wanted some; of {len(found)} pictures "
                            f"{len(parts['train'])} are to train on")  # fmt: skip
    pixels = images[parts["train"].numpy()].astype(np.int64)
    mean, square = pixels.mean() / 255, (pixels**2).mean() / 255**2
    scale = float(mean), max(float(square - mean**2) ** 0.5, 1e-3)
    told = tuple(map(plain, classes))
    return Pictures(torch.from_numpy(images), labels, parts, told, scale, len(set(people.values())))


def _pictures_in(folder: Path) -> list[Path]:
    found = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    if len(found) < 2:
        raise UserError(f"{folder}: got {len(found)} pictures of this class, wanted at least two")
    return found


def _read_all(paths: Sequence[Path]) -> Any:
    """[count, side, side] bytes of grey."""
    import numpy as np
    from PIL import Image

    images: Any = None
    for place, path in enumerate(paths):
        try:
            with Image.open(path) as opened:
                width, height = opened.size
                if images is None and (width != height or width % 4 or not 4 <= width <= LARGEST):
                    raise UserError(f"{path}: got a picture of {width} x {height} pixels, wanted as many rows as "
                                    f"columns, a multiple of 4 and at most {LARGEST}")  # fmt: skip
                side = width if images is None else images.shape[-1]
                if (width, height) != (side, side):
                    raise UserError(f"{path}: got a picture of {width} x {height} pixels, wanted {side} x {side} as "
                                    f"{paths[0]} has")  # fmt: skip
                grey = np.asarray(opened.convert("L"), dtype=np.uint8)
        except UserError:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{path}: got a file that cannot be read as a picture ({plain(str(error))}), wanted one; "
                            "take it out of the folder") from None  # fmt: skip
        if images is None:
            images = np.empty((len(paths), side, side), dtype=np.uint8)
        images[place] = grey
    return images


def _parts(root: Path, people: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    """The part of each file, by who is in it; `said`: the part of each person, where that is said."""
    asked = [*dict.fromkeys(sorted(set(people.values())))]
    if not said:
        if len(asked) < 10:
            raise UserError(f"{root}: got pictures of {len(asked)} people ({shown(asked)[:60]}), wanted at least ten, "
                            f"named before the first _ or - of each file; or in {root / PEOPLE}, in lines such as "
                            f"{next(iter(people))},anna, a name for each picture that stands for itself")  # fmt: skip
        said = {name: next((part for part, first in EVERY.items() if place % 10 == first), "train")
                for place, name in enumerate(asked)}  # fmt: skip
    found = {file: said[person] for file, person in people.items()}
    counts = Counter(found.values())
    for part in PARTS:
        if not counts[part]:
            raise UserError(f"{root / PEOPLE}: got nobody in {part}, wanted somebody in each of {', '.join(PARTS)}")
    return found


def _people(root: Path, names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Who is in each file; and the part of each person, where that is said."""
    path = root / PEOPLE
    if not files.exists(path):
        people = {name: Path(name).stem.replace("-", "_").partition("_")[0] for name in names}
        told = {(name.partition("/")[0], person) for name, person in people.items()}
        alike = len(told) == len({label for label, _ in told})  # in each class
        return {name: name for name in names} if alike else people, {}
    try:
        text = files.read_named(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as text ({error}), wanted lines such as smile/a.png,anna") from None
    people, parts, lines = {}, {}, {}
    for number, row in enumerate(csv.reader(StringIO(text)), 1):
        row = [cell.strip() for cell in row]
        if not any(row) or row[:2] == ["file", "identity"]:
            continue
        if len(row) not in (2, 3) or (len(row) == 3 and row[2] not in PARTS):
            raise UserError(f"{path}, line {number}: got {shown(','.join(row))}, wanted a file, who is in it, and "
                            f"perhaps {' or '.join(PARTS)}: smile/a.png,anna,train")  # fmt: skip
        file, person, part = [*row, ""][:3]
        if (before := parts.setdefault(person, part)) != part:
            raise UserError(f"{path}, line {number}: got {shown(person)} in {part or 'no part'}, and in "
                            f"{before or 'no part'} in line {lines[person]}, wanted nobody in two parts")  # fmt: skip
        lines.setdefault(person, number)
        if people.setdefault(file, person) != person:
            raise UserError(f"{path}, line {number}: got {shown(file)} of {shown(person)}, and before of "
                            f"{shown(people[file])}, wanted one person in it")  # fmt: skip
    if missing := [name for name in names if name not in people]:
        raise UserError(f"{path}: got no line for {missing[0]}, wanted one for each of the {len(names)} pictures")
    silent = [person for person, part in parts.items() if not part]
    if silent and len(silent) < len(parts):
        raise UserError(f"{path}: got {shown(silent[0])} without a part, wanted one for all people or for none")
    return {name: people[name] for name in names}, {} if silent else parts
