from dataclasses import dataclass
from functools import cached_property
from math import comb, log
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, ClassVar

from fastweights.tasks.batch import BadSequence, Batch, check_integer

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

    Keys are distinct letters; values are digits, drawn with replacement unless they are to be distinct.

    Paper: Ba et al. 2016, https://arxiv.org/abs/1610.06258, section 4.1 (with K = 4).
    """

    NAME: ClassVar[str] = "associative-retrieval"
    VERSION: ClassVar[int] = 1
    SYMBOLS: ClassVar[str] = ascii_lowercase + digits + "?"
    CLASSES: ClassVar[str] = digits

    num_pairs: int = 3
    """Key-value pairs in a sequence (K)."""
    distinct_values: bool = False
    """No value twice in a sequence."""

    def __post_init__(self) -> None:
        check_integer("num_pairs", self.num_pairs, 1, 10 if self.distinct_values else 26)

    @property
    def length(self) -> int:
        """Symbols in a sequence."""
        return 2 * self.num_pairs + 3

    def draw(self, count: int, generator: "Generator") -> Batch:
        """`count` sequences: tokens [count, length] and targets [count], indices into SYMBOLS and CLASSES."""
        import torch

        check_integer("count", count, 0)
        chunks = [self._draw(min(CHUNK, count - done), generator) for done in range(0, count, CHUNK)]
        chunks = chunks or [self._draw(0, generator)]
        return Batch(torch.cat([c.tokens for c in chunks]), torch.cat([c.targets for c in chunks]))

    def _draw(self, count: int, generator: "Generator") -> Batch:
        import torch

        keys = _distinct(count, self.num_pairs, 26, generator)
        if self.distinct_values:
            values = _distinct(count, self.num_pairs, 10, generator)
        else:
            values = torch.randint(10, (count, self.num_pairs), generator=generator)
        asked = torch.randint(self.num_pairs, (count, 1), generator=generator)
        tokens = torch.empty(count, self.length, dtype=torch.int64)
        tokens[:, 0:-3:2] = keys
        tokens[:, 1:-3:2] = values + 26
        tokens[:, -3:-1] = 36
        tokens[:, -1:] = keys.gather(1, asked)
        return Batch(tokens, values.gather(1, asked).squeeze(1))

    def rename_keys(self, tokens: "Tensor", generator: "Generator") -> "Tensor":
        """The same sequences with keys drawn anew; their answers stay."""
        keys = _distinct(len(tokens), self.num_pairs, 26, generator)
        asked = (tokens[:, 0:-3:2] == tokens[:, -1:]).byte().argmax(1, keepdim=True)
        renamed = tokens.clone()
        renamed[:, 0:-3:2] = keys
        renamed[:, -1:] = keys.gather(1, asked)
        return renamed

    def encode(self, text: str) -> "Tensor":
        """The tokens of one sequence; `BadSequence` says what is wrong with it."""
        import torch

        self._check_text(text)
        return torch.tensor([self.SYMBOLS.index(symbol) for symbol in text])

    def decode(self, tokens: "Tensor") -> str:
        return "".join(self.SYMBOLS[int(token)] for token in tokens)

    def answer(self, text: str) -> str:
        """The right answer, read off the sequence."""
        self._check_text(text)
        return text[text.index(text[-1]) + 1]

    def _check_text(self, text: str) -> None:
        example = "".join(
            key + value for key, value in zip("gokabcdefhijlmnpqrstuvwxyz", "581" + "0" * 23, strict=True)
        )
        wanted = f"wanted {self.num_pairs} pairs as in {example[: 2 * self.num_pairs]}??g"
        if len(text) != self.length:
            raise BadSequence(f"got {text!r} of {len(text)} symbols, wanted {self.length}: {wanted}")
        for place, symbol in enumerate(text):
            allowed, kind = (digits, "a digit") if place % 2 else (ascii_lowercase, "a letter")
            if place in (self.length - 3, self.length - 2):
                allowed, kind = "?", "?"
            if symbol not in allowed:
                raise BadSequence(f"got {symbol!r} as symbol {place + 1} of {text!r}, {wanted} ({kind} there)")
        keys = text[0:-3:2]
        for key in keys:
            if keys.count(key) > 1:
                raise BadSequence(f"got the key {key!r} twice in {text!r}, wanted distinct keys")
        if text[-1] not in keys:
            raise BadSequence(f"got {text[-1]!r} as the query of {text!r}, wanted one of its keys: {', '.join(keys)}")
        values = text[1:-3:2]
        if self.distinct_values and len(set(values)) < len(values):
            raise BadSequence(f"got a value twice in {text!r}, wanted distinct values")

    def first_bad(self, batch: Batch) -> int | None:
        """The first sequence that this task cannot have drawn, its target included, or None."""
        import torch

        tokens, targets = batch
        keys, values, query = tokens[:, 0:-3:2], tokens[:, 1:-3:2], tokens[:, -1:]
        good = (keys < 26).all(1) & (values >= 26).all(1) & (values < 36).all(1) & (tokens[:, -3:-1] == 36).all(1)
        hit = keys == query
        good &= hit.any(1) & (torch.where(hit, values - 26, -1).max(1).values == targets)
        for column in [keys, values] if self.distinct_values else [keys]:
            ordered = column.sort(1).values
            good &= (ordered[:, 1:] != ordered[:, :-1]).all(1)
        return None if bool(good.all()) else int((~good).nonzero()[0])

    @cached_property
    def guess_floor(self) -> float:
        """Accuracy of a model that knows the values but not which key they belong to: E[largest count] / K."""
        if self.distinct_values:
            return 1 / self.num_pairs
        pairs = self.num_pairs
        at_most = [_sequences_with_counts_up_to(largest, pairs) / 10**pairs for largest in range(pairs + 1)]
        return sum(1 - p for p in at_most) / pairs

    @cached_property
    def guess_loss(self) -> float:
        """Cross-entropy of that model in nats: E[-log(count of the answer / K)], the count 1 + Binomial(K-1, 0.1)."""
        pairs = self.num_pairs
        if self.distinct_values:
            return log(pairs)
        chance = [comb(pairs - 1, k) * 0.1**k * 0.9 ** (pairs - 1 - k) for k in range(pairs)]
        return -sum(p * log((k + 1) / pairs) for k, p in enumerate(chance))

    @classmethod
    def from_text(cls, text: str) -> "AssociativeRetrieval":
        """The task that a sequence belongs to, by its length."""
        pairs, odd = divmod(len(text) - 3, 2)
        if odd or not 1 <= pairs <= 26:
            raise BadSequence(f"got {text!r} of {len(text)} symbols, wanted pairs, ?? and a query, as in g5o8k1??g")
        return cls(num_pairs=pairs)


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
