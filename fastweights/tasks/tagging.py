from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks import library_text
from fastweights.tasks.answering import answers
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class Tagging:
    """What is this character part of: a name, a string, a comment?

    i f   x :   #   I f   x        of the text of NextCharacter
    k k   n o   c c c c c c        a kind at every step: keyword, name, operator, comment; the blank is a space

    The kinds are space, keyword, name, number, string, comment and operator. The first letters of a keyword may be
    those of a name. Whether a string or a comment is open may have been decided many steps before.
    """

    NAME: ClassVar[str] = "tagging"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    symbols: ClassVar[tuple[str, ...]] = library_text.NAMES
    CLASSES: ClassVar[tuple[str, ...]] = library_text.KINDS
    spec = Spec(inputs=library_text.SYMBOLS, outputs=len(library_text.KINDS), every=True)
    loss = staticmethod(answers)

    length: int = 100
    """Characters in a sequence."""

    def __post_init__(self) -> None:
        check_integer("length", self.length, 1, 10_000)

    @property
    def floors(self) -> Mapping[str, float]:
        """Of knowing how often each kind is right in the text of Python 3.11; that of others hardly differs."""
        return {"accuracy": 0.29, "loss": 1.62}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences from anywhere in the text: inputs and targets [count, length]."""
        return self.held_out("train", count, generator)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Such sequences of the files that validate or test."""
        check_integer("count", count, 0)
        places = library_text.places(part, count, self.length, generator)
        return Batch(library_text.symbols(part)[places].long(), library_text.kinds_of(part)[places].long())
