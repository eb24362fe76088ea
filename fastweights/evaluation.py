"""How well a model does, beside what guessing does, and how sure that is over several seeds."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

from fastweights.nn.classifier import SequenceClassifier
from fastweights.tasks import Batch

EVALUATION_BATCH = 1000
RESAMPLES = 10_000


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


class Estimate(NamedTuple):
    mean: float
    interval: tuple[float, float] | None  # 95%; None where there is one seed


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean and its bootstrap 95% interval (percentiles of 10,000 resamples; the same for the same values).

    With three seeds such an interval is too short: it covers the mean of normal values in three cases of four.
    """
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean, None)
    generator = random.Random(0)
    means = sorted(sum(generator.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    tail = RESAMPLES * 25 // 1000
    return Estimate(mean, (means[tail], means[-1 - tail]))
