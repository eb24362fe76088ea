"""A look into a trained model, in the words of its task: what it did with a sequence, how alike symbols are to it, and
what it gets wrong."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastweights.errors import UserError, shown
from fastweights.nn import FastWeightsRNN, SequenceModel
from fastweights.nn.trace import Trace, trace
from fastweights.ops.fast_weights_rnn.attention import as_stored
from fastweights.rules import Cosine
from fastweights.tasks import NOTHING, BadSequence, Batch, Task, answers, has_text
from fastweights.training.source import generator_of

LAST = 1_000  # drawn sequences whose last symbols are the keys
CHUNK = 1_000


@dataclass(frozen=True)
class Codes:
    """How alike N symbols are to a network of H units.

    symbols: their names. vectors: [N, H], the hidden vector of the last layer after reading each alone, from an empty
    state. similarity: [N, N], their cosines; of `Cosine` those of the deviations from the mean, as its memory compares.
    """

    symbols: tuple[str, ...]
    vectors: np.ndarray[Any, Any]
    similarity: np.ndarray[Any, Any]

    def closest(self, count: int = 10) -> list[tuple[str, str, float]]:
        """The pairs that are most alike, with their cosine: those that the network is apt to confuse."""
        rows, columns = np.triu_indices(len(self.symbols), 1)
        order = np.argsort(-self.similarity[rows, columns], kind="stable")[:count]
        pairs = [(int(rows[each]), int(columns[each])) for each in order]
        return [(self.symbols[i], self.symbols[j], float(self.similarity[i, j])) for i, j in pairs]


def check_form(task: Task) -> None:
    """Raise where the answers are sequences of their own: no step of what is read has one."""
    if task.spec.pairs:
        raise UserError(f"{task.NAME}: got a run whose answers are sequences of their own, wanted one that answers at "
                        "steps of its sequence; `fastweights sample` shows what an answer attended to")  # fmt: skip


def trace_sequence(model: SequenceModel, task: Task, sequence: Any, state: Any = None, decay: Any = None) -> Trace:
    check_form(task)
    text, targets = sequence, None
    if isinstance(sequence, str):
        inputs = encode_whole(task, sequence) if state is None else encode_part(task, sequence)
        targets = right_answers(task, sequence, len(inputs)) if state is None else None
    elif isinstance(sequence, Batch):
        inputs, targets = one_of(task, sequence)
    else:
        inputs = sequence
    found = trace(model, inputs, state, decay)
    classes = getattr(task, "CLASSES", None) if task.loss is answers else None
    asked = np.zeros(len(found.inputs), bool)
    asked[:] = targets != NOTHING if targets is not None else task.spec.every and state is None
    asked[-1] |= not asked.any()
    return replace(
        found,
        symbols=names_of(task, found.inputs, text if isinstance(text, str) else None),
        classes=None if classes is None else tuple(classes),
        asked=asked,
        targets=targets,
        classified=task.loss is answers,
    )


def encode_whole(task: Any, text: str) -> Tensor:
    if not hasattr(task, "encode"):
        raise UserError(
            f"{task.NAME}: got the text {shown(text)}, wanted inputs or a batch of one, as task.draw(1, generator): "
            "the task has no text"
        )
    return task.encode(text)


def encode_part(task: Any, text: str) -> Tensor:
    """Any symbols of the task, as far as they are some."""
    if not has_text(task):
        return encode_whole(task, text)
    for symbol in text:
        if symbol not in task.SYMBOLS:
            raise BadSequence(f"got {shown(symbol)} in {shown(text)}, wanted symbols of {task.NAME}: {task.SYMBOLS}")
    return torch.tensor([task.SYMBOLS.index(symbol) for symbol in text], dtype=torch.int64)


def right_answers(task: Any, text: str, steps: int) -> Any:
    """The indices of the right classes, [steps], with NOTHING where none is asked; None where the task cannot say."""
    if not hasattr(task, "answer"):
        return None
    right = task.answer(text)
    found = np.full(steps, NOTHING)
    found[steps - len(right) :] = [NOTHING if each == "-" else task.CLASSES.index(each) for each in right]
    return found


def one_of(task: Task, batch: Batch) -> tuple[Tensor, Any]:
    """Inputs and targets of the only sequence."""
    if batch.size != 1:
        raise UserError(f"trace: got a batch of {batch.size} sequences, wanted one: batch.select(slice(3, 4))")
    steps = batch.inputs.shape[1] if batch.lengths is None else int(batch.lengths[0])
    if task.loss is not answers:
        return batch.inputs[0, :steps], None
    found = np.full(steps, NOTHING)
    if batch.targets.dim() == 1:
        found[-1] = int(batch.targets[0])
    else:
        found[:] = batch.targets[0, :steps].numpy()
    return batch.inputs[0, :steps], found


def names_of(task: Any, inputs: Any, text: str | None) -> tuple[str, ...] | None:
    if text is not None and hasattr(task, "tokens"):
        return tuple(task.tokens(text))
    symbols = symbol_names(task)
    return tuple(symbols[each] for each in inputs) if symbols and inputs.ndim == 1 else None


def symbol_names(task: Any) -> tuple[str, ...] | None:
    """What the task calls the symbols of its inputs; None where it names none. A number of symbols is no name."""
    names = getattr(task, "SYMBOLS", None) or getattr(task, "symbols", None)
    return tuple(names) if task.spec.symbols and isinstance(names, str | tuple | list) else None


def keys_of(task: Any) -> Tensor:
    """[keys], the symbols that ask: all of a task with an answer at every step, else those that sequences end with."""
    if task.spec.every:
        return torch.arange(task.spec.inputs)
    drawn = task.draw(LAST, generator_of(0))
    ends = torch.full((drawn.size,), drawn.inputs.shape[1]) if drawn.lengths is None else drawn.lengths
    return drawn.inputs[torch.arange(drawn.size), ends - 1].unique()


@torch.no_grad()
def codes_of(model: SequenceModel, task: Any, symbols: str | None) -> Codes:
    check_form(task)
    if not task.spec.symbols:
        raise UserError(f"{task.NAME}: got vectors as inputs, wanted a task of symbols: each has a code")
    places = keys_of(task) if symbols is None else encode_part(task, symbols)
    vectors = model.recurrent(model.look_up(places[:, None]))[0][:, 0].double()
    compared = vectors
    if isinstance(model.recurrent, FastWeightsRNN) and type(model.recurrent.rule) is Cosine:
        compared = as_stored(model.recurrent.rule, vectors)
    unit = torch.nn.functional.normalize(compared, dim=1)
    names = names_of(task, places.numpy(), None) or tuple(map(str, places.tolist()))
    return Codes(names, vectors.numpy(), (unit @ unit.T).numpy())


@torch.no_grad()
def mistakes_of(model: SequenceModel, task: Any, holding: str, count: int, seed: int) -> Batch:
    check_form(task)
    if task.loss is not answers or task.spec.every:
        raise UserError(f"{task.NAME}: got a task without one class as its answer, wanted one that has it")
    if hasattr(task, "read"):
        raise UserError(f"{task.NAME}: got a task whose sequences are lines of a file, wanted one that draws them")
    drawn = task.draw(count, generator_of(seed))
    keep = torch.ones(drawn.size, dtype=torch.bool)
    for symbol in encode_part(task, holding).tolist() if holding else []:
        keep &= (drawn.inputs == symbol).any(1)
    drawn = drawn.select(keep)
    lengths = drawn.lengths if drawn.lengths is not None else torch.full((drawn.size,), drawn.inputs.shape[1])
    found = [model(drawn.inputs[place : place + CHUNK], lengths=lengths[place : place + CHUNK]).argmax(1)
             for place in range(0, drawn.size, CHUNK)]  # fmt: skip
    return drawn.select(torch.cat(found) != drawn.targets) if found else drawn
