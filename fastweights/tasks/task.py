"""What a task is, and what it hands out.

A task is a frozen dataclass; its fields are its options and its identity, and each has a default. What a task may leave
out:

    BETTER: "higher" or "lower", which METRIC is better; left out: "lower" where its name has a word such as loss or
        error, else "higher"
    ACTS: True where `draw` acts with the model, so that nothing can be drawn beforehand
    frames(actions, generator) -> list: the pictures of an episode that acts so, for `fastweights play`; ACTION_NAMES:
        what its actions are called
    renew(batch, generator) -> Batch: what a fixed training set becomes for another epoch
    held_out(part, count, generator) -> Batch: draws the sequences of "valid" and of "test", where those of `draw` must
        not be among them
    read(lines) -> (Task, Batch): its sequences are lines of a file, which tell what the task is; `draw` makes some up,
        to try a network out
    sizes: {"train": count, "valid": count, "test": count}, where sequences are counted: so many are trained on where
        nobody says how many
    summary() -> str: how files of the user's were read
    marks: {what it stands for: accuracy}: what else an accuracy is compared with, such as the ceiling of a memory that
        cannot do something
    missing() -> str | None: why nothing can be drawn on this machine, where it needs files
    a field with metadata={"place": True}: where its files lie, which is no part of its identity

A task whose answer is a sequence of its own (`Spec(..., pairs=True)`) may have more; `tasks/pairs.py` has most of it:

    source, target: the alphabets (`Alphabet`) in which a person writes a source and its answer
    judge(batch, answers) -> Stats: what evaluation adds to the statistics of the loss; the answers are those that the
        model gives by itself, symbol by symbol (greedily), a list of symbols without END for each source
    references(source) -> list of lists: every answer to a source, a list of symbols, that is right
    longest_answer: the symbols at which decoding stops; left out: twice the steps of the source and ten

A task with text, whose sequences a person can type, has all of these; its inputs are indices into SYMBOLS:

    SYMBOLS, CLASSES: str, a character for each input and for each answer
    encode(text) -> Tensor [time]; decode(inputs) -> str
    answer(text) -> str: its right answers, one for each of the last steps, "-" where nothing is asked between two
    from_text(text, **fields) -> Task, a class method: what the text tells, such as a length, goes before the fields

encode, answer and from_text raise `BadSequence` where the text is none of the task.
"""

import hashlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from fastweights.errors import UserError, shown
from fastweights.tasks.stats import Stats

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads the fields of tasks without it
    from torch import Generator, Tensor
    from torch.nn import Module

NOTHING = -100  # no answer is wanted here
LOWER = ("loss", "error", "distance", "perplexity", "cost", "regret")  # words in the names of metrics


class Spec(NamedTuple):
    """What a model of the task takes and gives."""

    inputs: int  # symbols, or features a step
    outputs: int  # numbers at an answer: classes, or what the task's own loss reads
    symbols: bool = True  # inputs are indices, else vectors
    every: bool = False  # answers at every step, else after the last
    pairs: bool = False  # the answer is a sequence of its own, and the last of its symbols is END


class Batch(NamedTuple):
    """Sequences and what is asked of them."""

    inputs: "Tensor"  # [batch, time] symbols (int64), or [batch, time, features]
    targets: "Tensor"  # [batch], or [batch, time] with NOTHING, or what the task's own loss reads; of pairs
    # [batch, answer]: its symbols, END, then NOTHING
    lengths: "Tensor | None" = None  # [batch] steps that count; None: all of them

    @property
    def size(self) -> int:
        """Sequences."""
        return self.targets.shape[0]

    def select(self, index: Any) -> "Batch":
        """The sequences of a slice, of a mask, or of a tensor of their places."""
        inputs, targets, lengths = self
        return Batch(inputs[index], targets[index], None if lengths is None else lengths[index])

    def to(self, device: Any) -> "Batch":
        inputs, targets, lengths = self
        return Batch(inputs.to(device), targets.to(device), None if lengths is None else lengths.to(device))

    @property
    def hash(self) -> str:
        """SHA-256 over every bit, the same on every machine.

        Name, dtype and shape of a tensor go before its bytes, little end first. So 0.0 and -0.0 hash apart, and so do
        the same numbers in another dtype. Lengths count, even where they say that all steps do.
        """
        digest = hashlib.sha256()
        for name, tensor in zip(self._fields, self, strict=True):
            if tensor is not None:
                dtype, shape = str(tensor.dtype).removeprefix("torch."), list(tensor.shape)
                digest.update(f"{name} {dtype} {shape}\n".encode())
                digest.update(little_endian(tensor))
        return digest.hexdigest()


def little_endian(tensor: "Tensor", swap: bool = sys.byteorder == "big") -> bytes:
    """The bytes of the numbers in order, the lowest byte of each first."""
    import torch

    flat = tensor.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1)  # a view may have gaps
    numbers = flat.view(torch.uint8).reshape(-1, flat.element_size())
    return (numbers.flip(1) if swap else numbers).numpy().tobytes()


@runtime_checkable
class Task(Protocol):
    """A task as others see it: what it is called, what it draws, and how an answer to it is judged."""

    NAME: ClassVar[str]  # on the command line
    VERSION: ClassVar[int]  # the same version and seed give the same data everywhere
    METRIC: ClassVar[str]  # of the stats: what tables, plots and the stop at a target show

    @property
    def spec(self) -> Spec: ...

    @property
    def floors(self) -> Mapping[str, float]:
        """What guessing reaches, by the name of a statistic."""
        ...

    def draw(self, count: int, generator: "Generator", model: "Module | None" = None) -> Batch:
        """`count` sequences, drawn from this generator alone."""
        ...

    def loss(self, model: "Module", batch: Batch) -> "tuple[Tensor, Stats]":
        """The mean that gradient descent lowers, and what is reported."""
        ...


class BadSequence(UserError):
    """A sequence that does not belong to its task; the message says what was got and what was wanted."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row  # of a batch


def better(task: Any) -> str:
    """Whether a "higher" or a "lower" METRIC is better; of a task or of its class."""
    return getattr(task, "BETTER", "lower" if any(word in task.METRIC for word in LOWER) else "higher")


def has_text(task: Any) -> bool:
    """Whether a person can type its sequences; of a task or of its class."""
    return hasattr(task, "SYMBOLS")


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    wanted = f"an integer from {low} to {high}" if high is not None else f"an integer >= {low}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise UserError(f"{name}: got {shown(value)}, wanted {wanted}")
