"""Adam over one flat buffer equals that of torch."""

import math

import pytest
import torch

from fastweights import data
from fastweights.config import Config
from fastweights.nn.models import build
from fastweights.optimizer import FlatAdam
from fastweights.tasks import AssociativeRetrieval

SMALL = Config(hidden_size=12)


def test_flat_adam_equals_torch_adam_with_clipping():
    def model():
        torch.manual_seed(0)
        return build("RNN-LN-FW", SMALL, 37, 10).double()

    ours, theirs = model(), model()
    flat, adam = FlatAdam(ours, 3e-3, clip=0.1), torch.optim.Adam(theirs.parameters(), lr=3e-3)
    batch = data.draw(AssociativeRetrieval(2), 512, 1, 0).train
    for step in range(20):
        tokens, targets = batch.tokens[step * 16 : step * 16 + 16], batch.targets[step * 16 : step * 16 + 16]
        torch.nn.functional.cross_entropy(ours(tokens), targets).backward()
        norm = flat.step(3e-3)
        torch.nn.functional.cross_entropy(theirs(tokens), targets).backward()
        expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        adam.step()
        adam.zero_grad()
        assert norm == pytest.approx(expected.item(), rel=1e-6)  # torch divides by norm + 1e-6
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-7)


def test_flat_adam_takes_a_parameter_outside_the_loss_as_one_of_gradient_zero():
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(3, 2), "unused": torch.nn.Linear(3, 2)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flat = FlatAdam(model, 1e-2, clip=5.0)
    for _ in range(2):
        model["used"](torch.ones(4, 3)).sum().backward()
        norm = flat.step()
        assert norm == pytest.approx(math.sqrt(8 * 4**2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("unused")
