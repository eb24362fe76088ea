"""A network and its gradients, for the tests of the optimizer."""

import torch
from torch import nn

from fastweights.optim import Group

X, Y = torch.randn(40, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).split((5, 3), 2)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def backward(model, step):
    dtype = model[0].weight.dtype
    loss = nn.functional.mse_loss(model(X[step].to(dtype)), Y[step].to(dtype))
    loss.backward()
    return loss


def train(model, optimizer, steps):
    for step in steps:
        backward(model, step)
        optimizer.step()
        optimizer.zero_grad()


def assert_equal(ours, theirs, atol=1e-12):
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=atol)


GROUPS = [Group(r"0\.weight", 0.5, decay=3.0), Group(r"0\..*", 0.5), Group(r"2\..*", 0.1, decay=1.0)]
SOAP = [Group(r"0\.weight", decay=3.0), Group(r"4\.weight", 0.5, decay=2.0, kind="soap"), Group(".*", kind="soap")]
