"""Lines `symbols,answer` of anybody's: what their symbols and classes are, and the batch that they say."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy
import torch

from fastweights.tasks.lines import NO_ANSWER, BadLine
from fastweights.tasks.own_lines import OwnLines, listed
from fastweights.tasks.task import NOTHING, Batch, shown

HEADS = {"answer", "answers", "class", "label", "labels", "output", "tag", "tags", "target", "targets", "y"}
MOST_NAMES = 10_000  # symbols, which a network sees one-hot, or classes
MOST_CELLS = 2**31  # of 8 bytes, once every sequence is as long as the longest
Split = Callable[[str], Sequence[str]]


def read(task: OwnLines, lines: list[str]) -> tuple[OwnLines, Batch]:
    """The task with what the lines tell, and their batch. A task that has its symbols keeps them."""
    known = bool(task.symbols)
    sequences, given = columns(lines)
    separated = task.separated if known else any(map(has_blank, sequences[1:]))
    task, first = with_form(task, sequences, given, separated)
    if not (known or separated or first) and has_blank(sequences[0]):
        separated = True
        task, first = with_form(task, sequences, given, separated)
    split: Split = str.split if separated else str
    answered: Split = split if task.answers == "each" else one
    sequences, given = sequences[first:], given[first:]
    if not sequences:
        raise BadLine(1, "got a header alone, wanted lines below it")
    check_form(sequences, given, split, answered, first + 1)
    if not known:
        task = replace(told(task, sequences, given, split, answered, len(lines)), separated=separated)
        task = replace(task, header="yes" if first else "no")
    return task, encoded(task, sequences, given, split, answered, first + 1)


def with_form(task: OwnLines, sequences: list[str], given: list[str], separated: bool) -> tuple[OwnLines, bool]:
    """The task with one answer or each, by all lines but the first; whether that is a header."""
    split: Split = str.split if separated else str
    if task.answers == "found":
        each = answer_each(sequences[1:] or sequences, given[1:] or given, split)
        task = replace(task, answers="each" if each else "one")
    return task, has_header(task, sequences, given, split, split if task.answers == "each" else one)


def has_blank(text: str) -> bool:
    return len(text.split(None, 1)) > 1


def one(answer: str) -> tuple[str]:
    return (answer,)


def columns(lines: list[str]) -> tuple[list[str], list[str]]:
    sequences, given = [], []
    for number, line in enumerate(lines, start=1):
        parts = line.strip().split(",") if '"' not in line else unquoted(line.strip())
        if len(parts) != 2:
            some = f"{shown(line.strip())} with {len(parts)} column{'s' * (len(parts) != 1)}"
            raise BadLine(number, f"got {some}, wanted symbols, a comma and the answer, as in {OwnLines.EXAMPLE}")
        sequences.append(parts[0].strip())
        given.append(parts[1].strip())
    return sequences, given


def unquoted(line: str) -> list[str]:
    """The cells of a line as spreadsheets write them: quotes around one with a comma; else the quotes are symbols."""
    if line.startswith('"') or ',"' in line:
        try:
            return next(csv.reader([line], strict=True))
        except (csv.Error, StopIteration):
            pass
    return line.split(",")


def answer_each(sequences: list[str], given: list[str], split: Split) -> bool:
    """Whether most lines of two symbols and more have as many answers."""
    votes = 0
    for text, answer in zip(sequences, given, strict=True):
        if (symbols := len(split(text))) > 1:
            votes += 1 if len(split(answer)) == symbols else -1
    return votes > 0


def has_header(task: OwnLines, sequences: list[str], given: list[str], split: Split, answered: Split) -> bool:
    """Whether line 1 names the columns: its answer is that of no other line, and it looks like no other."""
    names = set(answered(given[0]))
    if task.header == "no" or (task.symbols and names & set(task.classes)):
        return False
    if task.header == "yes":
        return True
    if given[0].lower() in HEADS:
        return given[0] not in given[1:]
    others = set(chain.from_iterable(map(answered, given[1:])))
    if answered is not one and len(split(sequences[0])) != len(split(given[0])):
        return not names <= others
    if names & others:
        return False
    lengths = {len(split(text)) for text in sequences[1:]}
    other_length = len(lengths) == 1 and len(split(sequences[0])) not in lengths
    return other_length or not set(split(sequences[0])) <= set(chain.from_iterable(map(split, sequences[1:])))


def check_form(sequences: list[str], given: list[str], split: Split, answered: Split, first: int) -> None:
    """Every line has symbols and answers, and as many answers as symbols where each has one."""
    each = answered is not one
    for number, (text, answer) in enumerate(zip(sequences, given, strict=True), start=first):
        if not text or not answer:
            raise BadLine(number, f"got no {'answer' if text else 'symbol'}, wanted both, as in {OwnLines.EXAMPLE}")
        if each and (got := len(split(answer))) != (wanted := len(split(text))):
            raise BadLine(
                number,
                f"got {got} answers to the {wanted} symbols of {shown(text)}, wanted one each (or --answers one)",
            )


def told(task: OwnLines, sequences: list[str], given: list[str], split: Split, answered: Split, last: int) -> OwnLines:
    """The task with the symbols and classes of these lines."""
    symbols = tuple(sorted(set(chain.from_iterable(map(split, sequences)))))
    counted = Counter(chain.from_iterable(map(answered, given)))
    if task.answers == "each":
        del counted[NO_ANSWER]
    classes = tuple(sorted(counted))
    if len(classes) < 2:
        got = f"the answer {shown(classes[0])} in every line" if classes else "no answer in any line"
        raise BadLine(last, f"got {got} up to this one, wanted at least two classes")
    for what, names in (("symbols", symbols), ("classes", classes)):
        if len(names) > MOST_NAMES:
            raise BadLine(last, f"got {len(names):,} {what} up to this line, wanted at most {MOST_NAMES:,}")
    length = max(map(len, map(split, sequences)))
    counts = tuple(counted[name] for name in classes)
    return replace(task, symbols=symbols, classes=classes, counts=counts, length=length)


def encoded(task: OwnLines, sequences: list[str], given: list[str], split: Split, answered: Split, first: int) -> Batch:
    lengths = numpy.fromiter(map(len, map(split, sequences)), numpy.int64, len(sequences))
    longest = int(lengths.max())
    if len(lengths) * longest > MOST_CELLS:
        number = int(lengths.argmax()) + first
        raise BadLine(number, f"got {longest:,} symbols, with {len(lengths):,} lines to be made as long; wanted fewer")
    index = {symbol: place for place, symbol in enumerate(task.symbols)}
    inputs = padded(numbers(sequences, split, index, first, task.known_symbols()), lengths, 0)
    places = {name: place for place, name in enumerate(task.classes)}
    wanted = f"wanted one of the {len(task.classes)} classes that were trained on{listed(task.classes)}"
    if task.answers == "each":
        answers = numbers(given, answered, {**places, NO_ANSWER: NOTHING}, first, wanted)
        targets = padded(answers, lengths, NOTHING)
    else:
        targets = numbers(given, answered, places, first, wanted)
    ragged = bool((lengths != longest).any())
    return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(lengths) if ragged else None)


def numbers(texts: list[str], split: Split, index: dict[str, int], first: int, wanted: str) -> Any:
    """The place of each token, of all lines one after another."""
    flat: Iterable[str] = chain.from_iterable(map(split, texts))
    try:
        return numpy.fromiter(map(index.__getitem__, flat), numpy.int64)
    except KeyError:
        for number, text in enumerate(texts, start=first):
            for token in split(text):
                if token not in index:
                    raise BadLine(number, f"got {shown(token)}, {wanted}") from None
        raise


def padded(flat: Any, lengths: Any, fill: int) -> Any:
    """[lines, longest], filled up at the ends."""
    longest = int(lengths.max())
    if bool((lengths == longest).all()):
        return flat.reshape(len(lengths), longest)
    made = numpy.full((len(lengths), longest), fill, dtype=numpy.int64)
    made[numpy.arange(longest) < lengths[:, None]] = flat
    return made
