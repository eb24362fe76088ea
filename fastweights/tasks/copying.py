import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.errors import shown
from fastweights.tasks.answering import answers
from fastweights.tasks.task import NOTHING, BadSequence, Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

LETTERS = "abcdefgh"
BLANK, DELIMITER = 8, 9
FORM = re.compile(r"([a-h]+)(\.*):(\.*)")


@dataclass(frozen=True)
class Copying:
    """What was said before the delay, in the same order?

    b a d . . . : . . .        length 3, delay 4
                  b a d   <-   the answers, one a step
    |     |     |
    |     |     '- the delimiter: recall from the next step on
    |     '- blanks: delay - 1 of them
    '- symbols, each one of eight

    An answer lies length + delay steps after its symbol. Where associative retrieval asks for one of its values by its
    key, copying asks for all of its symbols by their order.

    Papers: after Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; Arjovsky, Shah and Bengio
    2016, https://arxiv.org/abs/1511.06464, who ask for blanks at the other steps too.
    """

    NAME: ClassVar[str] = "copying"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    SYMBOLS: ClassVar[str] = LETTERS + ".:"
    CLASSES: ClassVar[str] = LETTERS
    spec = Spec(inputs=10, outputs=8, every=True)
    loss = staticmethod(answers)

    length: int = 10
    """Symbols to recall."""
    delay: int = 20
    """Steps from the last symbol to the delimiter."""

    def __post_init__(self) -> None:
        check_integer("length", self.length, 1, 200)
        check_integer("delay", self.delay, 1, 10_000)

    @property
    def floors(self) -> Mapping[str, float]:
        """One of eight symbols, whichever."""
        return {"accuracy": 1 / 8, "loss": log(8)}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, 2 length + delay], indices into SYMBOLS and CLASSES."""
        import torch

        check_integer("count", count, 0)
        symbols = torch.randint(8, (count, self.length), generator=generator)
        inputs = torch.full((count, 2 * self.length + self.delay), BLANK)
        targets = torch.full_like(inputs, NOTHING)
        inputs[:, : self.length] = symbols
        inputs[:, self.length + self.delay - 1] = DELIMITER
        targets[:, -self.length :] = symbols
        return Batch(inputs, targets)

    def encode(self, text: str) -> "Tensor":
        """The inputs of one sequence, with or without its last blanks; `BadSequence` says what is wrong with it."""
        import torch

        symbols = self.answer(text)
        complete = f"{symbols}{'.' * (self.delay - 1)}:{'.' * self.length}"
        return torch.tensor([self.SYMBOLS.index(symbol) for symbol in complete])

    def decode(self, inputs: "Tensor") -> str:
        return "".join(self.SYMBOLS[symbol] for symbol in inputs.tolist())

    def answer(self, text: str) -> str:
        """The right answers: the symbols themselves, at the last steps."""
        found = FORM.fullmatch(text)
        symbols, blanks, rest = found.groups() if found else ("", "", "")
        if len(symbols) != self.length or len(blanks) != self.delay - 1 or len(rest) not in (0, self.length):
            form = f"{self.length} letters a-h, {self.delay - 1} blanks '.', the delimiter ':'"
            raise BadSequence(f"got {shown(text)}, wanted {form} and {self.length} blanks or none")
        return symbols

    @classmethod
    def from_text(cls, text: str, **fields: Any) -> "Copying":
        """The task that a sequence belongs to, by its letters and blanks."""
        found = FORM.fullmatch(text)
        if not found:
            raise BadSequence(f"got {shown(text)}, wanted letters a-h, blanks and the delimiter, as in bad...:")
        return cls(**{**fields, "length": len(found[1]), "delay": len(found[2]) + 1})
