"""The loss of most tasks."""

from functools import cache
from typing import TYPE_CHECKING, Any

from fastweights.tasks.stats import Answered, Stats
from fastweights.tasks.task import NOTHING, Batch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def answers(model: "Module", batch: Batch, smoothing: float = 0.0) -> "tuple[Tensor, Stats]":
    """Cross-entropy and accuracy where something is asked: the loss of most tasks.

    Targets [batch] are all asked for, and the model gives [batch, outputs]. Of targets [batch, time] those that are not
    NOTHING are asked for: `model(inputs, asked=mask)` gives [count, outputs], in the order of `targets[mask]`.
    `smoothing` is the share of each target that is spread over all classes.
    """
    inputs, targets, lengths = batch
    options = {} if lengths is None else {"lengths": lengths}
    if targets.dim() > 1:
        asked = targets != NOTHING
        logits, targets = model(inputs, asked=asked, **options), targets[asked]
    else:
        logits = model(inputs, **options)
    return answered(logits, targets, smoothing)


def answers_in_turn(model: "Module", batch: Batch, smoothing: float = 0.0) -> "tuple[Tensor, Stats]":
    """Cross-entropy and accuracy of each symbol of an answer, given those before it: the loss of tasks of pairs.

    `model(source, target_in, lengths=lengths)` gives [batch, answer, outputs]. target_in is the answer one step later,
    behind BEGIN, which is the number after END.
    """
    inputs, targets, lengths = batch
    logits, asked = model(inputs, begun(targets), lengths=lengths), targets != NOTHING
    return answered(logits[asked], targets[asked], smoothing)


def begun(targets: "Tensor") -> "Tensor":
    """BEGIN and the answers but for their last symbol; END is the largest symbol, and every answer has it."""
    if targets.numel() == 0:
        return targets
    begin = (targets.max() + 1).expand(len(targets), 1)
    return _torch().cat([begin, targets[:, :-1].clamp(min=0)], 1)


def answered(logits: "Tensor", targets: "Tensor", smoothing: float) -> "tuple[Tensor, Stats]":
    """logits [answers, outputs], targets [answers]."""
    # the mean over no answers is NaN, and their sum 0
    reduction = "mean" if targets.shape[0] else "sum"
    loss = _cross_entropy()(logits, targets, reduction=reduction, label_smoothing=smoothing)
    return loss, Answered(logits, targets, loss)


@cache
def _torch() -> Any:
    import torch

    return torch


@cache
def _cross_entropy() -> Any:
    """Imported at the first call: the command line reads tasks without torch, and an import costs each update."""
    from torch.nn.functional import cross_entropy

    return cross_entropy
