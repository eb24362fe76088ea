from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from fastweights.errors import UserError, shown
from fastweights.tasks import drawn_faces, image_rows
from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import in_turn
from fastweights.tasks.pictures import Pictures, from_folder, from_idx
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

Source = Literal["mnist", "fashion-mnist", "folder", "drawn-faces"]
Order = Literal["rows", "columns", "clockwise"]
Coarse = Literal["mean", "skip", "max"]
Position = Literal["none", "coordinates"]
Validation = Literal["held-out", "test"]
ORDERS: dict[str, tuple[int, ...]] = {"rows": (0, 1, 2, 3), "columns": (0, 2, 1, 3), "clockwise": (0, 1, 3, 2)}
CHUNK = 8192  # pictures that are cut at a time
GLIMPSES = 24


@dataclass(frozen=True)
class Glimpses:
    """What does this picture show, seen through a keyhole of a quarter of its side?

    24 glimpses of two scales. Each quadrant in turn: all of it at half the resolution, its four quarters, all of it
    again. So 28 x 28 pixels give glimpses of 7 x 7, and 48 x 48 such of 12 x 12. The class is asked after the last.

        coarse 1 2 3 4 coarse   coarse 1 2 3 4 coarse   coarse 1 2 3 4 coarse   coarse 1 2 3 4 coarse  ->  class

    Brightness is less its mean over its deviation, of the pictures to train on.

    Paper: Ba, Hinton, Mnih, Leibo and Ionescu 2016, https://arxiv.org/abs/1610.06258 (sections 4.2 and 4.3, Figure 3).
    """

    NAME: ClassVar[str] = "glimpses"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    pictures: Source = "mnist"
    """The pictures: four idx files of mnist or fashion-mnist; a folder with one sub-folder a class; or drawn-faces."""
    data_dir: str = field(default="data/mnist", metadata={"place": True})
    """The folder of the idx files, or of the sub-folders."""
    order: Order = "rows"
    """In which order quadrants are looked at, and the quarters of each."""
    coarse: Coarse = "mean"
    """What becomes of 2 x 2 pixels at half the resolution: their mean, the first of them, or their maximum."""
    position: Position = "none"
    """What a glimpse tells of its place; coordinates: row and column of its middle, and its scale, from -1 to 1."""
    validation: Validation = "held-out"
    """Who validates; held-out: pictures, or people, that do not train; test: those that test, and all others train."""
    shift: int = 0
    """Pixels by which a picture to train on is moved at most, anew in each epoch; 0: none."""

    def __post_init__(self) -> None:
        for name, known in (("pictures", Source), ("order", Order), ("coarse", Coarse), ("position", Position),
                            ("validation", Validation)):  # fmt: skip
            if (got := getattr(self, name)) not in get_args(known):
                raise UserError(f"{name}: got {shown(got)}, wanted {' or '.join(get_args(known))}")
        check_integer("shift", self.shift, 0, 12)

    @property
    def spec(self) -> Spec:
        side, classes = (28, 10) if self._is_idx else (drawn_faces.SIDE, len(drawn_faces.EXPRESSIONS))
        if self.pictures == "folder":
            found = self._read()
            side, classes = found.side, len(found.classes)
        return Spec((side // 4) ** 2 + 3 * (self.position == "coordinates"), classes, symbols=False)

    @property
    def floors(self) -> Mapping[str, float]:
        """The commonest class, whatever is shown; for idx files one of ten."""
        shares = [0.1] * 10 if self._is_idx else drawn_faces.SHARES
        if self.pictures == "folder":
            shares = self._read().shares
        return {"accuracy": max(shares), "loss": -sum(share * log(share) for share in shares)}

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation of a pixel of those to train on, of 1 for white."""
        return image_rows.SCALE[self.pictures] if self._is_idx else self._read().scale

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._read().classes

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many pictures each part of a folder of one's own has."""
        return {part: len(places) for part, places in self._places().items()} if self.pictures == "folder" else {}

    def summary(self) -> str:
        """How a folder of one's own was read; empty of other pictures."""
        if self.pictures != "folder":
            return ""
        found, sizes = self._read(), self.sizes
        who = "each stands for itself" if found.people == len(found.images) else f"of {found.people} people"
        parts = f"{sizes['train']} pictures train, {sizes['valid']} validate, {sizes['test']} test"
        return f"{len(found.classes)} classes, {parts}, {who}"

    def missing(self) -> str | None:
        """Why nothing can be drawn here; None: it can be."""
        try:
            self._read()
        except UserError as error:
            return str(error)
        return None

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` pictures to train on: inputs [count, 24, pixels of a glimpse] and targets [count].

        All pictures come before one comes again.
        """
        return self.held_out("train", count, generator)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Such pictures of those that validate or test."""
        import torch

        check_integer("count", count, 0)
        found = self._read()
        places = self._places()[part]
        chosen = places[in_turn(count, len(places), generator)]
        mean, deviation = self.scale
        made = torch.empty(count, GLIMPSES, self.spec.inputs)
        for first in range(0, count, CHUNK):
            images = found.images[chosen[first : first + CHUNK]]
            self.look((images / 255 - mean) / deviation, made[first : first + CHUNK])
        return Batch(made, found.labels[chosen])

    def renew(self, batch: Batch, generator: "Generator") -> Batch:
        """Each picture moved by up to `shift` pixels up or down, and by as many to a side."""
        import torch
        from torch.nn import functional

        if not self.shift:
            return batch
        mean, deviation = self.scale
        width = 2 * self.shift + 1
        moves = torch.randint(width * width, (batch.size,), generator=generator)
        made = torch.empty_like(batch.inputs)
        for move in range(width * width):
            chosen, (down, right) = (moves == move).nonzero()[:, 0], divmod(move, width)
            for some in chosen.split(CHUNK):
                images = self.picture(batch.inputs[some])
                side = images.shape[-1]
                padded = functional.pad(images, (self.shift,) * 4, value=-mean / deviation)  # what is beyond is black
                moved = padded[:, down : down + side, right : right + side]
                made[some] = self.look(moved)
        return batch._replace(inputs=made)

    def look(self, images: "Tensor", made: "Tensor | None" = None) -> "Tensor":
        """The glimpses of images [count, side, side]: [count, 24, features], into `made` where it is given."""
        import torch

        count, side = images.shape[:2]
        small = side // 4
        made = images.new_empty(count, GLIMPSES, self.spec.inputs) if made is None else made
        parts = made.view(count, 4, 6, made.shape[-1])
        pixels = parts[..., : small * small].unflatten(-1, (small, small))
        halves = images.unflatten(1, (2 * small, 2)).unflatten(3, (2 * small, 2))  # [count, row, 2, column, 2]
        if self.coarse == "mean":
            halved = images.unflatten(1, (-1, 2)).sum(2).unflatten(2, (-1, 2)).sum(3).mul_(0.25)
        else:
            halved = halves[:, :, 0, :, 0] if self.coarse == "skip" else halves.amax((2, 4))
        order = ORDERS[self.order]
        for place, quadrant in enumerate(order):
            row, column = (quadrant // 2) * small, (quadrant % 2) * small
            pixels[:, place, 0] = pixels[:, place, 5] = halved[:, row : row + small, column : column + small]
            for fine, quarter in enumerate(order):
                top, left = 2 * row + (quarter // 2) * small, 2 * column + (quarter % 2) * small
                pixels[:, place, 1 + fine] = images[:, top : top + small, left : left + small]
        if self.position == "coordinates":
            parts[..., small * small :] = torch.tensor(self.places).view(4, 6, 3)
        return made

    @property
    def places(self) -> list[tuple[float, float, float]]:
        """Of each glimpse row and column of its middle, from -1 to 1, and its scale: 1 for a quadrant, else -1."""
        found = []
        for quadrant in ORDERS[self.order]:
            row, column = quadrant // 2 - 0.5, quadrant % 2 - 0.5
            whole = (row, column, 1.0)
            quarters = [(row + (q // 2 - 0.5) / 2, column + (q % 2 - 0.5) / 2, -1.0) for q in ORDERS[self.order]]
            found += [whole, *quarters, whole]
        return found

    def picture(self, glimpses: "Tensor") -> "Tensor":
        """The images [count, side, side] that glimpses [count, 24, features] are of: their fine ones are all of it."""
        small = int(glimpses.shape[-1] ** 0.5)
        pixels = glimpses.view(-1, 4, 6, glimpses.shape[-1])[..., : small * small].unflatten(-1, (small, small))
        images = glimpses.new_empty(len(glimpses), 4 * small, 4 * small)
        for place, quadrant in enumerate(ORDERS[self.order]):
            for fine, quarter in enumerate(ORDERS[self.order]):
                top = (2 * (quadrant // 2) + quarter // 2) * small
                left = (2 * (quadrant % 2) + quarter % 2) * small
                images[:, top : top + small, left : left + small] = pixels[:, place, 1 + fine]
        return images

    def _places(self) -> "Mapping[str, Tensor]":
        """Of the pictures of each part."""
        import torch

        parts = self._read().parts
        if self.validation == "held-out":
            return parts
        return {**parts, "train": torch.cat([parts["train"], parts["valid"]]), "valid": parts["test"]}

    @property
    def _is_idx(self) -> bool:
        return self.pictures in image_rows.MD5

    def _read(self) -> Pictures:
        if self._is_idx:
            return from_idx(self.data_dir, self.pictures)
        return drawn_faces.draw_faces() if self.pictures == "drawn-faces" else from_folder(self.data_dir)
