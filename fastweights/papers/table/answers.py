"""What a trained model answers by itself to every word of a set: edits a word, as results have them, and what they say.

A result has, for each word in the order of its set, the edits and the length of the nearest reference, a character
each: "0" to "9", then letters.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from fastweights.papers.table.results import Record

DIGITS = string.digits + string.ascii_lowercase
RESAMPLES, CHUNK = 5_000, 250
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Emptied:
    """A model whose memory is emptied where the source has ended."""

    model: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode(self, source: Any, lengths: Any = None) -> Any:
        return self.model.emptied(self.model.encode(source, lengths))


def answered(model: Any, task: Any, batch: Any) -> dict[str, str]:
    """{"edits", "lengths"}: a character for each source of the batch."""
    from fastweights.tasks.pairs import judged
    from fastweights.training.evaluation import decoded, parts

    pairs: list[tuple[int, int]] = []
    for part in parts(batch, pairs=True):
        pairs += judged(part, decoded(model, task, part), getattr(task, "references", lambda source: []))
    edits, lengths = zip(*pairs, strict=True)
    return {"edits": packed(edits), "lengths": packed(lengths)}


def packed(numbers: Sequence[int]) -> str:
    return "".join(DIGITS[min(number, len(DIGITS) - 1)] for number in numbers)


def unpacked(text: str) -> Numbers:
    return np.array([DIGITS.index(character) for character in text], dtype=float)


def rate(found: dict[str, str]) -> float:
    """Edits over symbols."""
    return float(unpacked(found["edits"]).sum() / max(unpacked(found["lengths"]).sum(), 1))


def wrong(found: dict[str, str]) -> float:
    """The share of the words with an edit."""
    return float((unpacked(found["edits"]) > 0).mean())


@dataclass(frozen=True)
class Difference:
    """Of two rows: the mean over the seeds that both have, and its 95% interval over words."""

    mean: float
    interval: tuple[float, float]

    @property
    def none(self) -> bool:
        """Whether the interval contains zero."""
        return self.interval[0] <= 0 <= self.interval[1]


def differences(mine: Sequence[Record], others: Sequence[Record], part: str = "test") -> dict[str, Difference] | None:
    """Mine less the others', of "rate" and "wrong": a paired bootstrap over the words; None without a seed in common.

    Every resample has the same words for both, so that how hard a word is does not count.
    """
    pairs = [(one["measured"][part], other["measured"][part])
             for one in mine for other in others if one["seed"] == other["seed"]]  # fmt: skip
    if not pairs:
        return None
    of = [[(unpacked(each["edits"]), unpacked(each["lengths"])) for each in pair] for pair in pairs]
    words, draw = len(of[0][0][0]), np.random.default_rng(0)
    found: dict[str, list[Numbers]] = {"rate": [], "wrong": []}
    whole = np.ones((1, words))
    resampled = (draw.multinomial(words, np.full(words, 1 / words), CHUNK) for _ in range(RESAMPLES // CHUNK))
    for counts in chain([whole], resampled):
        counts = counts.astype(float)
        rates = [(counts @ a[0]) / (counts @ a[1]) - (counts @ b[0]) / (counts @ b[1]) for a, b in of]
        shares = [(counts @ (a[0] > 0) - counts @ (b[0] > 0)) / words for a, b in of]
        found["rate"].append(np.mean(rates, axis=0))
        found["wrong"].append(np.mean(shares, axis=0))
    made = {}
    for name, (first, *drawn) in found.items():
        low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
        made[name] = Difference(float(first[0]), (float(low), float(high)))
    return made
