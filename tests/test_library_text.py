"""The tasks next-character and tagging, and the text that they share."""

import io
import keyword
import re
import sys
import sysconfig
import tokenize
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.errors import UserError
from fastweights.tasks import NextCharacter, Tagging, library_text
from fastweights.training import data

CACHES = (library_text.source, library_text.symbols, library_text.kinds_of)


@pytest.fixture
def other_library(tmp_path, monkeypatch):
    """A folder that is taken for Python's library."""
    for cache in CACHES:
        cache.cache_clear()
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    yield tmp_path
    for cache in CACHES:
        cache.cache_clear()


def draw(task, count=50, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


@given(st.integers(1, 300), st.integers(0, 99))
def test_the_answer_is_the_next_character_of_the_text(length, seed):
    inputs, targets, _ = draw(NextCharacter(length), 5, seed)
    assert inputs.shape == targets.shape == (5, length) and torch.equal(inputs[:, 1:], targets[:, :-1])
    row = bytes([*inputs[0].tolist(), int(targets[0, -1])])
    assert row in library_text.source("train").translate(library_text.CODES)


def test_the_drawing_of_the_docstring():
    marks = {" ": "space", "k": "keyword", "n": "name", "o": "operator", "c": "comment"}
    wanted = "kk" + " " + "n" + "o" + " " + "c" * 6
    assert [library_text.KINDS[kind] for kind in library_text.kinds(b"if x: # If x")] == [marks[m] for m in wanted]


@pytest.mark.parametrize("text, wanted", [
    (b"'#' # '", "sssoc".replace("o", " ") + "cc"),
    (b'"""a\n"b"\n"""+1', "s" * 12 + "on"),
    (b"rb'\\''f\"{x}\"", "s" * 12),
    (b"1.5e-3-x2", "nnnnnnovv"),
    (b".5+a.b", "nnovov"),
    (b"iff is 'is'", "vvv kk ssss"),
])  # fmt: skip
def test_kinds(text, wanted):
    marks = {"space": " ", "keyword": "k", "name": "v", "number": "n", "string": "s", "comment": "c", "operator": "o"}
    assert "".join(marks[library_text.KINDS[kind]] for kind in library_text.kinds(text)) == wanted


def test_kinds_are_those_of_pythons_own_tokens():
    """But for f- and t-strings, which newer versions take apart."""
    names = {"NAME": "name", "NUMBER": "number", "STRING": "string", "COMMENT": "comment", "OP": "operator"}
    read = 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-d]*.py")):
        text = file.read_bytes().replace(b"\r\n", b"\n")
        if not text.isascii() or re.search(rb"(?i)\b(f|fr|rf|t|tr|rt)['\"]", text):
            continue
        starts = [0]
        for line in text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        wanted = bytearray(len(text))
        for token in tokenize.generate_tokens(io.StringIO(text.decode()).readline):
            name = names.get(tokenize.tok_name[token.type])
            if name:
                begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
                kind = "keyword" if keyword.iskeyword(token.string) else name
                wanted[begin:end] = bytes([library_text.KINDS.index(kind)]) * (end - begin)
        assert library_text.kinds(text) == wanted, file
        read += len(text)
    assert read > 100_000


def test_tags_belong_to_their_characters():
    inputs, targets, _ = draw(Tagging(60))
    comment, string = (library_text.KINDS.index(kind) for kind in ("comment", "string"))
    after_mark = (inputs[:, :-1] == ord("#") - 31) & (targets[:, :-1] == comment) & (inputs[:, 1:] != 96)
    assert bool(after_mark.any()) and bool((targets[:, 1:][after_mark] == comment).all())
    assert bool((targets[inputs == 96] != comment).all()) and bool((targets == string).any())


@pytest.mark.parametrize("kind", [NextCharacter, Tagging])
def test_files_that_validate_or_test_are_not_trained_on(kind, other_library):
    names = sorted(name for name in sys.stdlib_module_names if name.isidentifier())[:40]
    for place, name in enumerate(names):
        (other_library / f"{name}.py").write_text(chr(33 + place) * 300)
    (other_library / "sitecustomize.py").write_text("~" * 3000)  # no part of the library
    drawn = data.draw(kind(length=50), 200, 200, 0, 200)
    train, valid, test = (set(part.inputs.unique().tolist()) for part in (drawn.train, drawn.valid, drawn.test))
    assert len(train) == 32 and len(valid) == len(test) == 4
    assert len(train | valid | test) == 40 and ord("~") - 31 not in train | valid | test


def test_a_python_without_its_source_is_told(other_library):
    with pytest.raises(UserError, match="got 0 modules as .py files, wanted the source of Python's standard library;"):
        draw(NextCharacter())


def test_floors_are_what_knowing_how_often_each_is_right_reaches():
    for task, seen in ((NextCharacter(), library_text.symbols("train")), (Tagging(), library_text.kinds_of("train"))):
        shares = seen.long().bincount(minlength=task.spec.outputs) / len(seen)

        def guess(inputs, asked, shares=shares):
            return shares.log().clamp(-30).expand(int(asked.sum()), -1)

        _, stats = task.loss(guess, draw(task, 2000))
        assert {name: float(s / n) for name, (s, n) in stats.items()} == pytest.approx(task.floors, abs=0.05)


@pytest.mark.parametrize("kind", [NextCharacter, Tagging])
@pytest.mark.parametrize("length", [0, 10_001, 2.0, True])
def test_bad_settings(kind, length, as_users_have_it):
    with pytest.raises(UserError, match="length: got .*, wanted an integer from 1 to 10000"):
        kind(length)
