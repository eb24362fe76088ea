"""How weights start, and how those between a symbol and the network learn."""

from dataclasses import replace

import pytest
import torch

from fastweights import data, training
from fastweights.config import Config
from fastweights.nn.models import build
from fastweights.tasks import AssociativeRetrieval

SMALL = Config(hidden_size=12, epochs=1, train_size=512, valid_size=256, batch_size=64, schedule="constant")


@pytest.mark.parametrize("embedding_sizes", [(), (70,), (60, 80)])
@pytest.mark.parametrize("hidden_size", [20, 100])
def test_the_boundary_starts_at_unit_variance(embedding_sizes, hidden_size):
    config = replace(
        SMALL, embedding_sizes=embedding_sizes, hidden_size=hidden_size, linear_embeddings=bool(embedding_sizes)
    )
    boundaries = []
    for seed in range(40):
        torch.manual_seed(seed)
        model = build("RNN-LN-FW", config, 37, 10)
        boundaries.append(model.features @ model.recurrent.weight_ih_l0.T)
    assert torch.cat(boundaries).var().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("hidden_size", [20, 50])
def test_an_orthogonal_start(hidden_size):
    torch.manual_seed(0)
    model = build("RNN-LN-FW", replace(SMALL, hidden_size=hidden_size, orthogonal=True), 37, 10)
    recurrent = model.recurrent.weight_hh_l0.double()
    assert torch.allclose(recurrent @ recurrent.T, 0.25 * torch.eye(hidden_size, dtype=torch.float64), atol=1e-6)
    boundaries = model.features @ model.recurrent.weight_ih_l0.T
    assert boundaries.square().mean().item() == pytest.approx(1, abs=1e-5)
    gram = boundaries.T @ boundaries if hidden_size < 37 else boundaries @ boundaries.T
    assert torch.allclose(gram, torch.eye(len(gram)) * gram[0, 0], atol=1e-4)
    with pytest.raises(ValueError, match="--orthogonal: got --embedding-sizes 7, wanted one-hot symbols"):
        replace(SMALL, orthogonal=True, embedding_sizes=(7,))


def test_a_run_takes_input_learning_rates_and_weight_decay(tmp_path):
    drawn = data.draw(AssociativeRetrieval(2), SMALL.train_size, SMALL.valid_size, SMALL.seed)

    def trained(name, **settings):
        training.train("RNN-LN-FW", replace(SMALL, **settings), drawn, tmp_path / name)
        return training.load_run(tmp_path / name)[0].recurrent.weight_ih_l0

    plain, still = trained("plain"), trained("still", input_learning_rates=(0.0,))
    torch.manual_seed(SMALL.seed)
    start = build("RNN-LN-FW", SMALL, 37, 10).recurrent.weight_ih_l0
    assert torch.equal(still, start) and not torch.equal(plain, start)
    assert trained("decayed", table_weight_decay=10.0).norm() < 0.9 * plain.norm()
