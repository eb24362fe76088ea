import math
from dataclasses import dataclass, fields, is_dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights import rules
from fastweights.ops import FastWeightsState, fast_weights_rnn
from fastweights.ops.fast_weights_rnn import backend_of
from fastweights.rules import Delta, Hebbian

ALL = tuple(rules.registered().values())


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_hebbian_is_the_decaying_outer_product():
    weights, key, value = drawn(4, 3), drawn(3, seed=1), drawn(4, seed=2)
    expected = 0.9 * weights + 0.3 * torch.outer(value, key)
    assert torch.allclose(Hebbian(decay=0.9, rate=0.3).write(weights, key, value), expected, atol=1e-12)
    assert torch.allclose(Hebbian().read(weights, key), weights @ key, atol=1e-12)


def test_delta_is_the_literal_rule_on_unit_keys():
    weights, key, value = drawn(4, 3), drawn(3, seed=1), drawn(4, seed=2)
    unit = key / key.norm()
    expected = 0.9 * weights + 0.3 * torch.outer(value - 0.9 * weights @ unit, unit)
    assert torch.allclose(Delta(decay=0.9, rate=0.3).write(weights, key, value), expected, atol=1e-12)
    literal = 0.9 * weights + 0.3 * torch.outer(value - 0.9 * weights @ key, key)
    got = Delta(decay=0.9, rate=0.3, normalize_key=False).write(weights, key, value)
    assert torch.allclose(got, literal, atol=1e-12)


@given(st.integers(0, 99))
def test_delta_overwrites_and_hebbian_adds(seed):
    weights, key = drawn(5, 5, seed=seed), drawn(5, seed=seed + 100)
    key, first, last = key / key.norm(), drawn(5, seed=seed + 200), drawn(5, seed=seed + 300)
    rule = Delta(rate=1.0)
    twice = rule.write(rule.write(weights, key, first), key, last)
    assert torch.allclose(rule.read(twice, key), last, atol=1e-10)
    added = Hebbian(decay=1.0, rate=1.0)
    twice = added.write(added.write(torch.zeros(5, 5, dtype=torch.float64), key, first), key, last)
    assert torch.allclose(added.read(twice, key), first + last, atol=1e-10)


def test_delta_takes_a_strength_a_sample():
    weights, key, value = drawn(2, 4, 3), drawn(2, 3, seed=1), drawn(2, 4, seed=2)
    strength = torch.tensor([0.0, 1.0], dtype=torch.float64)
    written = Delta().write(weights, key, value, strength=strength)
    assert torch.equal(written[0], weights[0])
    unit = key[1] / key[1].norm()
    assert torch.allclose(written[1] @ unit, value[1])


@pytest.mark.parametrize("rule", ALL)
def test_leading_axes_broadcast(rule):
    weights, key, value = drawn(2, 1, 4, 3), drawn(5, 3, seed=1), drawn(2, 1, 4, seed=2)
    written = rule().write(weights, key, value)
    assert written.shape == (2, 5, 4, 3)
    assert torch.allclose(written[1, 2], rule().write(weights[1, 0], key[2], value[1, 0]))
    assert rule().read(weights, key).shape == (2, 5, 4)


@pytest.mark.parametrize("rule", ALL)
def test_a_zero_key_has_a_finite_gradient(rule):
    key = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rule().write(drawn(3, 3), key, key).sum().backward()
    assert torch.isfinite(key.grad).all()


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize("rule", ALL)
def test_rules_are_frozen_dataclasses_that_check_their_constants(rule):
    assert is_dataclass(rule) and rule.__dataclass_params__.frozen
    assert set(rule.RANGES) <= {field.name for field in fields(rule)}
    for name, (low, high) in rule.RANGES.items():
        rule(**{name: low})
        rule(**{name: torch.tensor(low)})
        above = high + 0.5 if math.isfinite(high) else math.inf
        for bad in (low - 0.1, above, math.nan, torch.tensor(low - 0.1)):
            with pytest.raises(ValueError, match=rf"{rule.__name__}\({name}=.*wanted a"):
                rule(**{name: bad})
        rule(**{name: torch.tensor([low])})
        with pytest.raises(ValueError, match="of one element"):
            rule(**{name: torch.tensor([0.5, 0.5])})
        for bad in ("0.5", True, None):
            with pytest.raises(TypeError, match=f"got {type(bad).__name__}"):
                rule(**{name: bad})


def test_every_registered_rule_is_tested_here():
    assert set(ALL) == set(rules.registered().values())


@dataclass(frozen=True)
class LastOnly:
    """A user's rule: remember the last vector only."""

    def write(self, weights, key, value):
        return value.unsqueeze(-1) * key.unsqueeze(-2) + 0 * weights

    def read(self, weights, query):
        return (weights @ query.unsqueeze(-1)).squeeze(-1)


def test_a_rule_of_the_user_runs_through_the_reference_backend():
    inputs, recurrent = drawn(2, 5, 4).requires_grad_(), 0.1 * drawn(4, 4, seed=1)
    ones = torch.ones(4, dtype=torch.float64)
    outputs, state = fast_weights_rnn(inputs, recurrent, ones, 0 * ones, rule=LastOnly())
    assert backend_of(inputs, recurrent, ones, 0 * ones, rule=LastOnly()) == "reference"
    last = outputs[:, -1]
    assert torch.allclose(state.weights, last[:, :, None] * last[:, None, :])
    outputs.sum().backward()
    assert torch.isfinite(inputs.grad).all()
    assert isinstance(state, FastWeightsState)


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("backend", ["reference", "attention", "cpu"])
def test_constants_of_one_element_are_numbers(backend, time):
    inputs, recurrent, ones = drawn(2, time, 4), 0.1 * drawn(4, 4, seed=1), torch.ones(4, dtype=torch.float64)
    state = (drawn(2, 4, seed=2), 0.1 * drawn(2, 4, 4, seed=3))

    def results(*shape):
        constants = [torch.full(shape, number, dtype=torch.float64, requires_grad=True) for number in (0.9, 0.4)]
        outputs, end = fast_weights_rnn(
            inputs, recurrent, ones, 0 * ones, state, rule=Hebbian(*constants), backend=backend
        )
        return outputs, *end, *torch.autograd.grad(outputs.square().sum() + end.weights.sum(), constants)

    want, got = results(), results(1)
    assert [each.shape for each in got] == [each.shape for each in want[:3]] + 2 * [torch.Size([1])]
    for one, other in zip(got, want, strict=True):
        assert torch.allclose(one, other.reshape(one.shape), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1, 1)])
def test_constants_with_more_axes_than_one_are_refused(shape):
    """They would add axes to the weights, or be taken for a table of powers."""
    with pytest.raises(ValueError, match=r"Hebbian\(decay=...\): got a tensor of shape .* at most one axis"):
        Hebbian(decay=torch.full(shape, 0.9))
