"""A batch of pairs as lines that a person can read, and back: a source, a tab and its answer."""

from collections.abc import Sequence
from typing import Any

from fastweights.errors import UserError, shown
from fastweights.tasks.pairs import answers_of, batch_of, sources_of
from fastweights.tasks.task import Batch

TAB = "\t"


class BadLine(UserError):
    """A line that is no sequence of its task; `number` counts from 1."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def write(task: Any, batch: Batch) -> list[str]:
    """A line for each pair."""
    source, target = task.source, task.target
    pairs = zip(sources_of(batch), answers_of(batch), strict=True)
    return [f"{source.decode(one)}{TAB}{target.decode(other)}" for one, other in pairs]


def read(task: Any, lines: Sequence[str]) -> Batch:
    """The batch that the lines say; `BadLine` names the first that is none of the task."""
    found: tuple[list[list[int]], list[list[int]]] = [], []
    for number, texts in enumerate(columns(lines, example(task)), start=1):
        for text, alphabet, rows in zip(texts, (task.source, task.target), found, strict=True):
            try:
                rows.append(alphabet.encode(text))
            except UserError as error:
                raise BadLine(number, str(error)) from None
    return batch_of(*found, task.spec.outputs - 1)


def columns(lines: Sequence[str], example: str) -> list[tuple[str, str]]:
    """The sources and the answers, both with something in them."""
    found = []
    for number, line in enumerate(lines, start=1):
        line = line.strip(" \r\n")
        parts = [part.strip() for part in line.split(TAB)]
        wanted = f"wanted a source, a tab and its answer, as in {shown(example)}"
        if not line.strip():
            raise BadLine(number, f"got an empty line, {wanted}")
        if len(parts) != 2:
            tabs = "no tab" if len(parts) == 1 else f"{len(parts) - 1} tabs"
            raise BadLine(number, f"got {shown(line)} with {tabs}, {wanted}")
        if not all(parts):
            raise BadLine(number, f"got no {'answer' if parts[0] else 'source'} in {shown(line)}, {wanted}")
        found.append((parts[0], parts[1]))
    return found


def example(task: Any) -> str:
    """A line that the task has as its example, or draws itself."""
    if hasattr(task, "EXAMPLE"):
        return task.EXAMPLE
    import torch

    from fastweights.tasks.pairs import trimmed

    return write(task, trimmed(task.draw(1, torch.Generator().manual_seed(0))))[0]
