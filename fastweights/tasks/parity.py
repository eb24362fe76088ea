from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import asked_last
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class Parity:
    """Is the number of ones odd?

    0 1 1 0 1
    0 1 0 0 1   <-  the answers, one a step; those that validate and test ask for the last alone

    A memory whose transitions have no negative eigenvalue cannot do it at all lengths. The average over steps hides
    that: its first ones are easy.

    Paper: Grazzi et al. 2024, https://arxiv.org/abs/2411.12537, who train on 3 to 40 steps and test on up to 256.
    """

    NAME: ClassVar[str] = "parity"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    spec = Spec(inputs=2, outputs=2, every=True)
    loss = staticmethod(answers)

    length: int = 40
    """Digits in a sequence."""
    judged_length: int | None = None
    """Digits in the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        for name, length in (("length", self.length), ("judged_length", self.judged)):
            check_integer(name, length, 1, 2**20)

    @property
    def judged(self) -> int:
        """Digits in the sequences that validate and test."""
        return self.length if self.judged_length is None else self.judged_length

    @property
    def floors(self) -> Mapping[str, float]:
        """Odd or even, whichever."""
        return {"accuracy": 0.5, "loss": log(2)}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, length], zeros and ones."""
        import torch

        check_integer("count", count, 0)
        digits = torch.randint(2, (count, self.length), generator=generator)
        return Batch(digits, digits.cumsum(1) % 2)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged: of the length that was asked for, and by their last answer alone."""
        return asked_last(replace(self, length=self.judged).draw(count, generator))
