"""The projection and the recurrence in one call, held to the reference backend by the module that makes both."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import rnn as packing

from fastweights import FastWeightsRNN
from fastweights.ops.fast_weights_rnn import projected
from fastweights.rules import Cosine, Delta, Hebbian

RULES = {"hebbian": Hebbian(0.9, 0.1), "cosine": Cosine(0.9, 1.5), "delta": Delta()}
KINDS = {
    "one layer": {},
    "two directions": {"num_layers": 2, "bidirectional": True},
    "bias of the boundary": {"layer_norm": False, "nonlinearity": "tanh"},
    "two inner steps": {"inner_steps": 2, "batch_first": True},
    "no bias": {"bias": False, "inner_steps": 0, "layer_norm": False},
}


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """The calls that were made in one."""
    made, apply = [], projected._Projected.apply
    monkeypatch.setattr(projected._Projected, "apply", lambda *given: made.append(given) or apply(*given))
    return made


def build(rule, dtype=torch.float64, **options):
    torch.manual_seed(0)
    module = FastWeightsRNN(5, 17, rule=rule, **options).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return module


def run(module, backend, x, state=None):
    """Outputs, final state and all gradients, of a loss in which each number has a weight of its own."""
    module.backend = backend
    x, first = x.detach().requires_grad_(), None if state is None else [s.detach().requires_grad_() for s in state]
    given = x if module.batch_first else x.transpose(0, 1)
    results = [r for r in (lambda y, s: (y, *s))(*module(given, first))]
    g = torch.Generator().manual_seed(1)
    loss = sum((torch.randn(r.shape, generator=g, dtype=r.dtype) * r).sum() for r in results)
    leaves = [x, *(first or []), *module.parameters()]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)  # pyright: ignore[reportArgumentType]
    return [*results, *gradients]


def assert_same(mine, reference, tolerance=1e-10):
    for place, (a, b) in enumerate(zip(mine, reference, strict=True)):
        b = torch.zeros_like(a) if a is not None and b is None else b
        a = torch.zeros_like(b) if b is not None and a is None else a
        if a is not None:
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, p=place: f"{p}: {m}")


@pytest.mark.parametrize("learned", [(), ("rate",), ("decay", "rate")])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", RULES)
def test_equals_the_reference(rule, kind, learned, calls):
    module = build(RULES[rule], learned=learned, **KINDS[kind])
    x = torch.randn(18, 7, 5, dtype=torch.float64)
    mine = run(module, "auto", x)
    assert len(calls) == module.num_layers * module.num_directions
    assert_same(mine, run(module, "reference", x))


@pytest.mark.parametrize("rule", RULES)
def test_takes_a_state_and_any_strides(rule, calls):
    module = build(RULES[rule])
    x = torch.randn(3, 9, 10, dtype=torch.float64)[..., ::2]
    state = torch.randn(1, 3, 17, dtype=torch.float64), torch.randn(1, 3, 17, 17, dtype=torch.float64) * 0.1
    mine = run(module, "auto", x, state)
    assert calls
    assert_same(mine, run(module, "reference", x, state))


def test_takes_packed_sequences(calls):
    module, x = build(Cosine()), torch.randn(4, 6, 5, dtype=torch.float64)
    results = []
    for backend in ("auto", "reference"):
        module.backend = backend
        leaf = x.clone().requires_grad_()
        packed = packing.pack_padded_sequence(leaf, torch.tensor([3, 6, 1, 4]), True, enforce_sorted=False)
        output, state = module(packed)
        loss = output.data.square().sum() + state.hidden.sum() + state.weights.square().sum()
        results.append([output.data, *state, *torch.autograd.grad(loss, [leaf, *module.parameters()])])
    assert len(calls) == 1
    assert_same(*results)


def test_gradients_reach_the_embedding_through_hooks_and_parametrizations(calls):
    module, embedding = build(Cosine(), batch_first=True), nn.Embedding(9, 5).double()
    parametrizations.weight_norm(module, "weight_ih_l0")
    symbols, results = torch.randint(9, (4, 8)), []
    for backend in ("auto", "reference"):
        module.backend = backend
        seen = []
        handle = module.weight_hh_l0.register_hook(lambda g, seen=seen: seen.append(g) or 2 * g)
        features = embedding(symbols)
        features.retain_grad()
        module.zero_grad(), embedding.zero_grad()
        module(features)[0].square().sum().backward()
        handle.remove()
        gradients = [embedding.weight.grad, features.grad, *seen, *(p.grad for p in module.parameters())]
        results.append([g.clone() for g in gradients if g is not None])
    assert len(calls) == 1
    assert_same(*results)


def test_has_second_derivatives(calls):
    module, x = build(Cosine(), batch_first=True), torch.randn(2, 4, 5, dtype=torch.float64)
    leaves, results = list(module.parameters()), []
    for backend in ("auto", "reference"):
        module.backend = backend
        first = torch.autograd.grad(module(x)[0].square().sum(), leaves, create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))  # pyright: ignore[reportArgumentType]
    assert len(calls) == 1
    assert_same(*results, tolerance=1e-8)


def test_float32_is_as_exact_as_the_reference(calls):
    x = torch.randn(18, 9, 5)
    exact = run(build(Cosine()), "reference", x.double())
    mine, eager = (run(build(Cosine(), torch.float32), backend, x) for backend in ("auto", "reference"))
    assert len(calls) == 1
    for a, b, truth in zip(mine, eager, exact, strict=True):
        assert (a - truth).norm() <= 2 * (b - truth).norm() + 1e-6 * truth.norm()


def test_runs_apart_where_it_has_no_gradient_or_no_kernel(calls):
    module, x = build(Cosine(), torch.float32), torch.randn(3, 4, 5)
    with torch.no_grad():
        module(x)
    with torch.autocast("cpu", torch.bfloat16):
        module(x)[0].sum().backward()
    module.bfloat16()(x.bfloat16())
    module.float().weight_ih_l0.requires_grad_(False)
    module(x)[0].sum().backward()  # the input may be changed before this
    assert not calls


def test_an_input_that_is_changed_before_the_backward_pass_is_refused():
    module, x = build(Cosine()), torch.randn(3, 4, 5, dtype=torch.float64)
    output, _ = module(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
