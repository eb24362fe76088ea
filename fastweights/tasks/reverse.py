from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fastweights.tasks import arranged
from fastweights.tasks.answering import answers_in_turn
from fastweights.tasks.pairs import Symbols, judge
from fastweights.tasks.task import Spec


@dataclass(frozen=True)
class Reverse:
    """What does it say backwards?

    b a d  ->  d a b

    The first symbol of the answer is the last that was read, and the last one lies twice the length back.
    With the default lengths, all sequences that validate and test are longer than those that were trained on.
    """

    NAME: ClassVar[str] = "reverse"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "sequence_accuracy"
    loss = staticmethod(answers_in_turn)
    judge = staticmethod(judge)

    symbols: int = 10
    """How many letters there are."""
    trained: tuple[int, int] = (3, 16)
    """The least and the largest length to train on."""
    judged: tuple[int, int] = (17, 24)
    """The least and the largest length to validate and to test on."""

    __post_init__ = arranged.check
    source = target = property(arranged.alphabet)
    draw = arranged.draw
    held_out = arranged.held_out

    @property
    def spec(self) -> Spec:
        return Spec(self.symbols, self.symbols + 1, pairs=True)

    @property
    def floors(self) -> Mapping[str, float]:
        return arranged.floors(self)

    def references(self, source: Symbols) -> list[Symbols]:
        return [source[::-1]]
