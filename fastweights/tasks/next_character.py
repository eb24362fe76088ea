from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks import library_text
from fastweights.tasks.answering import answers
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class NextCharacter:
    """Which character comes next?

    i m p o r t _  ->  m p o r t _ s        an answer at every step

    The text is Python's standard library, which every reader has: the version of Python decides what it says. Files
    that validate or test are never trained on. Where recall is asked for elsewhere, the last few steps say most here.
    """

    NAME: ClassVar[str] = "next-character"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "loss"
    symbols: ClassVar[tuple[str, ...]] = library_text.NAMES
    CLASSES: ClassVar[tuple[str, ...]] = library_text.NAMES
    spec = Spec(inputs=library_text.SYMBOLS, outputs=library_text.SYMBOLS, every=True)
    loss = staticmethod(answers)

    length: int = 100
    """Characters in a sequence."""

    def __post_init__(self) -> None:
        check_integer("length", self.length, 1, 10_000)

    @property
    def floors(self) -> Mapping[str, float]:
        """Of knowing how often each character stands in the text of Python 3.11; that of others hardly differs."""
        return {"loss": 3.13, "accuracy": 0.29}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences from anywhere in the text: inputs and targets [count, length]."""
        return self.held_out("train", count, generator)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Such sequences of the files that validate or test."""
        check_integer("count", count, 0)
        places = library_text.places(part, count, self.length + 1, generator)
        symbols = library_text.symbols(part)[places].long()
        return Batch(symbols[:, :-1].contiguous(), symbols[:, 1:].contiguous())
