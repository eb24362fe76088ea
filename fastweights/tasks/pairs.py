"""What tasks have in common whose answer is a sequence of its own: alphabets, batches, and how answers are judged."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from fastweights.errors import shown
from fastweights.tasks.stats import Stats
from fastweights.tasks.task import NOTHING, BadSequence, Batch

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Tensor

MOST_LISTED = 60  # characters of an alphabet in an error
Symbols = list[int]


class Alphabet(NamedTuple):
    """How a person writes symbols: a character each, or tokens between blanks."""

    names: tuple[str, ...]
    separated: bool = False

    def encode(self, text: str) -> Symbols:
        """The symbols of a text; `BadSequence` says which one is none."""
        tokens = self.tokens(text)
        if not tokens:
            raise BadSequence(f"got {shown(text)}, wanted at least one symbol")
        places = {name: place for place, name in enumerate(self.names)}
        for place, token in enumerate(tokens, start=1):
            if token not in places:
                raise BadSequence(f"got {shown(token)} as symbol {place} of {shown(text)}, wanted {self.described()}")
        return [places[token] for token in tokens]

    def decode(self, symbols: Sequence[int]) -> str:
        return (" " if self.separated else "").join(self.names[symbol] for symbol in symbols)

    def tokens(self, text: str) -> list[str]:
        return text.split() if self.separated else list(text.strip())

    def described(self) -> str:
        listed = " ".join(self.names)
        among = f" ({listed})" if len(listed) <= MOST_LISTED else ""
        first, last = self.names[0], self.names[-1]
        if not self.separated and self.names == tuple(map(chr, range(ord(first), ord(last) + 1))):
            return f"{first} to {last}"
        return f"one of its {len(self.names)} symbols{among}"


def batch_of(sources: Sequence[Symbols], answers: Sequence[Symbols], end: int) -> Batch:
    """Inputs padded with 0, targets with END behind each answer and then NOTHING, and the lengths of the sources."""
    import torch

    lengths = torch.tensor([len(source) for source in sources], dtype=torch.int64)
    return Batch(padded(sources, 0), padded([[*answer, end] for answer in answers], NOTHING), lengths)


def padded(rows: Sequence[Symbols], fill: int) -> "Tensor":
    """[rows, longest], filled up at the ends."""
    import torch

    longest = max(map(len, rows), default=0)
    made = [row + [fill] * (longest - len(row)) for row in rows]
    return torch.tensor(made, dtype=torch.int64).reshape(len(rows), longest)


def trimmed(batch: Batch) -> Batch:
    """Without the steps at the ends that are padding in all of its sequences."""
    inputs, targets, lengths = batch
    if lengths is None or not batch.size:
        return batch
    wanted = int((targets != NOTHING).sum(1).max())
    return Batch(inputs[:, : int(lengths.max())], targets[:, :wanted], lengths)


def sources_of(batch: Batch) -> list[Symbols]:
    assert batch.lengths is not None
    return [row[:length] for row, length in zip(batch.inputs.tolist(), batch.lengths.tolist(), strict=True)]


def answers_of(batch: Batch) -> list[Symbols]:
    """Without END."""
    counts = (batch.targets != NOTHING).sum(1) - 1
    return [row[:count] for row, count in zip(batch.targets.tolist(), counts.tolist(), strict=True)]


def unseen(train: Batch, valid: Batch) -> int:
    """Pairs of `valid` with a symbol, in source or answer, that no pair of `train` has there."""
    found = [False] * valid.size
    for of in (sources_of, answers_of):
        known = set(chain.from_iterable(of(train)))
        found = [before or not known.issuperset(row) for before, row in zip(found, of(valid), strict=True)]
    return sum(found)


def edits(one: Symbols, other: Symbols) -> int:
    """The least number of symbols to replace, to insert and to leave out (Levenshtein 1966)."""
    if one == other:
        return 0
    row = list(range(len(other) + 1))
    for place, symbol in enumerate(one, start=1):
        before, row[0] = row[0], place
        for column, wanted in enumerate(other, start=1):
            here = min(row[column] + 1, row[column - 1] + 1, before + (symbol != wanted))
            before, row[column] = row[column], here
    return row[-1]


def nearest(answer: Symbols, references: Sequence[Symbols]) -> tuple[int, int]:
    """Edits to the nearest of the references, and its length; of several the longest."""
    return min(((edits(answer, each), len(each)) for each in references), key=lambda pair: (pair[0], -pair[1]))


def judged(
    batch: Batch, answers: Sequence[Symbols], references: Callable[[Symbols], list[Symbols]] = lambda source: []
) -> list[tuple[int, int]]:
    """For each source its edits and the length of the reference: `nearest` of what is right.

    A source stands in one line or in several, one below the other, each with a right answer; it is judged once.
    """
    found: list[tuple[int, int]] = []
    sources, wanted = sources_of(batch), answers_of(batch)
    place = 0
    while place < len(sources):
        source, first = sources[place], place
        while place < len(sources) and sources[place] == source:
            place += 1
        found.append(nearest(answers[first], [*wanted[first:place], *references(source)]))
    return found


def rates(pairs: Sequence[tuple[int, int]], each: str = "symbol_error_rate", whole: str | None = None) -> Stats:
    """Edits over symbols, and the share of whole answers: that are wrong, by the name of an error rate, or right."""
    import torch

    symbols, wrong = sum(length for _, length in pairs), sum(edited > 0 for edited, _ in pairs)
    whole = whole or "sequence_accuracy"
    counted = wrong if whole.endswith("error_rate") else len(pairs) - wrong
    return {
        each: (torch.tensor(float(sum(edited for edited, _ in pairs))), torch.tensor(symbols)),
        whole: (torch.tensor(float(counted)), torch.tensor(len(pairs))),
    }


def judge(batch: Batch, answers: Sequence[Symbols]) -> Stats:
    """`symbol_error_rate` and `sequence_accuracy`: the judge of a task whose lines have all that is right."""
    return rates(judged(batch, answers))
