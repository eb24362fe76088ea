"""The LSTM over symbols: the numbers and the gradients of `nn.LSTM`, which it falls back on."""

import pytest
import torch
from builds import build
from equations import INPUT, assert_close, gradients
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fastweights.errors import UserError
from fastweights.nn import LSTM
from fastweights.training.config import Config

pytest.importorskip("numba")


def given(hidden, batch, time, entries=9, dtype=torch.float64):
    torch.manual_seed(0)
    module, features = LSTM(INPUT, hidden).to(dtype), torch.randn(entries, INPUT, dtype=dtype, requires_grad=True)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return module, torch.randint(entries, (batch, time)), features


def by_torch(module, symbols, features):
    return nn.LSTM.forward(module, functional.embedding(symbols, features))[0][:, -1]


@pytest.mark.parametrize("hidden", [1, 7, 50])
@pytest.mark.parametrize("batch,time", [(1, 1), (8, 2), (19, 6)])
def test_it_is_nn_lstm_and_so_are_all_gradients(hidden, batch, time):
    module, symbols, features = given(hidden, batch, time)
    leaves = [features, *module.parameters()]
    got, backend = module.last_of_symbols(symbols, features)
    assert backend == "cpu" and "LastHidden" in got.grad_fn.name()
    want = by_torch(module, symbols, features)
    assert_close([got, *gradients([got], leaves)], [want, *gradients([want], leaves)])
    with torch.no_grad():
        assert torch.equal(module.last_of_symbols(symbols, features)[0], got)


def test_in_single_precision_it_is_as_near_as_nn_lstm():
    module, symbols, features = given(50, 40, 11, dtype=torch.float32)
    weigh = torch.randn(40, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def outcome(last, leaves):
        return [last, *torch.autograd.grad((last * weigh.to(last.dtype)).sum(), leaves)]

    ours = outcome(module.last_of_symbols(symbols, features)[0], [features, *module.parameters()])
    theirs = outcome(by_torch(module, symbols, features), [features, *module.parameters()])
    module, precise = module.double(), features.detach().double().requires_grad_()
    truth = outcome(by_torch(module, symbols, precise), [precise, *module.parameters()])
    for got, other, want in zip(ours, theirs, truth, strict=True):
        assert (got - want).abs().max() <= 4 * (other - want).abs().max() + 1e-7


def test_a_graph_may_be_walked_twice_and_nothing_depends_on_uninitialised_memory(monkeypatch):
    module, symbols, features = given(7, 19, 6)
    leaves = [features, *module.parameters()]
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)  # fresh memory holds NaN
    try:
        last = module.last_of_symbols(symbols, features)[0]
        first = torch.autograd.grad(last.sum(), leaves, retain_graph=True)
        again = torch.autograd.grad(last.sum(), leaves)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, first, again))
    want = torch.autograd.grad(by_torch(module, symbols, features).sum(), leaves)
    assert_close(first, want)


def test_each_gradient_may_be_the_only_one():
    module, symbols, features = given(7, 19, 6)
    leaves = [features, *module.parameters()]
    want = gradients([by_torch(module, symbols, features)], leaves)
    for only, true in zip(leaves, want, strict=True):
        for leaf in leaves:
            leaf.requires_grad_(leaf is only)
        assert_close(gradients([module.last_of_symbols(symbols, features)[0]], [only]), [true])


def test_symbols_that_are_a_view_and_of_another_integer_type():
    module, symbols, features = given(7, 12, 10)
    view = symbols[::2, 1:9:2]
    want = by_torch(module, view.contiguous(), features)
    assert_close(
        [module.last_of_symbols(view, features)[0], module.last_of_symbols(view.int(), features)[0]], [want] * 2
    )


@pytest.mark.parametrize("wrong", [-1, 9])
def test_a_symbol_out_of_range_is_an_index_error(wrong):
    module, symbols, features = given(7, 12, 10)
    symbols[3, 4] = wrong
    with pytest.raises(IndexError, match="symbols: got .*, wanted 0 to 8"):
        module.last_of_symbols(symbols, features)


def test_what_the_kernels_do_not_take_is_left_to_nn_lstm():
    module, symbols, features = given(7, 5, 6)
    want = by_torch(module, symbols, features)
    with pytest.raises(ValueError, match="got backend='cpu', wanted 'auto' or 'torch'"):
        LSTM(INPUT, 7, backend="cpu")
    module.backend = "torch"
    last, backend = module.last_of_symbols(symbols, features)
    assert backend == "torch" and torch.equal(last, want)
    assert torch.autograd.grad(last.sum(), features, create_graph=True)[0].requires_grad
    module.backend = "auto"
    with torch.autocast("cpu", torch.bfloat16):
        assert module.last_of_symbols(symbols, features)[1] == "torch"
    with FlopCounterMode(display=False) as counter:
        assert module.last_of_symbols(symbols, features)[1] == "torch"
    assert counter.get_total_flops() > 0
    assert module.last_of_symbols(symbols[:0], features)[0].shape == (0, 7)
    half = module.to(torch.bfloat16).last_of_symbols(symbols, features.bfloat16())
    assert half[1] == "torch" and half[0].dtype == torch.bfloat16


