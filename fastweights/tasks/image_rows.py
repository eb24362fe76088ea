import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from fastweights import files
from fastweights.errors import UserError, shown
from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import in_turn
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

MOST = 10**8  # bytes, unpacked
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".webp")  # of pictures
SIDE, VALID = 28, 5_000  # pixels; the last pictures that are there to train on validate
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
Pictures = Literal["mnist", "fashion-mnist"]
MD5: dict[str, tuple[str, ...]] = {  # of FILES, as they lie there or unpacked
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion-mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}  # fmt: skip
SCALE = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}  # mean and deviation of a pixel


@dataclass(frozen=True)
class ImageRows:
    """Which of ten digits, or pieces of clothing, is in this picture?

    A step is a row of 28 pixels, from the top to the bottom one; the answer comes after the last. Nothing has to be
    found again here: what was seen has to be added up.

    The pictures are those of MNIST or Fashion-MNIST, in four idx files, gzipped or not. Of the 60,000 pictures to train
    on 5,000 validate; the other 10,000 test.

    Papers: LeCun, Bottou, Bengio and Haffner 1998, https://doi.org/10.1109/5.726791; Xiao, Rasul and Vollgraf 2017,
    https://arxiv.org/abs/1708.07747.
    """

    NAME: ClassVar[str] = "image-rows"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    spec = Spec(inputs=SIDE, outputs=10, symbols=False)
    loss = staticmethod(answers)

    pictures: Pictures = "mnist"
    """The data set."""
    data_dir: str = field(default="data/mnist", metadata={"place": True})
    """The folder of its four idx files."""

    def __post_init__(self) -> None:
        if self.pictures not in get_args(Pictures):
            raise UserError(f"pictures: got {shown(self.pictures)}, wanted {' or '.join(get_args(Pictures))}")

    @property
    def floors(self) -> Mapping[str, float]:
        """One of ten, whichever."""
        return {"accuracy": 0.1, "loss": log(10)}

    def missing(self) -> str | None:
        """Why nothing can be drawn here; None: it can be."""
        try:
            read(self.data_dir, self.pictures)
        except UserError as error:
            return str(error)
        return None

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` pictures: inputs [count, 28, 28], brightness less its mean over its deviation, and targets [count].

        All pictures come before one comes again.
        """
        return self.held_out("train", count, generator)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Such pictures of those that validate or test."""
        check_integer("count", count, 0)
        images, labels, *test = read(self.data_dir, self.pictures)
        first = len(images) - VALID
        if part == "test":
            images, labels = test
        else:
            images, labels = (each[:first] if part == "train" else each[first:] for each in (images, labels))
        chosen = in_turn(count, len(images), generator)
        mean, deviation = SCALE[self.pictures]
        return Batch((images[chosen] / 255 - mean) / deviation, labels[chosen].long())


@lru_cache(maxsize=2)
def read(folder: str, pictures: str) -> "tuple[Tensor, ...]":
    """Images [count, 28, 28] and labels [count] to train on, then those that test, in bytes."""
    import torch

    found = []
    for name, md5 in zip(FILES, MD5[pictures], strict=True):
        header = 16 if "images" in name else 8
        content = torch.frombuffer(bytearray(checked(Path(folder), name, md5, pictures)), dtype=torch.uint8)[header:]
        found.append(content.reshape(-1, SIDE, SIDE) if "images" in name else content)
    return tuple(found)


def checked(folder: Path, name: str, md5: str, pictures: str) -> bytes:
    """The content of a file, unpacked, once it is known to be the one of that data set."""
    there = [file for file in (folder / f"{name}.gz", folder / name) if file.is_file()]
    wanted = f"wanted {name}.gz of {pictures}; name the folder of its four idx files by --data-dir"
    if not there:
        own = any(file.suffix.lower() in ENDINGS for file in folder.glob("*/*"))
        fetch, take = f"fetch them: `fastweights data {pictures}`", "take its own: --task glimpses --pictures folder"
        raise UserError(f"{folder / name}.gz: no such file, {wanted}, or {take if own else fetch}")
    packed = files.read_named(there[0])
    try:
        return unpacked(packed, there[0].suffix == ".gz", md5)
    except ValueError as error:
        raise UserError(f"{there[0]}: {error}, {wanted}") from None


def unpacked(packed: bytes, zipped: bool, md5: str) -> bytes:
    """The content of a file. Raises `ValueError` where it cannot be read, or has another md5, packed and unpacked."""
    content = packed
    if zipped:
        try:
            with gzip.open(BytesIO(packed)) as opened:
                content = opened.read(MOST)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"got a file that cannot be read ({error})") from None
    if md5 not in (hashes := [hashlib.md5(each, usedforsecurity=False).hexdigest() for each in (content, packed)]):
        raise ValueError(f"got a file of md5 {hashes[0]}")
    return content
