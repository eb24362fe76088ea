"""Files of anybody's symbols for the fuzzer: headers, ragged rows, one class, separators, quotes and encodings at random.

What was read has to fit its task, to be described, and to be text again.
"""

import json
import random
from math import isfinite
from pathlib import Path
from typing import Any

from fuzz_breaks import NASTY, break_bytes

ALPHABETS: list[Any] = [
    "ab", "ABC123", "äß한😀Ω", "-a.:?", "\"',;", "aA\u0301e\u0301", ["dog", "cat", "-a-", "x:y"], ["the", "a" * 300, "é"],
    ["\u00a0", "x"], [*"ab", ""], [str(n) for n in range(60)], ["\x1b[31m", "[red]", "\u2028"],
]  # fmt: skip
HEADS = "symbols,answer text,tags x,y a,b 1,2 -,- symbols,answer,length answer , symbols;answer".split()
ENCODINGS = [*["utf-8"] * 20, *["utf-8-sig"] * 5, "utf-16", "utf-32", "latin-1", "cp1252", "shift_jis"]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def rows(draw: random.Random, alphabet: Any, classes: Any, between: str) -> list[str]:
    """Lines `symbols,answer`; the answer is one, or one for each symbol."""
    each, ragged, separator = (
        draw.random() < 0.4,
        draw.random() < 0.4,
        draw.choice([*[","] * 20, ", ", " ,", ";", "\t", ",,"]),
    )
    quotes, found = draw.choice([0.0, 0.0, 0.3, 1.0]), []
    for _ in range(draw.choice([0, 1, 4, 5, 6, 6, 20, 20, 40, 40])):
        length = draw.randint(int(draw.random() < 0.99), 6) if ragged else 3
        answers = length + draw.choice([-1, 1]) if draw.random() < 0.003 else length
        cells = [between.join(draw.choice(of) for _ in range(count))
                 for of, count in ((alphabet, length), (classes, answers if each else 1))]  # fmt: skip
        found.append(separator.join(quoted(cell) if draw.random() < quotes else cell for cell in cells))
    return found


def own_lines(draw: random.Random) -> list[bytes]:
    """A file, and another one of the same symbols."""
    alphabet = draw.choice(ALPHABETS)
    classes = draw.choice([alphabet, alphabet, ["yes", "no"], ["x"], ["-", "yes", "no"], draw.sample(NASTY, 3)])
    between = draw.choice(["", " ", " ", "  ", "\t", "\u3000"])
    end, encoding, made = (
        draw.choice([*["\n"] * 12, "\r\n", "\r\n", "\r", "\r", "\n\n", "\u2028"]),
        draw.choice(ENCODINGS),
        [],
    )
    for _ in range(2):
        lines = rows(draw, alphabet, classes, between)
        if draw.random() < 0.25:
            lines.insert(0, draw.choice(HEADS))
        if lines and draw.random() < 0.05:
            lines.insert(draw.randrange(len(lines)), draw.choice(NASTY))
        content = end.join([*lines, *draw.choice([[], [""]])]).encode(encoding, "replace")
        made.append(break_bytes(draw, content) if draw.random() < 0.1 else content)
    return made


def own(where: Path, draw: random.Random) -> None:
    """One file, or a folder of two."""
    from fastweights.tasks import OwnLines
    from fastweights.training import data

    path = where / "own"
    path.mkdir(exist_ok=True)
    (path / "train.csv").write_bytes((contents := own_lines(draw))[0])
    (path / "valid.csv").write_bytes(contents[1])
    asked = OwnLines(draw.choice(["found", "found", "one", "each"]), draw.choice(["found", "found", "yes", "no"]))
    check(data.load(path if draw.random() < 0.3 else path / "train.csv", asked))


def check(found: Any) -> None:
    from fastweights.tasks import describe, make_task
    from fastweights.tasks.checks import check_batch

    task = found.task
    assert make_task(json.loads(json.dumps(describe(task)))) == task and len(task.classes) > 1
    assert isfinite(task.floors["loss"]) and 0 < task.floors["accuracy"] < 1 and task.summary().isprintable()
    for batch in (found.train, found.valid):
        check_batch(task, batch)
        lengths = [batch.inputs.shape[1]] * batch.size if batch.lengths is None else batch.lengths.tolist()
        for inputs, length in zip(batch.inputs, lengths, strict=True):
            assert task.encode(task.decode(inputs[:length])).tolist() == inputs[:length].tolist()
