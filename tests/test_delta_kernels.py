"""The rule `Delta` by kernels: equal to the reference in every number, streamed, of symbols and in chunks."""

from itertools import product
from random import Random

import pytest
import torch

from fastweights import Delta, FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import backend_of, cpu_passes

CASES = Random(0).sample(
    list(product([(3, 5, 7), (2, 4, 20), (9, 6, 33), (1, 140, 16), (17, 1, 5)], [0, 1, 2], ["relu", "tanh"], *[[True, False]] * 4)),
    60,
)  # fmt: skip


@pytest.mark.parametrize("backend", ["attention", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_backends_equal_the_reference_in_every_number_and_gradient(backend, dtype):
    g = torch.Generator().manual_seed(0)

    def some(*shape, scale=1.0):
        return (scale * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype).requires_grad_()

    for (batch, time, units), inner_steps, nonlinearity, norm, initial, ragged, need_state in CASES:
        scale = 1.0 if norm or nonlinearity == "tanh" else 0.02  # else it explodes
        x, recurrent = some(batch, time, units, scale=scale), some(units, units, scale=1 / units)
        gain, bias = (some(units), some(units)) if norm else (None, None)
        first = some(batch, units, scale=scale), some(batch, units, units, scale=scale)
        state = FastWeightsState(*first) if initial else None
        decay, rate = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (0.9, 0.7))
        lengths = torch.randint(time + 1, (batch,), generator=g) if ragged else None
        settings = {"inner_steps": inner_steps, "nonlinearity": nonlinearity, "lengths": lengths}
        leaves = [each for each in (x, recurrent, gain, bias, *(state or ()), decay, rate) if each is not None]
        found = []
        for name in ("reference", backend):
            given = {"rule": Delta(decay, rate), "backend": name, "need_state": need_state, **settings}
            outputs, final = fast_weights_rnn(x, recurrent, gain, bias, state, **given)
            parts, weigh = [outputs, *(final or ())], torch.Generator().manual_seed(1)
            loss = sum((p * torch.randn(p.shape, generator=weigh, dtype=torch.float64).to(p)).sum() for p in parts)
            found.append([*parts, *torch.autograd.grad(loss, leaves, allow_unused=True)])
        tolerance = 1e-8 if dtype == torch.float64 else 2e-3
        for place, (want, got) in enumerate(zip(*found, strict=True)):
            none = torch.zeros(())
            want, got = none if want is None else want, none if got is None else got
            assert (want - got).abs().max() <= tolerance * max(1, want.abs().max()), (place, x.shape, settings)


def network(**options):
    torch.manual_seed(0)
    options = {"dtype": torch.float64, "rule": Delta(0.9, 0.7)} | options
    return FastWeightsRNN(3, 18, batch_first=True, **options)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", [{}, {"nonlinearity": "tanh", "inner_steps": 2}, {"learned": ("decay", "rate")}])
def test_streamed_steps_are_those_of_the_sequence(batch, options, monkeypatch):
    rnn = network(**options).eval()
    cell = FastWeightsRNNCell(3, 18, rule=rnn.rule, dtype=torch.float64, **options)
    cell.load_state_dict({name.removesuffix("_l0"): each for name, each in rnn.state_dict().items()})
    x, calls, step = torch.randn(batch, 6, 3, dtype=torch.float64), [], cpu_passes.step
    want, last = rnn(x)
    monkeypatch.setattr(cpu_passes, "step", lambda *given: calls.append(1) or step(*given))
    with torch.no_grad():
        state = one = None
        for t in range(6):
            state = cell(x[:, t], state)
            output, one = rnn(x[:, t : t + 1], one)
            assert torch.allclose(state.hidden, want[:, t]) and torch.allclose(output[:, 0], want[:, t])
    assert torch.allclose(state.weights, last.weights[0]) and torch.allclose(one.weights, last.weights)
    assert len(calls) == 12 and rnn.ran == cell.ran == "cpu"


@pytest.mark.parametrize("batch", [7, 130])
@pytest.mark.parametrize("options", [{}, {"inner_steps": 0}, {"inner_steps": 2, "learned": ("decay", "rate")}])
def test_the_last_of_symbols(batch, options):
    rnn, symbols = network(**options), torch.randint(11, (batch, 8))
    features = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)
    leaves, found = [features, *rnn.parameters()], []
    for rnn.backend in ("auto", "reference"):
        hidden = rnn.last_of_symbols(symbols, features)[0]
        assert ("LastHidden" in hidden.grad_fn.name()) == (rnn.backend == "auto")
        found.append([hidden, *torch.autograd.grad(hidden.pow(3).sum(), leaves, materialize_grads=True)])
    assert all(torch.allclose(got, want, rtol=1e-9, atol=1e-11) for got, want in zip(*found, strict=True))


