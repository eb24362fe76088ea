"""Adam over one flat buffer equals that of torch."""

import math
from dataclasses import replace

import pytest
import torch

from fastweights import data
from fastweights.config import Config
from fastweights.nn.input_layers import decays_of, shares_of
from fastweights.nn.models import BUILDERS, build, try_out
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


def test_input_learning_rates_and_the_decay_of_the_table_equal_parameter_groups_of_torch():
    config = replace(
        SMALL, embedding_sizes=(5, 7), head_sizes=(4,), input_learning_rates=(0.5, 0.02, 0.1), table_weight_decay=3.0
    )

    def model():
        torch.manual_seed(0)
        return build("RNN-LN-FW", config, 37, 10).double()

    ours, theirs = model(), model()
    flat = FlatAdam(ours, 3e-3, 1e9, shares_of(ours, config), decays_of(ours, config))
    groups = [
        {"params": [theirs.embedding[0].weight], "lr": 1.5e-3, "weight_decay": 3.0},
        {"params": [theirs.embedding[0].bias], "lr": 1.5e-3},
        {"params": list(theirs.embedding[2].parameters()), "lr": 6e-5},
        {"params": [theirs.recurrent.weight_ih_l0], "lr": 3e-4},
    ]
    grouped = {id(p) for group in groups for p in group["params"]}
    groups.append({"params": [p for p in theirs.parameters() if id(p) not in grouped], "lr": 3e-3})
    adam = torch.optim.AdamW(groups, weight_decay=0.0)
    batch = data.draw(AssociativeRetrieval(2), 512, 1, 0).train
    for step in range(20):
        tokens, targets = batch.tokens[step * 16 : step * 16 + 16], batch.targets[step * 16 : step * 16 + 16]
        for network, optimizer in ((ours, flat), (theirs, adam)):
            torch.nn.functional.cross_entropy(network(tokens), targets).backward()
            optimizer.step()
        adam.zero_grad()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-9)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_network_has_an_input_projection_for_input_learning_rates(name):
    config = replace(SMALL, input_learning_rates=(0.25,), table_weight_decay=0.5)
    model = build(name, config, 37, 10)
    slowed = [p for p, share in zip(model.parameters(), shares_of(model, config), strict=True) if share == 0.25]
    assert len(slowed) == 1 and slowed[0].shape[1] == 37
    decays = decays_of(model, config)
    assert sorted(decays)[-2:] == [0.0, 0.5] and list(model.parameters())[decays.index(0.5)] is slowed[0]


NETWORKS = """from torch import nn
class Two(nn.Module):
    def __init__(self, size, hidden, batch_first):
        super().__init__()
        self.first, self.second = (nn.GRU(s, hidden, batch_first=True) for s in (size, hidden))
    def forward(self, x):
        return self.second(self.first(x)[0])
class Both(nn.Module):
    def __init__(self, size, hidden, batch_first):
        super().__init__()
        self.rnn = nn.GRU(size, hidden // 2, batch_first=True, bidirectional=True)
    def forward(self, x):
        return self.rnn(x)
class Without(nn.Module):
    def __init__(self, size, hidden, batch_first):
        super().__init__()
        self.layer = nn.Linear(size, hidden)
    def forward(self, x):
        return self.layer(x), None
"""


@pytest.mark.parametrize("settings", [{"input_learning_rates": (0.25,)}, {"table_weight_decay": 0.5}])
@pytest.mark.parametrize("name", ["Two", "Both", "Without"])
def test_a_network_without_one_projection_of_the_input_is_refused(name, settings, tmp_path, monkeypatch):
    (tmp_path / "networks_of_a_user.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    option = "--" + next(iter(settings)).replace("_", "-")
    try_out(f"networks_of_a_user:{name}", SMALL)
    with pytest.raises(ValueError, match=f"{option}: got {name} with .*, wanted one weight_ih_l0"):
        try_out(f"networks_of_a_user:{name}", replace(SMALL, **settings))
    if "table_weight_decay" in settings:  # then it is that of the embedding table
        try_out(f"networks_of_a_user:{name}", replace(SMALL, embedding_sizes=(5,), **settings))


@pytest.mark.parametrize("rates, sizes", [((0.1, 0.1), ()), ((0.1,), (5, 7)), ((-1.0,), ()), ((math.nan,), ())])
def test_input_learning_rates_that_do_not_fit_are_refused(rates, sizes):
    with pytest.raises(ValueError, match="--input-learning-rates .*: wanted"):
        Config(input_learning_rates=rates, embedding_sizes=sizes)


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
