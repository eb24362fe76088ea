"""The text that every Python has: the source of its standard library, as symbols, and what each character is part of.

Of every ten files, by name, one validates and one tests. Another version of Python has another text.
"""

import keyword
import re
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fastweights.errors import UserError

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads tasks without it
    from torch import Generator, Tensor

SYMBOLS = 97  # any other byte, the 95 characters of ASCII that are printed, the end of a line
CODES = bytes(96 if byte == 10 else byte - 31 if 32 <= byte < 127 else 0 for byte in range(256))
NAMES = ("\N{REPLACEMENT CHARACTER}", *map(chr, range(32, 127)), "\n")  # of the symbols
PARTS = {"valid": 4, "test": 9}  # the first of their files, of which every tenth is theirs
KINDS = ("space", "keyword", "name", "number", "string", "comment", "operator")
TOKEN = re.compile(
    rb"""(?P<comment>\#[^\n]*)
    | (?P<string>[bfrtuBFRTU]{0,2}(?:'''(?:\\.|[^\\])*?'''|\"{3}(?:\\.|[^\\])*?\"{3}
      |'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"))
    | (?P<number>\.?[0-9](?:[eE][+-]|[\w.])*)
    | (?P<name>[^\W\d]\w*)
    | (?P<operator>[^\w\s\\])""",
    re.VERBOSE | re.DOTALL,
)


@cache
def source(part: str) -> bytes:
    """The files of `train`, `valid` or `test`, one behind the other."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(file for file in folder.glob("*.py") if file.stem in sys.stdlib_module_names)
    chosen = {name: files[first::10] for name, first in PARTS.items()}
    chosen["train"] = [file for place, file in enumerate(files) if place % 10 not in PARTS.values()]
    if not all(chosen.values()):
        raise UserError(f"{folder}: got {len(files)} modules as .py files, wanted the source of Python's standard "
                        "library; use a Python that has it")  # fmt: skip
    return b"".join(file.read_bytes().replace(b"\r\n", b"\n") for file in chosen[part])


def kinds(text: bytes) -> bytearray:
    """For each character its place in KINDS."""
    found = bytearray(len(text))
    for token in TOKEN.finditer(text):
        begin, end = token.span()
        kind = "keyword" if keyword.iskeyword(token[0].decode("latin-1")) else token.lastgroup or "space"
        found[begin:end] = bytes([KINDS.index(kind)]) * (end - begin)
    return found


@cache
def symbols(part: str) -> "Tensor":
    """[characters], below SYMBOLS."""
    return _tensor(source(part).translate(CODES))


@cache
def kinds_of(part: str) -> "Tensor":
    """[characters], below the length of KINDS."""
    return _tensor(kinds(source(part)))


def _tensor(content: bytes | bytearray) -> "Tensor":
    import torch

    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def places(part: str, count: int, length: int, generator: "Generator") -> "Tensor":
    """[count, length] places of the text, one behind the other in each row."""
    import torch

    starts = torch.randint(len(source(part)) - length + 1, (count, 1), generator=generator)
    return starts + torch.arange(length)
