from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks import arranged
from fastweights.tasks.answering import answers_in_turn
from fastweights.tasks.pairs import Alphabet, Symbols, judge
from fastweights.tasks.task import Batch, Spec

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class CopyPairs:
    """What does it say?

    b a d  ->  b a d

    Where `Copying` answers in the sequence that it reads, here the answer is a sequence of its own.
    Sequences that validate and test are of lengths that were never trained on.
    """

    NAME: ClassVar[str] = "copy-pairs"
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

    def __post_init__(self) -> None:
        arranged.check(self)

    @property
    def spec(self) -> Spec:
        return Spec(self.symbols, self.symbols + 1, pairs=True)

    @property
    def source(self) -> Alphabet:
        return arranged.alphabet(self)

    target = source

    @property
    def floors(self) -> Mapping[str, float]:
        """Of answering nothing, and of guessing one symbol after the other."""
        return arranged.floors(self)

    def references(self, source: Symbols) -> list[Symbols]:
        return [list(source)]

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences to train on: inputs [count, time], targets [count, time + 1], lengths [count]."""
        return arranged.draw(self, count, generator, self.trained, lambda source: list(source))

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Such sequences of the lengths that are judged."""
        return arranged.draw(self, count, generator, self.judged, lambda source: list(source))
