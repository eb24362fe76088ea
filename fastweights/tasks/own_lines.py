from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fastweights.errors import UserError
from fastweights.tasks.answering import answers
from fastweights.tasks.task import BadSequence, Batch, Spec, check_integer, shown

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

FOUND = {"flag": False}  # it stands in the file, and is no option
MOST_LISTED = 40  # symbols or classes in an error


@dataclass(frozen=True)
class OwnLines:
    """What does a file of your own ask?

    A 1 B 2 C 3 ? ? B  ->  2        `A1B2C3??B,2`: a symbol a character, one answer
    the dog barks      ->  D N V    `the dog barks,D N V`: tokens between blanks, an answer each

    Symbols and classes are those of the file, in the order of their code points. As soon as one line has a blank,
    blanks part the symbols of all. Of answers at every step "-" says that nothing is asked there.
    """

    NAME: ClassVar[str] = "own-lines"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    EXAMPLE: ClassVar[str] = "A1B2C3??B,2"
    loss = staticmethod(answers)

    answers: Literal["found", "one", "each"] = "found"
    """One answer a line, or one for each symbol; found: as most lines have it."""
    header: Literal["found", "yes", "no"] = "found"
    """Whether line 1 names the columns; found: by what it says."""
    separated: bool = field(default=False, metadata=FOUND)
    symbols: tuple[Any, ...] = field(default=(), metadata=FOUND)  # any texts; none: no file has been read
    classes: tuple[Any, ...] = field(default=(), metadata=FOUND)
    counts: tuple[int, ...] = field(default=(), metadata=FOUND)  # how often each class is the answer
    length: int = field(default=0, metadata=FOUND)  # of the longest sequence

    def __post_init__(self) -> None:
        for name, known in (("answers", ("found", "one", "each")), ("header", ("found", "yes", "no"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name}: got {shown(getattr(self, name))}, wanted {', '.join(known)}")
        if not all(type(name) is str and name for name in (*self.symbols, *self.classes)):
            raise UserError("own-lines: got a symbol or a class that is no text, wanted texts alone")
        if (
            len(self.classes) != len(self.counts)
            or bool(self.symbols) != bool(self.classes)
            or min(self.counts, default=1) < 1
        ):
            raise UserError("own-lines: got symbols, classes and counts that do not fit, wanted those of one file")

    @property
    def spec(self) -> Spec:
        return Spec(max(1, len(self.symbols)), max(1, len(self.classes)), every=self.answers == "each")

    @property
    def CLASSES(self) -> tuple[str, ...]:  # as tasks with text call them
        return self.classes

    @property
    def floors(self) -> Mapping[str, float]:
        """Of knowing how often each class is the answer."""
        shares = [count / sum(self.counts) for count in self.counts] or [1.0]
        return {"accuracy": max(shares), "loss": -sum(share * log(share) for share in shares)}

    def read(self, lines: list[str]) -> "tuple[OwnLines, Batch]":
        """The task that the lines tell, and their sequences; symbols and classes that are known already stay."""
        from fastweights.tasks.own_lines_reader import read

        return read(self, lines)

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """Made up, to try a network out: symbols and answers at random."""
        import torch

        check_integer("count", count, 0)
        if not self.symbols:
            raise UserError(f"own-lines: got no file, wanted one by --data, with lines such as {self.EXAMPLE}")
        spec, form = self.spec, (count, self.length)
        inputs = torch.randint(spec.inputs, form, generator=generator)
        return Batch(inputs, torch.randint(spec.outputs, form if spec.every else form[:1], generator=generator))

    def tokens(self, text: str) -> list[str]:
        """The symbols of a sequence as it stands in the file."""
        return text.split() if self.separated else list(text.strip())

    def encode(self, text: str) -> "Tensor":
        """The inputs of one sequence; `BadSequence` says which symbol is none of the file's."""
        import torch

        index = {symbol: place for place, symbol in enumerate(self.symbols)}
        tokens = self.tokens(text)
        if not tokens:
            raise BadSequence(f"got {shown(text)}, wanted at least one symbol")
        for place, token in enumerate(tokens, start=1):
            if token not in index:
                raise BadSequence(f"got {shown(token)} as symbol {place} of {shown(text)}, {self.known_symbols()}")
        return torch.tensor([index[token] for token in tokens])

    def decode(self, inputs: "Tensor") -> str:
        return (" " if self.separated else "").join(self.symbols[place] for place in inputs.tolist())

    def known_symbols(self) -> str:
        return f"wanted one of the {len(self.symbols)} symbols that were trained on{listed(self.symbols)}"

    def summary(self) -> str:
        """How the file was read, for whoever wrote it."""
        each = "an answer for each symbol" if self.answers == "each" else "one answer a line"
        return (
            f"{len(self.symbols)} symbols ({'between blanks' if self.separated else 'a character each'}), "
            f"{len(self.classes)} classes, {each}, line 1 is {'a' if self.header == 'yes' else 'no'} header"
        )


def listed(names: tuple[str, ...]) -> str:
    return f" ({' '.join(names)})" if len(names) <= MOST_LISTED else ""