@pytest.mark.parametrize("batch", [1, 12, 16])
def test_a_symbol_that_is_nowhere_may_be_nan(batch):
    module, symbols, features = given(7, batch, 6)
    features.data[0] = torch.nan
    weights = [p for name, p in module.named_parameters() if name != "weight_ih_l0"]  # which meets all symbols
    last = module.last_of_symbols(symbols.clamp(min=1), features)[0]
    want = by_torch(module, symbols.clamp(min=1), features)
    for got, true in zip(gradients([last], [features, *weights]), gradients([want], [features, *weights]), strict=True):
        assert torch.allclose(got, true, atol=1e-10)


@pytest.mark.parametrize("shape", [(28, 5), (28, 8), (28, 64), (21, 7)])
def test_weights_of_another_size_are_an_error(shape):
    module, symbols, features = given(7, 5, 6)
    module.weight_hh_l0 = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    wanted = rf"LSTM: got weight_hh_l0 of shape \[{shape[0]}, {shape[1]}\], wanted \[28, 7\]"
    with pytest.raises(UserError, match=wanted):
        module.last_of_symbols(symbols, features)
    with pytest.raises(UserError, match=wanted):  # nn.LSTM would write past the end of the heap's blocks
        module(features[symbols])


def test_what_is_wrong_is_said_as_nn_lstm_says_it():
    module, symbols, features = given(7, 5, 6)
    with pytest.raises(RuntimeError, match="Expected 5, got 4"):
        module.last_of_symbols(symbols, features[:, :4])
    with pytest.raises(RuntimeError, match="positive"):
        module.last_of_symbols(symbols, features[:0])
    with pytest.raises(RuntimeError, match="indices"):
        module.last_of_symbols(symbols.short(), features)


def test_the_hidden_vector_may_be_changed_in_place():
    module, symbols, features = given(1, 8, 6)
    last = module.last_of_symbols(symbols, features)[0]
    last.mul_(2)
    assert_close(gradients([last], [features]), gradients([2 * by_torch(module, symbols, features)], [features]))


def test_one_sequence_without_a_batch_a_subclass_and_forward_derivatives_are_left_to_nn_lstm():
    class Own(torch.Tensor):
        pass

    module, symbols, features = given(7, 5, 6)
    last, backend = module.last_of_symbols(symbols[0], features)
    assert backend == "torch" and torch.equal(last, module(features[symbols[0]])[0][-1])
    assert module.last_of_symbols(symbols, features.detach().as_subclass(Own))[1] == "torch"
    assert module.last_of_symbols(symbols.as_subclass(Own), features)[1] == "torch"
    module.requires_grad_(False)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(features.detach(), torch.ones_like(features))
        assert module.last_of_symbols(symbols, dual)[1] == "torch"


def test_a_second_derivative_is_refused():
    module, symbols, features = given(7, 5, 6)
    with pytest.raises(RuntimeError, match="the CPU kernels cannot do.*of an IRNN or an LSTM"):
        torch.autograd.grad(module.last_of_symbols(symbols, features)[0].sum(), features, create_graph=True)


def test_it_starts_as_nn_lstm_and_takes_its_weights():
    torch.manual_seed(3)
    ours = LSTM(INPUT, 7)
    torch.manual_seed(3)
    theirs = nn.LSTM(INPUT, 7, batch_first=True)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_a_forget_bias_is_that_of_the_forget_gate_alone():
    torch.manual_seed(3)
    ours = LSTM(INPUT, 7, forget_bias=1.0)
    torch.manual_seed(3)
    theirs = nn.LSTM(INPUT, 7, batch_first=True)
    assert all(map(torch.equal, ours.all_weights[0][:2], theirs.all_weights[0][:2]))
    biases = ours.all_weights[0][2] + ours.all_weights[0][3]
    assert biases.tolist() == 7 * [0.0] + 7 * [1.0] + 14 * [0.0]  # i, f, g, o
    with torch.no_grad():  # one that keeps what it has: a step without input leaves sigmoid(1) of the cell
        ours.weight_hh_l0.zero_()
        _, (_, cell) = ours(torch.zeros(1, 1, INPUT), (torch.zeros(1, 1, 7), torch.ones(1, 1, 7)))
    assert torch.allclose(cell, torch.tensor(0.7310586))
    before = ours.weight_ih_l0.clone()
    ours.reset_parameters()
    assert not torch.equal(ours.weight_ih_l0, before) and ours.all_weights[0][2].sum() == 7


def test_the_baseline_starts_its_forget_gate_at_1():
    biases = build("LSTM", Config(hidden_size=7), 9, 4).recurrent.all_weights[0][2:]
    assert sum(biases).tolist() == 7 * [0.0] + 7 * [1.0] + 14 * [0.0]
