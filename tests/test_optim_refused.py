"""Groups, settings and states that FlatAdamW refuses."""

import copy
import math

import pytest
import torch
from small_network import SOAP, network, train
from torch import nn

from fastweights.errors import UserError
from fastweights.optim import FlatAdamW, Group, parameter_groups


def test_data_of_another_shape_is_refused():
    model = network()
    optimizer = FlatAdamW(model.parameters())
    train(model, optimizer, [0])
    model[0].bias.data = torch.zeros(9, dtype=torch.float64)
    with pytest.raises(
        UserError, match=r"got exp_avg of shape \[7\] for parameter 1, wanted \[9\]; .* a new optimizer"
    ):
        optimizer.step()


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"pattern": "head.("}, r"Group: got the pattern 'head.\(', which is no regular expression \(.*\); wanted one"),
        ({"share": -1.0}, r"Group '.\*': got share=-1.0, wanted a finite number >= 0"),
        ({"decay": math.nan}, r"Group '.\*': got decay=nan, wanted a finite number >= 0"),
        ({"kind": "sgd"}, r"Group '.\*': got kind='sgd', wanted one of adam, soap"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(settings, match):
    with pytest.raises(UserError, match=match):
        Group(**{"pattern": ".*", **settings})


@pytest.mark.parametrize(
    "groups, match",
    [
        (
            [Group("head")],
            "Group 'head': matches no parameter, wanted at least one of its own; the names are 0.weight, 0",
        ),
        (
            [Group(".*"), Group("2.*")],
            "Group '2.*': matches only parameters that earlier .* have, wanted .*; put it before",
        ),
    ],
)
def test_a_group_without_parameters_is_refused(groups, match):
    with pytest.raises(UserError, match=match):
        parameter_groups(network(), groups, 0.01)


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"clip": 0.0}, "got clip=0.0, wanted a number > 0, or None"),
        ({"clip": math.nan}, "got clip=nan, wanted a number > 0, or None"),
        ({"lr": -1.0}, "got lr=-1.0, wanted a finite number >= 0"),
        ({"weight_decay": math.inf}, "got weight_decay=inf, wanted a finite number >= 0"),
        ({"betas": (0.9, 1.0)}, r"got betas=\(0.9, 1.0\), wanted two numbers from 0 to below 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, match):
    with pytest.raises(UserError, match=f"FlatAdamW: {match}"):
        FlatAdamW(network().parameters(), **settings)


def test_a_group_that_is_refused_leaves_the_optimizer_as_it_was():
    model = network()
    optimizer = FlatAdamW(model[2:].parameters(), 0.01)
    for group, match in (
        ({"params": [model[0].weight], "kind": "sgd"}, "got kind='sgd', wanted one of adam, soap"),
        ({"params": [nn.Parameter(torch.ones(2))]}, "got parameters of several dtypes or devices"),
        ({"params": [model[2].weight]}, "some parameters appear in more than one parameter group"),  # torch's own
    ):
        with pytest.raises(ValueError, match=match):
            optimizer.add_param_group(group)
    with pytest.raises(UserError, match="got a parameter twice in one group"), pytest.warns(UserWarning):
        optimizer.add_param_group({"params": [model[0].weight, model[0].weight]})
    optimizer.add_param_group({"params": model[0].parameters(), "share": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.005]
    train(model, optimizer, range(2))


@pytest.mark.parametrize(
    "make, match",
    [
        (
            lambda p: torch.optim.AdamW(p, amsgrad=True),
            "got the state of an optimizer with amsgrad, wanted one of AdamW",
        ),
        (lambda p: torch.optim.AdamW(p, maximize=True), "got the state of an optimizer with maximize"),
        (lambda p: torch.optim.Adam(p, weight_decay=0.1), "got the state of an optimizer with Adam's weight decay"),
        (
            lambda p: torch.optim.SGD(p, momentum=0.1),
            "got the state of an optimizer without betas, eps, wanted one of AdamW",
        ),
        (lambda p: torch.optim.Adamax(p), "got a state without exp_avg_sq, wanted one of AdamW or FlatAdamW"),
    ],
)
def test_a_state_of_another_optimizer_is_refused_and_changes_nothing(make, match):
    model, other = network(), network()
    optimizer, foreign = FlatAdamW(model.parameters(), 0.01), make(other.parameters())
    train(model, optimizer, range(3))
    train(other, foreign, range(3))
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(UserError, match=match):
        optimizer.load_state_dict(foreign.state_dict())
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(torch.equal(after["state"][0][name], value) for name, value in before["state"][0].items())
    train(model, optimizer, range(3))


def test_tensors_of_another_model_are_refused():
    model = network()
    optimizer = FlatAdamW(model.parameters())
    train(model, optimizer, [0])
    other = FlatAdamW(model[0].parameters())
    with pytest.raises(
        UserError, match=r"got adam.exp_avg of shape \[89\], float64, wanted shape \[42\], float64; load the tensors of"
    ):
        other.load_tensors(optimizer.tensors())
    turned = FlatAdamW(parameter_groups(model, SOAP, 0.1))
    with pytest.raises(UserError, match=r"got soap.0.left_covariance of no tensor, wanted shape \[4, 4\]"):
        turned.load_tensors(optimizer.tensors())


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq", "left", "right", "left_covariance", "right_covariance"])
def test_a_state_that_could_be_spread_over_a_parameter_is_refused(name, shape):
    model = network()
    optimizer = FlatAdamW([{"params": [model[0].weight], "kind": "soap"}, {"params": [model[0].bias]}])
    train(model, optimizer, [0])
    stored = optimizer.state_dict()
    stored["state"][0][name] = torch.ones(shape, dtype=torch.float64)
    with pytest.raises(UserError, match=rf"got {name} of shape .* for parameter 0, wanted \[\d+, \d+\]"):
        optimizer.load_state_dict(stored)
    del stored["state"][0][name]
    if name not in ("exp_avg", "exp_avg_sq", "left"):  # that was there before; a state without a basis is Adam's
        with pytest.raises(UserError, match=f"got {name} of shape no tensor"):
            optimizer.load_state_dict(stored)


def test_tensors_of_another_dtype_or_without_a_part_are_refused():
    model = network()
    optimizer = FlatAdamW(model.parameters())
    train(model, optimizer, [0])
    tensors = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    for name in tensors:
        with pytest.raises(UserError, match=f"got {name} of no tensor, wanted shape"):
            optimizer.load_tensors({n: t for n, t in tensors.items() if n != name})
        with pytest.raises(UserError, match=f"got {name} of shape .*, float16, wanted shape"):
            optimizer.load_tensors(tensors | {name: tensors[name].half()})
