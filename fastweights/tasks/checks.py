"""Whether a batch is what its task says: a user's own task is told in one line, before it is trained on."""

from typing import Any

import torch
from torch import Tensor

from fastweights.tasks.answering import answers
from fastweights.tasks.task import NOTHING, BadSequence, Batch


def check_batch(task: Any, batch: Batch) -> None:
    """Raise `BadSequence`, its `row` the first sequence at fault, unless the batch fits the task's spec."""
    inputs, targets, lengths = batch
    spec = task.spec
    if spec.symbols:
        _check_form("inputs", inputs, torch.int64, "[batch, time]", inputs.dim() == 2)
        _check_rows("inputs", inputs, (inputs >= 0) & (inputs < spec.inputs), f"symbols from 0 to {spec.inputs - 1}")
    else:
        wanted = f"[batch, time, {spec.inputs}]"
        _check_form("inputs", inputs, torch.float32, wanted, inputs.dim() == 3 and inputs.shape[2] == spec.inputs)
        _check_rows("inputs", inputs, inputs.isfinite(), "finite numbers")
    if targets.shape[:1] != inputs.shape[:1]:
        raise BadSequence(f"got {len(inputs)} inputs and {list(targets.shape)} targets, wanted as many of both")
    if spec.pairs:
        _check_answers(targets, spec.outputs - 1)
    elif getattr(type(task), "loss", None) is answers:
        every, classes = spec.every, (targets >= 0) & (targets < spec.outputs)
        wanted = "[batch, time], as the inputs" if every else "[batch]"
        _check_form("targets", targets, torch.int64, wanted, targets.shape == inputs.shape[: 2 if every else 1])
        asked = classes | (targets == NOTHING) if every else classes
        _check_rows("targets", targets, asked, f"answers from 0 to {spec.outputs - 1}{' or NOTHING' if every else ''}")
    elif targets.is_floating_point():
        _check_rows("targets", targets, targets.isfinite(), "finite numbers")
    if lengths is not None:
        _check_form("lengths", lengths, torch.int64, "[batch]", lengths.shape == inputs.shape[:1])
        _check_rows("lengths", lengths, (lengths >= 1) & (lengths <= inputs.shape[1]), f"1 to {inputs.shape[1]} steps")


def _check_answers(targets: Tensor, end: int) -> None:
    """Each has symbols, END behind the last of them, and NOTHING after that."""
    _check_form("targets", targets, torch.int64, "[batch, answer]", targets.dim() == 2)
    wanted = f"symbols from 0 to {end - 1}, END ({end}) behind the last, and NOTHING after that"
    ends = (targets == end).cumsum(1)
    after = (targets == NOTHING) | ((targets == end) & (ends == 1))
    _check_rows("targets", targets, torch.where(ends == 0, (targets >= 0) & (targets < end), after), wanted)
    endless = (ends[:, -1:] == 0).any(1) if targets.shape[1] else torch.ones(len(targets), dtype=torch.bool)
    if bool(endless.any()):
        raise BadSequence(f"got an answer without END in the targets, wanted {wanted}", row=int(endless.nonzero()[0]))


def _check_form(name: str, tensor: Tensor, dtype: torch.dtype, wanted: str, good: bool) -> None:
    if tensor.dtype != dtype or not good:
        got = f"{_short(tensor.dtype)} {list(tensor.shape)}"
        raise BadSequence(f"got {name} of {got}, wanted {_short(dtype)} {wanted}")


def _check_rows(name: str, tensor: Tensor, good: Tensor, wanted: str) -> None:
    if not bool(good.all()):
        place = (~good).nonzero()[0]
        raise BadSequence(f"got {tensor[tuple(place)].item():g} in the {name}, wanted {wanted}", row=int(place[0]))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
