"""Drawn faces: a stand-in for photographs that cannot be shipped. Seeded, the same on every machine but for rounding.

An expression (what is asked) moves mouth, eyes and brows; a person (never in two parts) has proportions, skin and hair;
head turned by -15, 0 or 15 degrees, light from a side, and noise come on top.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastweights.tasks.pictures import Pictures

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Generator, Tensor

SIDE = 48
EXPRESSIONS = ("neutral", "smile", "surprise", "squint", "disgust", "scream")
SHARES = [0.4, 0.2, 0.12, 0.12, 0.08, 0.08]  # of the expressions, unbalanced as those of the photographs are
PEOPLE = {"train": 200, "valid": 20, "test": 20}
EACH = 100  # pictures of a person
#                 smile  open  wide  eyes  brows  frown  nose
MOVES = {
    "neutral":  (0.00, 0.05, 0.00, 1.00, 0.00, 0.0, 0.0),
    "smile":    (0.80, 0.15, 0.25, 0.85, 0.10, 0.0, 0.2),
    "surprise": (0.00, 0.75, -0.3, 1.35, 0.80, 0.0, 0.0),
    "squint":   (0.15, 0.05, 0.05, 0.35, -0.4, 0.4, 0.3),
    "disgust":  (-0.6, 0.15, 0.00, 0.60, -0.5, 0.8, 1.0),
    "scream":   (-0.1, 1.20, 0.10, 0.70, -0.1, 0.5, 0.6),
}  # fmt: skip
LIGHT, NOISE, SPREAD = 0.5, 0.06, 0.22  # of the light from a side, of pixels, and of how far one moves a face


@lru_cache(maxsize=1)
def draw_faces(seed: int = 0) -> Pictures:
    """24,000 of them, of 240 people."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    people, count = sum(PEOPLE.values()), sum(PEOPLE.values()) * EACH
    person = torch.arange(people).repeat_interleave(EACH)
    labels = torch.multinomial(torch.tensor(SHARES), count, replacement=True, generator=generator)
    traits = torch.randn(people, 10, generator=generator)[person]
    images = torch.empty(count, SIDE, SIDE, dtype=torch.uint8)
    for first in range(0, count, 1000):
        some = slice(first, first + 1000)
        images[some] = faces(labels[some], traits[some], generator)
    ends = torch.tensor([0, *PEOPLE.values()]).cumsum(0).mul(EACH).tolist()
    parts = {part: torch.arange(ends[n], ends[n + 1]) for n, part in enumerate(PEOPLE)}
    pixels = images[parts["train"]].long()
    mean = pixels.sum().item() / pixels.numel() / 255
    deviation = ((pixels**2).sum().item() / pixels.numel() / 255**2 - mean**2) ** 0.5
    return Pictures(images, labels, parts, EXPRESSIONS, (mean, deviation))


def faces(labels: "Tensor", traits: "Tensor", generator: "Generator") -> "Tensor":
    """[count, 48, 48] bytes, of expressions [count] and of what a person is like, [count, 10]."""
    import torch

    def drawn(*shape: int) -> Any:
        return torch.randn(len(labels), *shape, generator=generator)

    moves = torch.tensor([MOVES[name] for name in EXPRESSIONS])[labels]
    moves = moves * (1 + SPREAD * drawn(7)) + 0.07 * drawn(7)
    smile, opened, wide, eyes, brows, frown, nose = (each[:, None, None] for each in moves.unbind(1))
    width, height, apart, size, long, mouth, skin, hair, thick, line = (
        each[:, None, None] for each in traits.unbind(1)
    )
    turn = (torch.randint(3, (len(labels), 1, 1), generator=generator) - 1) * 0.26 + 0.05 * drawn(1, 1)
    at = torch.linspace(-1, 1, SIDE)
    y, x = at[:, None] + 0.03 * drawn(1, 1), at[None] + 0.03 * drawn(1, 1)

    def inside(middle_x: Any, middle_y: Any, half_x: Any, half_y: Any, edge: float = 0.04) -> Any:
        """1 in an ellipse, 0 outside, with a soft edge."""
        distance = (((x - middle_x) / half_x) ** 2 + ((y - middle_y) / half_y) ** 2 + 1e-6).sqrt() - 1
        return torch.sigmoid(-distance * torch.minimum(half_x, half_y) / edge)

    wide_face, tall_face = 0.66 + 0.05 * width, 0.88 + 0.04 * height
    brightness, dark = 0.68 + 0.1 * skin, 0.28 + 0.1 * hair
    picture = 0.15 + 0.05 * drawn(1, 1) + 0 * (x + y)

    def paint(shape: Any, shade: Any) -> None:
        nonlocal picture
        picture = picture + shape * (shade - picture)

    zero = torch.zeros_like(width)
    head = inside(zero, zero, wide_face, tall_face)
    paint(inside(zero, zero - 0.08, wide_face + 0.08, tall_face + 0.05), dark)
    paint(head * torch.sigmoid((y + 0.58 + 0.05 * line) / 0.04), brightness)
    turned = 0.7 * torch.sin(turn)
    for side in (-1, 1):
        middle = side * (0.28 + 0.025 * apart) * torch.cos(turn) + turned
        half = (0.12 + 0.012 * size) * (1 + 0.3 * side * torch.sin(turn))
        lids = (0.07 * eyes).clamp(min=0.012)
        paint(inside(middle, zero - 0.18, half, lids, 0.025), brightness + 0.22)
        paint(
            inside(middle + 0.15 * turned, zero - 0.18, half * 0.42, torch.minimum(lids, half * 0.42), 0.025),
            0.1 + zero,
        )
        lift = -0.36 - 0.09 * brows + side * (x - middle) * (0.25 * brows - 0.9 * frown)
        paint(inside(middle, lift, half * 1.3, 0.035 + 0.008 * thick, 0.03), dark)
        crease = inside(middle * 0.42 + 0.6 * turned, zero + 0.12, zero + 0.03, zero + 0.12, 0.04)
        paint(0.6 * nose.clamp(0, 1.2) * crease, brightness - 0.25)
    tip = 0.16 + 0.03 * long - 0.05 * nose
    paint(0.7 * inside(1.25 * turned, tip, zero + 0.1, zero + 0.05), brightness - 0.18)
    half = (0.24 + 0.02 * mouth) * (1 + wide)
    across = (x - turned) / half
    lips = 0.5 - 0.03 * nose - 0.16 * smile * (across**2 - 0.4)
    paint(inside(turned, lips, half, 0.045 + 0.12 * opened.clamp(min=0) + 0.006 * thick, 0.03), brightness - 0.3)
    paint(opened.clamp(0, 1) * inside(turned, lips, 0.75 * half, (0.13 * opened).clamp(min=0.02), 0.03), 0.08 + zero)
    angle = 3.1416 * (torch.rand(len(labels), 1, 1, generator=generator) - 0.5)
    side = torch.sin(angle) * x + 0.4 * torch.cos(angle) * -y
    picture = picture * (1 + LIGHT * side + 0.15 * drawn(1, 1)) + NOISE * drawn(SIDE, SIDE)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)
