"""Derivatives of derivatives, and many at once, through a network that runs by kernels: attention gives them."""

import copy

import pytest
import torch
from torch import nn

from fastweights import FastWeightsRNN, FastWeightsState
from fastweights.nn import SequenceModel
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import backend_of
from fastweights.rules import Hebbian
from fastweights.tasks import Spec


def tensors(batch=2, time=4, units=3, names=("inputs", "recurrent", "gain", "bias", "hidden", "weights")):
    shapes = {"inputs": (batch, time, units), "recurrent": (units, units), "gain": (units,), "bias": (units,)}
    shapes |= {"hidden": (batch, units), "weights": (batch, units, units)}
    g = torch.Generator().manual_seed(0)
    made = {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}
    made |= {"decay": torch.tensor(0.9, dtype=torch.float64), "rate": torch.tensor(0.4, dtype=torch.float64)}
    return {name: each.requires_grad_() for name, each in made.items()}


def run(leaves, backend, **options):
    state = FastWeightsState(leaves["hidden"], leaves["weights"])
    rule = Hebbian(decay=leaves["decay"], rate=leaves["rate"])
    first = (leaves[name] for name in ("inputs", "recurrent", "gain", "bias"))
    outputs, final = fast_weights_rnn(*first, state, rule=rule, backend=backend, nonlinearity="tanh", **options)
    return outputs, final.hidden, final.weights


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("inner_steps", [0, 1, 2])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_every_second_derivative(part, inner_steps, lengths):
    leaves = tensors()
    options = {"inner_steps": inner_steps, "lengths": None if lengths is None else torch.tensor(lengths)}

    def second(backend):
        loss = (run(leaves, backend, **options)[part] ** 3).sum()
        every = list(leaves.values())
        first = torch.autograd.grad(loss, every, create_graph=True, allow_unused=True)
        penalty = sum(each.square().sum() for each in first if each is not None)
        return [*first, *torch.autograd.grad(penalty, every, allow_unused=True)]

    for got, want in zip(second("cpu"), second("attention"), strict=True):
        assert (got is None) == (want is None) or (want if got is None else got).abs().max() == 0
        if got is not None and want is not None:
            assert torch.allclose(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("time", [5, 150])  # in one piece, and in several
@pytest.mark.parametrize("learned", [(), ("decay", "rate")])
def test_a_gradient_penalty_of_a_network(time, learned):
    torch.manual_seed(0)
    rnn = FastWeightsRNN(3, 4, 2, batch_first=True, learned=learned, dtype=torch.float64)
    other = copy.deepcopy(rnn)
    other.backend = "attention"
    x = torch.randn(2, time, 3, dtype=torch.float64, requires_grad=True)

    def penalty(module):
        first = torch.autograd.grad(module(x)[0][:, -1].square().sum(), x, create_graph=True)[0]
        return torch.autograd.grad(first.square().sum(), list(module.parameters()), allow_unused=True)

    ours, theirs = penalty(rnn), penalty(other)
    assert rnn.ran == "cpu" and any(each is not None and each.abs().max() > 0 for each in ours)
    for got, want in zip(ours, theirs, strict=True):
        assert got is want is None or torch.allclose(got, want, rtol=1e-7, atol=1e-9)


def test_a_product_with_the_hessian_of_a_model_of_symbols():
    torch.manual_seed(0)
    model = SequenceModel(FastWeightsRNN(5, 6, batch_first=True), Spec(5, 4), 6).double()
    other = copy.deepcopy(model)
    other.recurrent.backend = "attention"
    symbols, targets = torch.randint(0, 5, (3, 7)), torch.tensor([0, 1, 3])

    def product(module):
        torch.manual_seed(1)
        weights = [p for p in module.parameters() if p.requires_grad]
        loss = nn.functional.cross_entropy(module(symbols), targets)
        first = torch.autograd.grad(loss, weights, create_graph=True)
        along = sum((each * torch.randn_like(each)).sum() for each in first)
        return torch.autograd.grad(along, weights)

    ours, theirs = product(model), product(other)
    assert model.backend == "cpu"
    assert all(torch.allclose(got, want, rtol=1e-7, atol=1e-9) for got, want in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_jacobian_in_one_pass(create_graph):
    rnn = FastWeightsRNN(3, 4, batch_first=True, dtype=torch.float64)
    x = torch.randn(2, 5, 3, dtype=torch.float64)

    def last(inputs):
        return rnn(inputs)[0][:, -1]

    one_by_one = torch.autograd.functional.jacobian(last, x)
    at_once = torch.autograd.functional.jacobian(last, x, vectorize=True, create_graph=create_graph)
    assert rnn.ran == "cpu" and torch.allclose(one_by_one, at_once)


def test_what_was_computed_before_the_call_is_not_counted_twice():
    """h(0) depends on W here: the gradient of W through h(0) belongs to what computed h(0)."""
    leaves = tensors()

    def second(backend):
        given = leaves | {"hidden": torch.tanh(leaves["hidden"] @ leaves["recurrent"])}
        loss = run(given, backend)[0].square().sum()
        return torch.autograd.grad(loss, [leaves["recurrent"], leaves["hidden"]], create_graph=True)

    assert backend_of(*(leaves[name] for name in ("inputs", "recurrent", "gain", "bias"))) == "cpu"
    assert all(torch.allclose(a, b) for a, b in zip(second("cpu"), second("reference"), strict=True))
