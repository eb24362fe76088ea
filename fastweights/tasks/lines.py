"""A batch as lines that a person can read, and back, bit for bit.

A task with text: `c9k8j3??c,9`, a sequence and its answers. Of a task with answers at every step, the answers are those
of the last steps, "-" where nothing is asked between two.

A task without: `0.25:1 0.5:0 0.75:1,1.0`. Blanks part steps, colons the features of a step; "-" is no answer. A symbol
is its number, and a float has the digits that give its 32 bits back.

Lengths, where a batch has them, are a third column. Pairs have lines of their own (`pair_lines.py`).
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy
import torch
from torch import Tensor

from fastweights.errors import UserError, shown
from fastweights.tasks import pair_lines
from fastweights.tasks.checks import check_batch
from fastweights.tasks.pair_lines import BadLine as BadLine
from fastweights.tasks.task import NOTHING, BadSequence, Batch, has_text

NO_ANSWER = "-"
WHOLE = re.compile(r"[-0-9 :]*")


def to_lines(task: Any, batch: Batch) -> list[str]:
    """A line for each sequence; `UserError` where no line would give it back as it is."""
    check_batch(task, batch)
    if task.spec.pairs:
        return pair_lines.write(task, batch)
    few = batch.select(slice(2))
    if batch.size and not _comes_back(task, few):
        parts = [(name, part) for name, part in few._asdict().items() if part is not None]
        got = ", ".join(f"{name} {str(part.dtype)[6:]} {list(part.shape)}" for name, part in parts)
        wanted = "wanted what its text says" if has_text(task) else "wanted numbers of int64 and float32"
        raise UserError(f"task {task.NAME}: got {got}, which lines of text do not give back, {wanted}")
    return _format(task, batch)


def from_lines(task: Any, lines: Sequence[str]) -> Batch:
    """The batch that the lines say; `BadLine` names the first that is none of the task."""
    if task.spec.pairs:
        return pair_lines.read(task, lines)
    columns = [line.strip().split(",") for line in lines]
    for number, (line, parts) in enumerate(zip(lines, columns, strict=True), start=1):
        if len(parts) not in (2, 3):
            raise BadLine(
                number, f"got {shown(line)}, wanted a sequence, a comma and its answer, as in {example(task)}"
            )
        if len(parts) != len(columns[0]):
            raise BadLine(number, f"got {shown(line)} with {len(parts)} columns, wanted {len(columns[0])} as in line 1")
    inputs, targets = (_read_text if has_text(task) else _read_numbers)(task, columns)
    lengths = None
    if len(columns[0]) == 3:
        lengths = _tensor(_converted([parts[2:] for parts in columns], int, "a number of steps")).squeeze(1)
    batch = Batch(inputs, targets, lengths)
    try:
        check_batch(task, batch)
    except BadSequence as error:
        raise BadLine((error.row or 0) + 1, str(error)) from None
    return batch


def _comes_back(task: Any, batch: Batch) -> bool:
    try:
        return batch.targets.dim() <= 3 and from_lines(task, _format(task, batch)).hash == batch.hash
    except BadLine:
        return False


def _format(task: Any, batch: Batch) -> list[str]:
    inputs, targets = batch.inputs.tolist(), batch.targets.tolist()
    if has_text(task):
        symbols = task.SYMBOLS
        asked = dict(enumerate(task.CLASSES)) | {NOTHING: NO_ANSWER}
        sequences = ["".join([symbols[place] for place in row]) for row in inputs]
        if task.spec.every:
            answers = ["".join([asked[n] for n in row]).lstrip(NO_ANSWER) or NO_ANSWER for row in targets]
        else:
            answers = [asked[n] for n in targets]
    else:
        form = _form(inputs[0] if inputs else [])
        sequences = [form % tuple(row if task.spec.symbols else chain.from_iterable(row)) for row in inputs]
        written = _with_point if batch.targets.is_floating_point() else _answer
        answers = [_joined(row if isinstance(row, list) else [row], written) for row in targets]
    lengths = repeat("") if batch.lengths is None else [f",{length}" for length in batch.lengths.tolist()]
    return [f"{one},{other}{length}" for one, other, length in zip(sequences, answers, lengths)]  # noqa: B905


def _joined(row: list[Any], written: Callable[[Any], str]) -> str:
    return " ".join([":".join(map(written, step)) if isinstance(step, list) else written(step) for step in row])


def _form(row: list[Any]) -> str:
    """A sequence as the % operator fills it in; 9 digits tell floats of 32 bits apart."""
    return " ".join(":".join(["%.9g"] * len(step)) if isinstance(step, list) else "%d" for step in row)


def _with_point(number: float) -> str:
    text = f"{number:.9g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _answer(number: int) -> str:
    return NO_ANSWER if number == NOTHING else str(number)


def _read_text(task: Any, columns: list[list[str]]) -> tuple[Tensor, Tensor]:
    index, classes = ({symbol: place for place, symbol in enumerate(text)} for text in (task.SYMBOLS, task.CLASSES))
    classes[NO_ANSWER] = NOTHING
    rows, targets, time = [], [], 0
    for number, (text, given, *_) in enumerate(columns, start=1):
        try:
            answer = task.answer(text)
            time = time or len(task.encode(text))
            row = [index[symbol] for symbol in text] if len(text) == time else task.encode(text).tolist()
        except UserError as error:
            raise BadLine(number, str(error)) from None
        if given != answer:
            raise BadLine(number, f"got the answer {shown(given)} to {shown(text)}, wanted {shown(answer)}")
        if len(row) != time:
            raise BadLine(number, f"got {shown(text)} of {len(row)} symbols, wanted {time} as in line 1")
        rows.append(row)
        targets.append([classes[s] for s in given.rjust(time, NO_ANSWER)] if task.spec.every else classes[given])
    return _tensor(rows), _tensor(targets)


def _read_numbers(task: Any, columns: list[list[str]]) -> tuple[Tensor, Tensor]:
    spec = task.spec
    kind, width, wanted = (int, 1, "a whole number") if spec.symbols else (float, spec.inputs, "a number")
    inputs = _grid([parts[0] for parts in columns], "steps", width, kind, wanted)
    given = [parts[1] for parts in columns]
    width = given[0].split(" ")[0].count(":") + 1
    whole = all(map(WHOLE.fullmatch, given))
    kind, wanted = (_whole_or_nothing, "a whole number or -") if whole else (float, "a number")
    targets = _grid(given, "answers", width, kind, wanted)
    if spec.symbols:
        inputs = inputs.squeeze(2)
    if width == 1:
        targets = targets.squeeze(2)
        if targets.shape[1] == 1 and not spec.every:
            targets = targets.squeeze(1)
    return inputs, targets


def _grid(cells: list[str], what: str, width: int, kind: Callable[[str], float], wanted: str) -> Tensor:
    """[lines, steps, width] numbers, as many steps in each line as in the first."""
    split = [cell.split(" ") for cell in cells]
    for number, steps in enumerate(split, start=1):
        if len(steps) != len(split[0]):
            raise BadLine(number, f"got {len(steps)} {what}, wanted {len(split[0])} as in line 1")
        for step in steps:
            if step.count(":") != width - 1:
                raise BadLine(number, f"got {shown(step)} among the {what}, wanted {width} with a colon between two")
    rows = _converted([cell.replace(":", " ").split(" ") for cell in cells], kind, wanted)
    return _tensor(rows, numpy.float32 if kind is float else numpy.int64).reshape(len(cells), -1, width)


def _tensor(rows: list[Any], dtype: type = numpy.int64) -> Tensor:
    with numpy.errstate(over="ignore"):  # infinite, and refused as that
        return torch.from_numpy(numpy.array(rows, dtype=dtype))  # a third of the time of torch.tensor


def _converted(rows: list[list[str]], kind: Callable[[str], float], wanted: str) -> list[list[Any]]:
    made = []
    for number, row in enumerate(rows, start=1):
        try:
            made.append([kind(text) for text in row])
            if kind is not float and max(map(abs, made[-1])) >= 2**63:
                raise ValueError
        except ValueError:
            raise BadLine(number, f"got {_first_bad(row, kind)}, wanted {wanted}") from None
    return made


def _first_bad(row: list[str], kind: Callable[[str], float]) -> str:
    for text in row:
        try:
            kind(text)
        except ValueError:
            return shown(text)
    return "a number beyond 64 bits"


def _whole_or_nothing(text: str) -> int:
    return NOTHING if text == NO_ANSWER else int(text)


def example(task: Any) -> str:
    """A line that the task draws itself, or has as its example."""
    if task.spec.pairs:
        return pair_lines.example(task)
    if hasattr(task, "read"):
        return task.EXAMPLE
    one = task.draw(1, torch.Generator().manual_seed(0))
    return _format(task, one)[0]
