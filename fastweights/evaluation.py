"""How well a model does, beside what guessing does."""

from typing import NamedTuple

import torch
from torch.nn import functional

from fastweights.nn.classifier import SequenceClassifier
from fastweights.tasks import Batch

EVALUATION_BATCH = 1000


class Score(NamedTuple):
    loss: float  # nats a sequence
    accuracy: float


@torch.no_grad()
def evaluate(model: SequenceClassifier, batch: Batch) -> Score:
    """Mean cross-entropy and accuracy over all sequences."""
    training = model.training
    model.eval()
    loss, correct = 0.0, 0
    for tokens, targets in zip(
        batch.tokens.split(EVALUATION_BATCH), batch.targets.split(EVALUATION_BATCH), strict=True
    ):
        logits = model(tokens)
        loss += functional.cross_entropy(logits, targets, reduction="sum").item()
        correct += int((logits.argmax(1) == targets).sum())
    model.train(training)
    return Score(loss / len(batch.targets), correct / len(batch.targets))
