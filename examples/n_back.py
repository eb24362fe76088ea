"""A task of one's own: `fastweights train RNN-LN-FW GRU-LN --task examples.n_back:NBack --back 3`."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch

from fastweights.tasks import NOTHING, Batch, Spec, answers

LETTERS = 8


@dataclass(frozen=True)
class NBack:
    """Which letter was here `back` steps ago?

    c a f a h ...      with back=2
        | | |
        c a f          an answer at every step that has one
    """

    NAME: ClassVar[str] = "n-back"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)  # cross-entropy and accuracy where something is asked

    back: int = 2
    """Steps between a letter and its answer."""
    length: int = 20
    """Letters in a sequence."""

    spec = Spec(inputs=LETTERS, outputs=LETTERS, every=True)
    floors = {"accuracy": 1 / LETTERS, "loss": log(LETTERS)}  # noqa: RUF012 - no field

    def draw(self, count: int, generator: torch.Generator, model: object = None) -> Batch:
        letters = torch.randint(LETTERS, (count, self.length), generator=generator)
        targets = torch.full_like(letters, NOTHING)
        targets[:, self.back :] = letters[:, : -self.back]
        return Batch(letters, targets)
