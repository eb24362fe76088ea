from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import distinct
from fastweights.tasks.task import NOTHING, Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator

BLANK = 0


@dataclass(frozen=True)
class SelectiveCopying:
    """What was said between the blanks, in the same order?

    . b . . a . d . : : :        num_symbols 3, length 8
                    b a d   <-   the answers
    |             | |
    |             | '- markers: recall
    '- symbols at random steps, blanks elsewhere

    Where copying has its symbols side by side, so that counting steps will do, this has them anywhere: what is read has
    to decide whether it is written.

    Paper: Gu and Dao 2023, https://arxiv.org/abs/2312.00752, section 4.1.1, with 16 symbols among 4,096 steps.
    """

    NAME: ClassVar[str] = "selective-copying"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    num_symbols: int = 8
    """Symbols to recall."""
    length: int = 64
    """Steps before the recall."""
    vocabulary: int = 16
    """Tokens: the blank, the marker, and symbols."""
    judged_length: int | None = None
    """Steps before the recall in the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        check_integer("vocabulary", self.vocabulary, 3, 2**20)
        check_integer("num_symbols", self.num_symbols, 1, 10_000)
        for name, length in (("length", self.length), ("judged_length", self.judged)):
            check_integer(name, length, self.num_symbols, 2**20)

    @property
    def spec(self) -> Spec:
        return Spec(inputs=self.vocabulary, outputs=self.vocabulary, every=True)

    @property
    def judged(self) -> int:
        """Steps before the recall in the sequences that validate and test."""
        return self.length if self.judged_length is None else self.judged_length

    @property
    def floors(self) -> Mapping[str, float]:
        """One of the symbols, whichever."""
        return {"accuracy": 1 / (self.vocabulary - 2), "loss": log(self.vocabulary - 2)}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, length + num_symbols], tokens of the vocabulary."""
        import torch

        check_integer("count", count, 0)
        length = self.length
        symbols = torch.randint(1, self.vocabulary - 1, (count, self.num_symbols), generator=generator)
        where = distinct(count, self.num_symbols, length, generator).sort(1).values
        inputs = torch.full((count, length + self.num_symbols), BLANK)
        inputs.scatter_(1, where, symbols)
        inputs[:, length:] = self.vocabulary - 1
        targets = torch.full_like(inputs, NOTHING)
        targets[:, length:] = symbols
        return Batch(inputs, targets)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged, of the length that was asked for."""
        return replace(self, length=self.judged).draw(count, generator)
