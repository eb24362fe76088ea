"""The state of FlatAdamW goes on: from files, in copies, and where layers come, freeze and move."""

import copy
import io
import pickle

import pytest
import torch
from small_network import GROUPS, SOAP, assert_equal, backward, network, train

from fastweights.errors import UserError
from fastweights.optim import FlatAdamW, parameter_groups


@pytest.mark.parametrize("fused", [False, True])
def test_a_state_dict_of_adamw_goes_on_here_and_the_other_way_round(fused):
    def adamw(model):
        groups = parameter_groups(model, GROUPS, 0.01)
        return torch.optim.AdamW(groups, weight_decay=0.0, fused=fused)

    whole = network()
    train(whole, adamw(whole), range(20))
    there, here, back = network(), network(), network()
    first = adamw(there)
    train(there, first, range(7))
    here.load_state_dict(there.state_dict())
    second = FlatAdamW(parameter_groups(here, GROUPS, 123.0))
    second.load_state_dict(first.state_dict())
    train(here, second, range(7, 14))
    back.load_state_dict(here.state_dict())
    third = adamw(back)
    third.load_state_dict(second.state_dict())
    train(back, third, range(14, 20))
    assert_equal(back, whole)
    assert second.param_groups[0]["lr"] == 0.005 and second.param_groups[0]["kind"] == "adam"
    assert second.state[here[0].weight]["step"] == 14 != third.state[back[0].weight]["step"]  # nothing is shared


def by_torch_save(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("groups", [GROUPS, SOAP])
@pytest.mark.parametrize("through", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)), by_torch_save])
@pytest.mark.parametrize("cut", [0, 1, 12])
def test_a_state_dict_goes_on_bit_for_bit(groups, through, cut):
    whole, first, second = network(), network(), network(1)
    train(whole, FlatAdamW(parameter_groups(whole, groups, 0.01), clip=0.5), range(25))
    optimizer = FlatAdamW(parameter_groups(first, groups, 0.01), clip=0.5)
    train(first, optimizer, range(cut))
    weights, stored = through((copy.deepcopy(first.state_dict()), optimizer.state_dict()))
    train(first, optimizer, range(cut, 25))  # what was stored is a copy
    again = FlatAdamW(parameter_groups(second, groups, 5.0), clip=0.5)
    train(second, again, [39])
    second.load_state_dict(weights)
    again.load_state_dict(stored)
    train(second, again, range(cut, 25))
    assert_equal(first, whole, atol=0)
    assert_equal(second, whole, atol=0)


@pytest.mark.parametrize("groups", [GROUPS, SOAP])
def test_flat_tensors_go_on_bit_for_bit(groups):
    whole, first, second = network(), network(), network()
    train(whole, FlatAdamW(parameter_groups(whole, groups, 0.01)), range(25))
    optimizer = FlatAdamW(parameter_groups(first, groups, 0.01))
    assert optimizer.tensors() == {}
    train(first, optimizer, range(12))
    tensors = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    soap = [f"soap.{i}.{n}" for i in (0, 1) for n in ("left_covariance", "right_covariance", "left", "right")]
    assert list(tensors) == ["adam.step", "adam.exp_avg", "adam.exp_avg_sq", *(soap if groups is SOAP else [])]
    assert tensors["adam.step"].shape == () and tensors["adam.exp_avg"].shape == (89,)
    second.load_state_dict(first.state_dict())
    again = FlatAdamW(parameter_groups(second, groups, 0.01))
    again.load_tensors(tensors | {"model.weight": torch.ones(3)})
    train(second, again, range(12, 25))
    assert_equal(second, whole, atol=0)
    again.load_tensors({})
    assert again.tensors() == {}


def test_the_model_and_its_optimizer_are_copied_together():
    whole, model = network(), network()
    train(whole, FlatAdamW(whole.parameters(), 0.01, clip=0.5), range(20))
    optimizer = FlatAdamW(model.parameters(), 0.01, clip=0.5)
    train(model, optimizer, range(5))
    for copied in (copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))):
        other, its = copied((model, optimizer))
        train(other, its, range(5, 20))
        assert_equal(other, whole, atol=0)
    train(model, optimizer, range(5, 20))
    assert_equal(model, whole, atol=0)


