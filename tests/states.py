"""A state at random."""

import torch

from fastweights import FastWeightsState

BATCH, INPUT, HIDDEN = 3, 5, 4


def state(*leading, grad=False):
    torch.manual_seed(0)
    shapes = ((*leading, BATCH, HIDDEN), (*leading, BATCH, HIDDEN, HIDDEN))
    return FastWeightsState(*(torch.randn(shape, requires_grad=grad) for shape in shapes))


def same(one, other):
    return len(one) == len(other) == 2 and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


BACKENDS = ["reference", "attention", "cpu"]
