"""How weights start between a symbol and the network."""

import pytest
import torch
from builds import build

from fastweights.training.config import Config


@pytest.mark.parametrize("embedding_sizes", [(), (70,), (60, 80)])
@pytest.mark.parametrize("hidden_size", [20, 100])
def test_the_boundary_starts_at_unit_variance(embedding_sizes, hidden_size):
    config = Config(embedding_sizes=embedding_sizes, hidden_size=hidden_size, linear_embeddings=bool(embedding_sizes))
    boundaries = []
    for seed in range(40):
        torch.manual_seed(seed)
        model = build("RNN-LN-FW", config, 37, 10)
        boundaries.append(model.features @ model.recurrent.weight_ih_l0.T)
    assert torch.cat(boundaries).var().item() == pytest.approx(1, abs=0.05)