def test_a_layer_that_is_added_later_begins_there_and_the_others_go_on():
    ours, theirs = network(), network()
    mine = FlatAdamW(ours[2:].parameters(), 0.01)
    adamw = torch.optim.AdamW(theirs[2:].parameters(), 0.01, weight_decay=0.0)
    for model, optimizer in ((ours, mine), (theirs, adamw)):
        train(model, optimizer, range(6))
        model.zero_grad()
        optimizer.add_param_group({"params": model[0].parameters(), "weight_decay": 0.5})
        train(model, optimizer, range(6, 12))
    assert_equal(ours, theirs)
    assert mine.tensors()["adam.step"].tolist() == [12.0, 12.0, 12.0, 12.0, 6.0, 6.0]
    again = network()
    again.load_state_dict(ours.state_dict())
    third = FlatAdamW(again[2:].parameters(), 0.01)
    third.add_param_group({"params": again[0].parameters(), "weight_decay": 0.5})
    third.load_tensors(mine.tensors())
    for model, optimizer in ((ours, mine), (again, third)):
        train(model, optimizer, range(12, 20))
    assert_equal(again, ours, atol=0)


def test_a_layer_stays_while_it_is_frozen_and_goes_on_after():
    ours, theirs = network(), network()
    ours[0].requires_grad_(False)
    theirs[0].requires_grad_(False)
    mine = FlatAdamW(ours.parameters(), 0.01, 0.5)
    adamw = torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.5)
    for model, optimizer in ((ours, mine), (theirs, adamw)):
        for step, learns in enumerate((False, True, True, False, False, True)):
            model[0].requires_grad_(learns)
            before = model[0].weight.clone()
            train(model, optimizer, [step])
            assert torch.equal(model[0].weight, before) != learns
    assert_equal(ours, theirs)


def test_data_that_was_moved_is_trained_on():
    ours, theirs = network(), network()
    mine, adamw = FlatAdamW(ours.parameters(), 0.01), torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.0)
    train(theirs, adamw, range(20))
    train(ours, mine, range(5))
    for parameter in ours.parameters():
        parameter.data = parameter.data.clone()
    train(ours, mine, range(5, 10))
    backward(ours, 10)
    ours[2].weight.data = ours[2].weight.data.clone()  # between backward pass and step
    mine.step()
    ours.load_state_dict(copy.deepcopy(ours.state_dict()))
    train(ours, mine, range(11, 20))
    assert_equal(ours, theirs)
    before = ours[0].weight.clone()
    ours.float()
    train(ours, mine, range(3))
    assert ours[0].weight.dtype == mine.state[ours[0].weight]["exp_avg"].dtype == torch.float32
    assert not torch.equal(ours[0].weight, before.float())
    ours[4].double()
    ours[4].weight.grad = torch.zeros_like(ours[4].weight)
    with pytest.raises(
        UserError, match="several dtypes or devices .torch.float32 on cpu, torch.float64 on cpu., wanted"
    ):
        mine.step()


def test_a_matrix_that_learns_by_soap_from_now_on_begins_anew():
    model = network()
    adam = FlatAdamW(model.parameters())
    train(model, adam, range(5))
    soap = FlatAdamW([{"params": model.parameters(), "kind": "soap"}])
    stored = adam.state_dict()
    stored["param_groups"][0]["kind"] = "soap"
    soap.load_state_dict(stored)
    assert soap.state[model[0].weight]["step"] == 0 and soap.state[model[0].bias]["step"] == 5
    before = model[0].weight.clone()
    train(model, soap, [5])
    assert torch.equal(model[0].weight, before)  # the first gradient gives the bases
    train(model, soap, [6])
    assert not torch.equal(model[0].weight, before)
