"""Adam over one flat buffer equals that of torch."""

import math
from dataclasses import replace

import pytest
import torch

from fastweights import data
from fastweights.config import Config
from fastweights.nn.input_layers import centered_of, decays_of, rotated_of, shares_of
from fastweights.nn.models import BUILDERS, build, try_out
from fastweights.optimizer import FlatAdam
from fastweights.papers import paper
from fastweights.reproduction.cells import own_cells
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


def test_input_learning_rates_and_weight_decays_equal_parameter_groups_of_torch():
    config = replace(
        SMALL,
        embedding_sizes=(5, 7),
        head_sizes=(4,),
        input_learning_rates=(0.5, 0.02, 0.1),
        table_weight_decay=3.0,
        head_weight_decay=2.0,
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
        {"params": [theirs.head[0].weight, theirs.head[2].weight], "lr": 3e-3, "weight_decay": 2.0},
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


def test_soap_equals_a_plain_one_for_all_matrices_but_the_table():
    config = replace(
        SMALL, hidden_size=6, head_sizes=(4,), optimizer="soap", table_weight_decay=3.0, head_weight_decay=2.0
    )

    def model():
        torch.manual_seed(0)
        return build("RNN-LN-FW", config, 37, 10).double()

    ours, theirs = model(), model()
    flat = FlatAdam(ours, 3e-3, 1e9, None, decays_of(ours, config), rotated_of(ours, config))
    table = theirs.recurrent.weight_ih_l0
    matrices = [p for p in theirs.parameters() if p.dim() == 2 and p is not table]
    assert len(matrices) == 3
    vectors = [p for p in theirs.parameters() if p.dim() == 1]
    decayed = {theirs.head[0].weight, theirs.head[2].weight}
    groups = [{"params": [table], "weight_decay": 3.0}, {"params": vectors}]
    adam = torch.optim.AdamW(groups, lr=3e-3, weight_decay=0.0)
    kept = [{"m": torch.zeros_like(p), "v": torch.zeros_like(p)} for p in matrices]
    batch = data.draw(AssociativeRetrieval(2), 512, 1, 0).train
    for step in range(1, 26):
        tokens, targets = batch.tokens[step * 16 : step * 16 + 16], batch.targets[step * 16 : step * 16 + 16]
        for network, optimizer in ((ours, flat), (theirs, adam)):
            torch.nn.functional.cross_entropy(network(tokens), targets).backward()
            optimizer.step()
        for p, s in zip(matrices, kept, strict=True):
            g = p.grad
            for side, square in (("L", g @ g.T), ("R", g.T @ g)):
                s[side] = square if step == 1 else 0.99 * s[side] + 0.01 * square
                if step == 1:
                    s["Q" + side] = torch.linalg.eigh(square)[1]
            if step > 1:
                s["m"] = 0.9 * s["m"] + 0.1 * g
                s["v"] = 0.99 * s["v"] + 0.01 * (s["QL"].T @ g @ s["QR"]) ** 2
                mean, square = s["m"] / (1 - 0.9**step), s["v"] / (1 - 0.99**step)
                p.data *= 1 - 3e-3 * 2.0 if p in decayed else 1.0
                p.data -= 3e-3 * s["QL"] @ ((s["QL"].T @ mean @ s["QR"]) / (square.sqrt() + 1e-8)) @ s["QR"].T
            if step % 10 == 0:
                for side, dim in (("L", 0), ("R", 1)):
                    values = torch.diag(s["Q" + side].T @ s[side] @ s["Q" + side])
                    order = values.argsort(descending=True)
                    s["Q" + side], s["v"] = s["Q" + side][:, order], s["v"].index_select(dim, order)
                    s["Q" + side] = torch.linalg.qr(s[side] @ s["Q" + side])[0]
        theirs.zero_grad()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-9)


@pytest.mark.parametrize("embedding_sizes", [(), (5, 7)])
def test_centered_gradients_are_those_of_all_matrices_but_the_table_less_the_means_of_their_rows(embedding_sizes):
    config = replace(SMALL, centered_gradients=True, embedding_sizes=embedding_sizes, head_sizes=(4,))

    def model():
        torch.manual_seed(0)
        return build("IRNN", config, 37, 10).double()

    ours, theirs = model(), model()
    flat = FlatAdam(ours, 3e-3, 0.1, centered=centered_of(ours, config))
    adam = torch.optim.Adam(theirs.parameters(), lr=3e-3)
    rnn = theirs.recurrent.rnn
    matrices = [rnn.weight_hh_l0, theirs.head[0].weight, theirs.head[2].weight]
    matrices += [rnn.weight_ih_l0, theirs.embedding[2].weight] if embedding_sizes else []
    batch = data.draw(AssociativeRetrieval(2), 512, 1, 0).train
    for step in range(20):
        tokens, targets = batch.tokens[step * 16 : step * 16 + 16], batch.targets[step * 16 : step * 16 + 16]
        torch.nn.functional.cross_entropy(ours(tokens), targets).backward()
        norm = flat.step()
        torch.nn.functional.cross_entropy(theirs(tokens), targets).backward()
        for matrix in matrices:
            matrix.grad -= matrix.grad.sum(1, keepdim=True) / matrix.shape[1]
        expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        adam.step()
        adam.zero_grad()
        assert norm == pytest.approx(expected.item(), rel=1e-6)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-7)


