from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks.answering import answers
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class InductionHeads:
    """What followed the marker when it was there before?

    c a d : b a c d b :  ->  b        length 10
          | |         |
          | |         '- the marker again: the query
          | '- the answer
          '- the marker, anywhere

    All other symbols are random. Where associative retrieval has many pairs and one query, this has one pair among
    symbols that are none. Longer sequences than those of the training show whether a model looks by content alone.

    Paper: Gu and Dao 2023, https://arxiv.org/abs/2312.00752, section 4.1.2, with 16 tokens, 256 steps in training, and
    up to 2^20 in test; the idea is that of Olsson et al. 2022, https://arxiv.org/abs/2209.11895.
    """

    NAME: ClassVar[str] = "induction-heads"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    length: int = 64
    """Steps."""
    vocabulary: int = 16
    """Tokens: the marker, which is the last of them, and symbols."""
    judged_length: int | None = None
    """Steps of the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        check_integer("vocabulary", self.vocabulary, 3, 2**20)
        for name, length in (("length", self.length), ("judged_length", self.judged)):
            check_integer(name, length, 3, 2**20)

    @property
    def spec(self) -> Spec:
        return Spec(inputs=self.vocabulary, outputs=self.vocabulary)

    @property
    def judged(self) -> int:
        """Steps of the sequences that validate and test."""
        return self.length if self.judged_length is None else self.judged_length

    @property
    def floors(self) -> Mapping[str, float]:
        """One of the symbols, whichever."""
        return {"accuracy": 1 / (self.vocabulary - 1), "loss": log(self.vocabulary - 1)}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs [count, length] and targets [count], tokens of the vocabulary."""
        import torch

        check_integer("count", count, 0)
        length, marker = self.length, self.vocabulary - 1
        inputs = torch.randint(marker, (count, length), generator=generator)
        before = torch.randint(length - 2, (count, 1), generator=generator)
        inputs.scatter_(1, before, marker)
        inputs[:, -1] = marker
        return Batch(inputs, inputs.gather(1, before + 1).squeeze(1))

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged, of the length that was asked for."""
        return replace(self, length=self.judged).draw(count, generator)