def test_two_threads_give_the_numbers_of_one():
    x, recurrent = torch.randn(300, 6, 20), torch.randn(20, 20) / 20
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            outputs, state = fast_weights_rnn(leaf, recurrent, rule=Delta(), nonlinearity="tanh")
            found.append([outputs, *state, torch.autograd.grad(outputs.sum(), leaf)[0]])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*each) for each in zip(*found, strict=True))


def test_a_zero_key_writes_nothing_and_has_a_finite_gradient():
    x = torch.zeros(2, 5, 4, dtype=torch.float64)
    x[1, 3] = 1.0
    x[0, 2, 1] = 1e-8  # a key shorter than what it is divided by
    found = []
    for backend in ("reference", "cpu"):
        leaf = x.clone().requires_grad_()
        outputs, state = fast_weights_rnn(
            leaf, torch.eye(4).double(), rule=Delta(), nonlinearity="tanh", backend=backend
        )
        loss = outputs.square().sum() + state.weights.sum()
        found.append([outputs, *state, *torch.autograd.grad(loss, leaf)])
    for want, got in zip(*found, strict=True):
        assert got.isfinite().all() and torch.allclose(got, want, rtol=1e-9, atol=1e-12)


def test_a_strength_or_a_decay_of_zero_has_its_gradient():
    x, recurrent = torch.randn(3, 5, 4, dtype=torch.float64), torch.eye(4).double()
    for constants in ((0.0, 0.7), (0.9, 0.0)):
        found = []
        for backend in ("reference", "cpu", "attention"):
            leaves = [torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in constants]
            given = {"rule": Delta(*leaves), "nonlinearity": "tanh", "backend": backend}
            outputs, state = fast_weights_rnn(x, recurrent, **given)
            found.append(torch.stack(torch.autograd.grad(outputs.sum() + state.weights.square().sum(), leaves)))
        assert torch.allclose(found[0], found[1]) and torch.allclose(found[0], found[2])


@pytest.mark.parametrize("inner_steps", [0, 1, 2])
def test_second_derivatives(inner_steps):
    g = torch.Generator().manual_seed(0)
    x, recurrent, hidden = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((2, 4, 3), (3, 3), (2, 3)))
    weights = torch.randn(2, 3, 3, generator=g, dtype=torch.float64)
    constants = (torch.tensor(each, dtype=torch.float64) for each in (0.9, 0.7))
    leaves = [each.requires_grad_() for each in (x, recurrent, hidden, weights, *constants)]
    found = []
    for backend in ("cpu", "reference"):
        x, recurrent, hidden, weights, decay, rate = leaves
        state, settings = FastWeightsState(hidden, weights), {"nonlinearity": "tanh", "inner_steps": inner_steps}
        outputs, last = fast_weights_rnn(
            x, recurrent, state=state, rule=Delta(decay, rate), backend=backend, **settings
        )
        loss = outputs.pow(3).sum() + last.weights.pow(3).sum()
        first = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)
        penalty = sum(each.square().sum() for each in first if each is not None)
        found.append(torch.autograd.grad(penalty, leaves, materialize_grads=True))
    assert all(torch.allclose(got, want, rtol=1e-8, atol=1e-10) for got, want in zip(*found, strict=True))


def test_compiled_it_is_one_operator():
    rnn, x = network(learned=("decay", "rate")), torch.randn(3, 5, 3, dtype=torch.float64)
    found = []
    torch._dynamo.reset()
    for run in (rnn, torch.compile(rnn, fullgraph=True, backend="aot_eager")):
        outputs, state = run(x)
        loss = outputs.square().sum() + state.weights.square().sum()
        found.append([outputs, state.weights, *torch.autograd.grad(loss, list(rnn.parameters()))])
    assert rnn.ran == "cpu"
    assert all(torch.allclose(got, want, rtol=1e-9, atol=1e-11) for got, want in zip(*found, strict=True))


def test_the_literal_rule_is_left_to_the_reference():
    x, recurrent = torch.randn(2, 3, 4), torch.eye(4)
    assert backend_of(x, recurrent, rule=Delta()) == "cpu"
    literal = Delta(normalize_key=False)
    assert backend_of(x, recurrent, rule=literal) == "reference"
    for backend in ("cpu", "attention"):
        with pytest.raises(ValueError, match="not normalize_key=False"):
            fast_weights_rnn(x, recurrent, rule=literal, backend=backend)
    with torch.no_grad():
        cell = FastWeightsRNNCell(4, 4, rule=literal)
        cell(x[:, 0])
    assert cell.ran == "reference"