def test_the_share_of_a_matrix_is_that_of_its_layer():
    config = replace(SMALL, embedding_sizes=(5, 7), input_learning_rates=(1.0, 0.0, 0.5), optimizer="soap")
    model = build("RNN-LN-FW", config, 37, 10)
    before = {name: value.clone() for name, value in model.named_parameters()}
    flat = FlatAdam(model, 1e-2, 5.0, shares_of(model, config), None, rotated_of(model, config))
    batch = data.draw(AssociativeRetrieval(2), 64, 1, 0).train
    for _ in range(3):
        torch.nn.functional.cross_entropy(model(batch.tokens), batch.targets).backward()
        flat.step()
    still = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert still == {"embedding.2.weight", "embedding.2.bias"}
    first, second, third, last = (matrix.share for matrix in flat.matrices)  # C, W, second embedding, read-out
    assert (first, second, third, last) == (0.5, 1.0, 0.0, 1.0)


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
class Twice(Two):
    def __init__(self, size, hidden, batch_first):
        nn.Module.__init__(self)
        self.first, self.second = nn.GRU(size, size, batch_first=True), nn.GRU(size, hidden, batch_first=True)
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


@pytest.mark.parametrize(
    "settings",
    [
        {"input_learning_rates": (0.25,)},
        {"table_weight_decay": 0.5},
        {"optimizer": "soap"},
        {"centered_gradients": True},
    ],
)
@pytest.mark.parametrize("name", ["Twice", "Both", "Without"])
def test_a_network_without_one_projection_of_the_input_is_refused(name, settings, tmp_path, monkeypatch):
    (tmp_path / "networks_of_a_user.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    option = "--" + next(iter(settings)).replace("_", "-")
    try_out(f"networks_of_a_user:{name}", SMALL)
    with pytest.raises(ValueError, match=f"{option}( soap)?: got {name} with .*, wanted one weight_ih_l0"):
        try_out(f"networks_of_a_user:{name}", replace(SMALL, **settings))
    if "input_learning_rates" not in settings:  # then the embedding table is meant
        try_out(f"networks_of_a_user:{name}", replace(SMALL, embedding_sizes=(5,), **settings))


@pytest.mark.parametrize(
    "name, known",
    [("Both", ()), ("Without", ()), ("Two", (20, 50)), ("torch.nn:GRU", (20, 50, 100))],  # Two of 100: both might be C
)
def test_a_network_of_ones_own_has_the_rates_of_the_row_and_for_an_unknown_c_that_of_the_others(
    name, known, tmp_path, monkeypatch
):
    (tmp_path / "networks_of_a_user.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    for cell in own_cells(paper("ba2016-retrieval"), name if ":" in name else f"networks_of_a_user:{name}", {}):
        of_c = 0.1 if cell.config.hidden_size in known else 1.0
        assert cell.config.input_learning_rates == (1.0, 0.1, of_c), cell.name
        model = build(cell.model, cell.config, 37, 10)
        named = zip(model.named_parameters(), shares_of(model, cell.config), strict=True)
        slowed = {parameter: share for (parameter, _), share in named if share != 1}
        c = "recurrent.first.weight_ih_l0" if name == "Two" else "recurrent.weight_ih_l0"
        assert slowed == dict.fromkeys(["embedding.2.weight", "embedding.2.bias", *([c] if of_c != 1 else [])], 0.1)


@pytest.mark.parametrize("rates, sizes", [((0.1, 0.1), ()), ((0.1,), (5, 7)), ((-1.0,), ()), ((math.nan,), ())])
def test_input_learning_rates_that_do_not_fit_are_refused(rates, sizes):
    with pytest.raises(ValueError, match="--input-learning-rates .*: wanted"):
        Config(input_learning_rates=rates, embedding_sizes=sizes)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="--optimizer sgd: wanted adam or soap"):
        Config(optimizer="sgd")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("rotated", [None, [True, False, True, False]])
def test_a_parameter_outside_the_loss_is_one_of_gradient_zero(rotated):
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(3, 2), "unused": torch.nn.Linear(3, 2)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flat = FlatAdam(model, 1e-2, clip=5.0, rotated=rotated)
    for _ in range(11):  # SOAP has turned its bases once
        model["used"](torch.ones(4, 3)).sum().backward()
        norm = flat.step()
        assert norm == pytest.approx(math.sqrt(8 * 4**2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("unused")
        assert value.isfinite().all()
