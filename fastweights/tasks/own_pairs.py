from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from math import log
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fastweights.errors import UserError, shown
from fastweights.tasks import pair_lines
from fastweights.tasks.answering import answers_in_turn
from fastweights.tasks.pair_lines import BadLine
from fastweights.tasks.pairs import Alphabet, batch_of, judge
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator

FOUND = {"flag": False}  # it stands in the file, and is no option
MOST_NAMES = 10_000  # symbols of a column
MOST_CELLS = 2**31  # of 8 bytes, once every pair is as long as the longest


@dataclass(frozen=True)
class OwnPairs:
    """What answer does a file of your own have to this source?

    tomato   ->  T AH M EY T OW        `tomato<TAB>T AH M EY T OW`: characters, and tokens between blanks
    the dog  ->  le chien

    Symbols are those of the file, in the order of their code points. As soon as one line has a blank within a column,
    blanks part the symbols of that column in all lines, unless `symbols` says otherwise. Lines of one source, one below
    the other, each have a right answer, and the nearest of them judges.
    """

    NAME: ClassVar[str] = "own-pairs"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "symbol_error_rate"
    EXAMPLE: ClassVar[str] = "tomato\tT AH M EY T OW"
    loss = staticmethod(answers_in_turn)
    judge = staticmethod(judge)

    symbols: Literal["auto", "characters", "words"] = "auto"
    """What a symbol is: a character, or a word between blanks; auto: words where a column has a blank anywhere."""
    sources: tuple[Any, ...] = field(default=(), metadata=FOUND)  # any texts; none: no file has been read
    answers: tuple[Any, ...] = field(default=(), metadata=FOUND)
    separated: tuple[Any, ...] = field(default=(False, False), metadata=FOUND)  # by blanks: sources, answers
    lengths: tuple[int, ...] = field(default=(1, 1), metadata=FOUND)  # of the longest source, and answer

    def __post_init__(self) -> None:
        if self.symbols not in (wanted := ("auto", "characters", "words")):
            raise UserError(f"symbols: got {shown(self.symbols)}, wanted {', '.join(wanted)}")
        if not all(type(name) is str and name for name in (*self.sources, *self.answers)):
            raise UserError("own-pairs: got a symbol that is no text, wanted texts alone")
        whole = len(self.separated) == len(self.lengths) == 2 and all(type(each) is bool for each in self.separated)
        if not whole or bool(self.sources) != bool(self.answers) or min(self.lengths) < 1:
            raise UserError("own-pairs: got symbols, separators and lengths that do not fit, wanted those of one file")

    @property
    def spec(self) -> Spec:
        return Spec(max(1, len(self.sources)), len(self.answers) + 1, pairs=True)

    @property
    def source(self) -> Alphabet:
        return Alphabet(self.sources, self.separated[0])

    @property
    def target(self) -> Alphabet:
        return Alphabet(self.answers, self.separated[1])

    @property
    def longest_answer(self) -> int:
        """Symbols at which decoding stops."""
        return 2 * self.lengths[1] + 10

    @property
    def floors(self) -> Mapping[str, float]:
        """Of answering nothing, and of guessing one symbol after the other."""
        count = self.spec.outputs
        return {"symbol_error_rate": 1.0, "sequence_accuracy": 0.0, "loss": log(count), "accuracy": 1 / count}

    def read(self, lines: list[str]) -> "tuple[OwnPairs, Batch]":
        """The task that the lines tell, and their pairs; symbols that are known already stay."""
        task = self if self.sources else told(self, pair_lines.columns(lines, self.EXAMPLE))
        return task, pair_lines.read(task, lines)

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """Made up, to try a network out: symbols at random."""
        import torch

        check_integer("count", count, 0)
        if not self.sources:
            raise UserError(f"own-pairs: got no file, wanted one by --data, with lines such as {self.EXAMPLE!r}")
        made = [
            torch.randint(len(names), (count, length), generator=generator).tolist()
            for names, length in zip((self.sources, self.answers), self.lengths, strict=True)
        ]
        return batch_of(made[0], made[1], len(self.answers))

    def summary(self) -> str:
        """How the file was read, for whoever wrote it."""
        way = "; --symbols characters reads each character" if self.symbols == "auto" else ""
        parts = [
            f"{what} of {len(names)} symbols ({f'between blanks{way}' if separated else 'a character each'})"
            for what, names, separated in zip(
                ("sources", "answers"), (self.sources, self.answers), self.separated, strict=True
            )
        ]
        return ", ".join(parts)


def told(task: OwnPairs, pairs: list[tuple[str, str]]) -> OwnPairs:
    """The task with the symbols of these columns."""
    columns = list(zip(*pairs, strict=True))
    separated = (task.symbols == "words",) * 2
    if task.symbols == "auto":
        separated = tuple(any(len(text.split(None, 1)) > 1 for text in column) for column in columns)
    tokens = [
        [Alphabet((), apart).tokens(text) for text in column] for column, apart in zip(columns, separated, strict=True)
    ]
    names = [tuple(sorted(set(chain.from_iterable(column)))) for column in tokens]
    lengths = tuple(max(map(len, column)) for column in tokens)
    for what, found in zip(("sources", "answers"), names, strict=True):
        if len(found) > MOST_NAMES:
            raise BadLine(
                len(pairs), f"got {len(found):,} symbols in the {what} up to this line, wanted at most {MOST_NAMES:,}"
            )
    for column, longest in zip(tokens, lengths, strict=True):
        if len(pairs) * longest > MOST_CELLS:
            number = next(place for place, row in enumerate(column, start=1) if len(row) == longest)
            raise BadLine(
                number, f"got {longest:,} symbols, with {len(pairs):,} lines to be made as long; wanted fewer"
            )
    return replace(task, sources=names[0], answers=names[1], separated=separated, lengths=lengths)
