import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import comb, log
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.errors import shown
from fastweights.tasks.answering import answers
from fastweights.tasks.task import BadSequence, Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

CHUNK = 8_192  # sequences drawn at a time, so that the work stays in the cache; part of what VERSION fixes


@dataclass(frozen=True)
class AssociativeRetrieval:
    """Which digit followed this letter?

    g 5 o 8 k 1 ? ? g  ->  5
    | |         |   |
    | |         |   '- the query: one of the keys
    | '- value  '- the pairs are over
    '- key

    Keys are distinct letters. Values are digits, drawn with replacement unless they are to be distinct. Where copying
    asks for everything in its order, this asks for one value by its key.

    Paper: Ba et al. 2016, https://arxiv.org/abs/1610.06258, section 4.1 (with K = 4).
    """

    NAME: ClassVar[str] = "associative-retrieval"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    SYMBOLS: ClassVar[str] = ascii_lowercase + digits + "?"
    CLASSES: ClassVar[str] = digits
    spec = Spec(inputs=37, outputs=10)
    loss = staticmethod(answers)

    num_pairs: int = 3
    """Key-value pairs in a sequence (K)."""
    distinct_values: bool = False
    """No value twice in a sequence."""
    renamed_keys: bool = field(default=False, metadata={"drawn": False})  # of the training, not of the data
    """Give each training sequence other keys in every epoch."""

    def __post_init__(self) -> None:
        check_integer("num_pairs", self.num_pairs, 1, 10 if self.distinct_values else 26)

    @property
    def length(self) -> int:
        """Symbols in a sequence."""
        return 2 * self.num_pairs + 3

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs [count, length] and targets [count], indices into SYMBOLS and CLASSES."""
        import torch

        check_integer("count", count, 0)
        chunks = [self._draw(min(CHUNK, count - done), generator) for done in range(0, count, CHUNK)]
        chunks = chunks or [self._draw(0, generator)]
        return Batch(torch.cat([c.inputs for c in chunks]), torch.cat([c.targets for c in chunks]))

    def _draw(self, count: int, generator: "Generator") -> Batch:
        import torch

        keys = _distinct(count, self.num_pairs, 26, generator)
        if self.distinct_values:
            values = _distinct(count, self.num_pairs, 10, generator)
        else:
            values = torch.randint(10, (count, self.num_pairs), generator=generator)
        asked = torch.randint(self.num_pairs, (count, 1), generator=generator)
        inputs = torch.empty(count, self.length, dtype=torch.int64)
        inputs[:, 0:-3:2] = keys
        inputs[:, 1:-3:2] = values + 26
        inputs[:, -3:-1] = 36
        inputs[:, -1:] = keys.gather(1, asked)
        return Batch(inputs, values.gather(1, asked).squeeze(1))

    def renew(self, batch: Batch, generator: "Generator") -> Batch:
        """The same sequences with keys drawn anew, if they are to be renamed; their answers stay."""
        if not self.renamed_keys:
            return batch
        keys = _distinct(batch.size, self.num_pairs, 26, generator)
        asked = (batch.inputs[:, 0:-3:2] == batch.inputs[:, -1:]).byte().argmax(1, keepdim=True)
        inputs = batch.inputs.clone()
        inputs[:, 0:-3:2] = keys
        inputs[:, -1:] = keys.gather(1, asked)
        return batch._replace(inputs=inputs)

    def encode(self, text: str) -> "Tensor":
        """The inputs of one sequence; `BadSequence` says what is wrong with it."""
        import torch

        self.answer(text)
        return torch.tensor([self.SYMBOLS.index(symbol) for symbol in text])

    def decode(self, inputs: "Tensor") -> str:
        return "".join(self.SYMBOLS[symbol] for symbol in inputs.tolist())

    def answer(self, text: str) -> str:
        """The right answer, read off the sequence; `BadSequence` says what is wrong with it."""
        keys, values = text[0:-3:2], text[1:-3:2]
        place = keys.find(text[-1:])
        good = _form(self.num_pairs).fullmatch(text) and len(set(keys)) == self.num_pairs and place >= 0
        if not good or (self.distinct_values and len(set(values)) < len(values)):
            raise BadSequence(self._fault(text))
        return values[place]

    def _fault(self, text: str) -> str:
        """What is wrong with a sequence."""
        letters, numbers = "gokabcdefhijlmnpqrstuvwxyz", "581" + "0" * 23
        example = "".join(map("".join, zip(letters, numbers, strict=True)))
        wanted = f"wanted {self.num_pairs} pairs as in {example[: 2 * self.num_pairs]}??g"
        if len(text) != self.length:
            return f"got {shown(text)} of {len(text)} symbols, wanted {self.length}: {wanted}"
        for place, symbol in enumerate(text):
            allowed, kind = (digits, "a digit") if place % 2 else (ascii_lowercase, "a letter")
            if place in (self.length - 3, self.length - 2):
                allowed, kind = "?", "?"
            if symbol not in allowed:
                return f"got {symbol!r} as symbol {place + 1} of {text!r}, {wanted} ({kind} there)"
        keys = text[0:-3:2]
        for key in keys:
            if keys.count(key) > 1:
                return f"got the key {key!r} twice in {text!r}, wanted distinct keys"
        if text[-1] not in keys:
            return f"got {text[-1]!r} as the query of {text!r}, wanted one of its keys: {', '.join(keys)}"
        return f"got a value twice in {text!r}, wanted distinct values"

    @classmethod
    def from_text(cls, text: str, **fields: Any) -> "AssociativeRetrieval":
        """The task that a sequence belongs to, by its length."""
        pairs, odd = divmod(len(text) - 3, 2)
        if odd or not 1 <= pairs <= 26:
            raise BadSequence(
                f"got {shown(text)} of {len(text)} symbols, wanted pairs, ?? and a query, as in g5o8k1??g"
            )
        return cls(**{**fields, "num_pairs": pairs})

    @property
    def floors(self) -> Mapping[str, float]:
        """Of a model that knows the values but not which key they belong to."""
        return _floors(self.num_pairs, self.distinct_values)


@lru_cache
def _floors(pairs: int, distinct_values: bool) -> Mapping[str, float]:
    """Accuracy E[largest count of a value] / K, and cross-entropy E[-log(count of the answer / K)] in nats.

    The count of the answer is 1 + Binomial(K - 1, 0.1), where values may repeat.
    """
    if distinct_values:
        return {"accuracy": 1 / pairs, "loss": log(pairs)}
    at_most = [_sequences_with_counts_up_to(largest, pairs) / 10**pairs for largest in range(pairs + 1)]
    chance = [comb(pairs - 1, k) * 0.1**k * 0.9 ** (pairs - 1 - k) for k in range(pairs)]
    return {
        "accuracy": sum(1 - p for p in at_most) / pairs,
        "loss": -sum(p * log((k + 1) / pairs) for k, p in enumerate(chance)),
    }


@lru_cache
def _form(num_pairs: int) -> re.Pattern[str]:
    return re.compile(rf"(?:[a-z][0-9]){{{num_pairs}}}\?\?[a-z]")


def _distinct(count: int, chosen: int, among: int, generator: "Generator") -> "Tensor":
    """[count, chosen] distinct numbers below `among`, in random order: the first steps of a Fisher-Yates shuffle."""
    import torch

    deck = torch.arange(among, dtype=torch.uint8).expand(count, among).contiguous()
    for place in range(chosen):
        other = torch.randint(place, among, (count, 1), generator=generator)
        card = deck.gather(1, other)
        deck.scatter_(1, other, deck[:, place : place + 1].clone())
        deck[:, place : place + 1] = card
    return deck[:, :chosen].to(torch.int64)


def _sequences_with_counts_up_to(largest: int, length: int) -> int:
    """How many of the 10^length sequences of digits hold no digit more than `largest` times."""
    ways = [1] + [0] * length
    for _ in range(10):
        ways = [
            sum(ways[total - k] * comb(total, k) for k in range(min(largest, total) + 1)) for total in range(length + 1)
        ]
    return ways[length]
