"""FlatAdamW equals torch's AdamW, and a plain SOAP; it is an optimizer of torch in all else, too."""

import copy
import io
import math
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fastweights.errors import UserError
from fastweights.optim import FlatAdamW, Group, parameter_groups

X, Y = torch.randn(40, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).split((5, 3), 2)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def backward(model, step):
    dtype = model[0].weight.dtype
    loss = nn.functional.mse_loss(model(X[step].to(dtype)), Y[step].to(dtype))
    loss.backward()
    return loss


def train(model, optimizer, steps):
    for step in steps:
        backward(model, step)
        optimizer.step()
        optimizer.zero_grad()


def assert_equal(ours, theirs, atol=1e-12):
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, rtol=0, atol=atol)


GROUPS = [Group(r"0\.weight", 0.5, decay=3.0), Group(r"0\..*", 0.5), Group(r"2\..*", 0.1, decay=1.0)]


def test_groups_are_runs_of_neighbours_in_the_order_of_the_module():
    model = network()
    groups = parameter_groups(model, GROUPS, 0.01)
    assert [p for group in groups for p in group["params"]] == list(model.parameters())
    assert [[group[k] for k in ("lr", "share", "weight_decay", "kind")] for group in groups] == [
        [0.005, 0.5, 3.0, "adam"],
        [0.005, 0.5, 0.0, "adam"],
        [0.001, 0.1, 1.0, "adam"],  # the bias decays: the pattern has it
        [0.01, 1.0, 0.0, "adam"],
    ]
    assert [len(group["params"]) for group in groups] == [1, 1, 2, 2]


def test_the_first_pattern_that_matches_a_whole_name_has_it_and_soap_has_matrices():
    model = network()
    model[2].weight.requires_grad_(False)
    groups = parameter_groups(model, [Group("2", 0.5), Group("0.*", kind="soap"), Group(".*", 2.0)][1:], 1.0)
    found = [(group["kind"], group["share"], len(group["params"])) for group in groups]
    assert found == [("soap", 1.0, 1), ("adam", 1.0, 1), ("adam", 2.0, 3)]


@pytest.mark.parametrize("clip", [0.1, None])
def test_it_equals_adamw_of_torch_with_parameter_groups_clipping_and_a_scheduler(clip):
    ours, theirs = network(), network()
    mine = FlatAdamW(parameter_groups(ours, GROUPS, 0.01), clip=clip)
    plain = [
        {"params": [theirs[0].weight], "lr": 0.005, "weight_decay": 3.0},
        {"params": [theirs[0].bias], "lr": 0.005},
        {"params": list(theirs[2].parameters()), "lr": 0.001, "weight_decay": 1.0},
        {"params": list(theirs[4].parameters()), "lr": 0.01},
    ]
    adamw = torch.optim.AdamW(plain, weight_decay=0.0)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30) for optimizer in (mine, adamw)]
    for step in range(20):
        train(ours, mine, [step])
        backward(theirs, step)
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in theirs.parameters()))
        for p in theirs.parameters():
            p.grad *= min(1.0, (clip or math.inf) / norm)
        adamw.step()
        adamw.zero_grad()
        assert mine.norm == pytest.approx(norm, rel=1e-12)
        for schedule in schedules:
            schedule.step()
    assert_equal(ours, theirs)


def test_betas_and_eps_are_those_of_the_group_so_that_one_cycle_can_move_them():
    ours, theirs = network(), network()
    mine = FlatAdamW(ours.parameters(), betas=(0.8, 0.99), eps=1e-3)
    adamw = torch.optim.AdamW(theirs.parameters(), betas=(0.8, 0.99), eps=1e-3, weight_decay=0.0)
    for model, optimizer in ((ours, mine), (theirs, adamw)):
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=21)
        for step in range(20):
            train(model, optimizer, [step])
            schedule.step()
    assert mine.param_groups[0]["betas"] == adamw.param_groups[0]["betas"] != (0.8, 0.99)
    assert_equal(ours, theirs)


def test_float32_of_one_group_is_that_of_the_fused_kernel():
    ours, theirs = network().float(), network().float()
    train(ours, FlatAdamW(ours.parameters(), 0.01, 0.5), range(20))
    train(theirs, torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.5, fused=True), range(20))
    assert_equal(ours, theirs, atol=1e-7)


SOAP = [Group(r"0\.weight", decay=3.0), Group(r"4\.weight", 0.5, decay=2.0, kind="soap"), Group(".*", kind="soap")]


def test_soap_equals_a_plain_one():
    ours, theirs = network(), network()
    mine = FlatAdamW(parameter_groups(ours, SOAP, 3e-3))
    matrices = {theirs[2].weight: (3e-3, 0.0), theirs[4].weight: (1.5e-3, 2.0)}
    vectors = [p for p in theirs.parameters() if p.dim() == 1]
    groups = [{"params": [theirs[0].weight], "weight_decay": 3.0}, {"params": vectors}]
    adamw = torch.optim.AdamW(groups, lr=3e-3, weight_decay=0.0)
    kept = {p: {"m": torch.zeros_like(p), "v": torch.zeros_like(p)} for p in matrices}
    for step in range(1, 26):
        train(ours, mine, [step])
        backward(theirs, step)
        adamw.step()
        for p, (rate, decay) in matrices.items():
            s, g = kept[p], p.grad
            for side, square in (("L", g @ g.T), ("R", g.T @ g)):
                s[side] = square if step == 1 else 0.99 * s[side] + 0.01 * square
                if step == 1:
                    s["Q" + side] = torch.linalg.eigh(square)[1]
            if step > 1:
                s["m"] = 0.9 * s["m"] + 0.1 * g
                s["v"] = 0.99 * s["v"] + 0.01 * (s["QL"].T @ g @ s["QR"]) ** 2
                mean, square = s["m"] / (1 - 0.9**step), s["v"] / (1 - 0.99**step)
                p.data *= 1 - rate * decay
                p.data -= rate * s["QL"] @ ((s["QL"].T @ mean @ s["QR"]) / (square.sqrt() + 1e-8)) @ s["QR"].T
            if step % 10 == 0:
                for side, dim in (("L", 0), ("R", 1)):
                    values = torch.diag(s["Q" + side].T @ s[side] @ s["Q" + side])
                    order = values.argsort(descending=True)
                    s["Q" + side], s["v"] = s["Q" + side][:, order], s["v"].index_select(dim, order)
                    s["Q" + side] = torch.linalg.qr(s[side] @ s["Q" + side])[0]
        theirs.zero_grad()
    assert_equal(ours, theirs, atol=1e-9)


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


def test_data_of_another_shape_is_refused():
    model = network()
    optimizer = FlatAdamW(model.parameters())
    train(model, optimizer, [0])
    model[0].bias.data = torch.zeros(9, dtype=torch.float64)
    with pytest.raises(
        UserError, match=r"got exp_avg of shape \[7\] for parameter 1, wanted \[9\]; .* a new optimizer"
    ):
        optimizer.step()


def test_a_model_that_has_other_parameters_by_now_is_not_passed_over():
    model = network()
    optimizer = FlatAdamW(model.parameters())
    model.load_state_dict(network(1).state_dict(), assign=True)
    backward(model, 0)
    with pytest.raises(UserError, match="got no gradient of any parameter, wanted .*; .* make a new optimizer"):
        optimizer.step()


def test_gradients_are_given_up_and_a_norm_that_is_not_finite_updates_nothing():
    model = network()
    optimizer = FlatAdamW(model.parameters(), 0.01, 0.5)
    assert math.isnan(optimizer.norm)
    train(model, optimizer, [0])
    before, tensors = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.tensors())
    backward(model, 1)
    model[4].bias.grad[1] = math.inf
    optimizer.step()
    assert optimizer.norm == math.inf and all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, tensors[name]) for name, value in optimizer.tensors().items())


@pytest.mark.parametrize("kind", ["adam", "soap"])
def test_a_parameter_outside_the_loss_is_one_of_gradient_zero(kind):
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2), "decaying": nn.Linear(3, 2, bias=False)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    groups = [Group(r"decaying\..*", decay=1.0), Group(".*", kind=kind)]
    optimizer = FlatAdamW(parameter_groups(model, groups, 1e-2), clip=5.0)
    for _ in range(11):  # SOAP has turned its bases once
        model["used"](torch.ones(4, 3)).sum().backward()
        optimizer.step()
        assert optimizer.norm == pytest.approx(math.sqrt(8 * 4**2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("unused")
        assert value.isfinite().all()
    assert torch.allclose(model["decaying"].weight, before["decaying.weight"] * 0.99**11)


def test_a_closure_may_compute_the_gradients():
    ours, theirs = network(), network()
    mine, adamw = FlatAdamW(ours.parameters(), 0.01), torch.optim.AdamW(theirs.parameters(), 0.01, weight_decay=0.0)
    for step in range(5):
        losses = [
            optimizer.step(lambda m=m, s=step: backward(m, s)) for m, optimizer in ((ours, mine), (theirs, adamw))
        ]
        adamw.zero_grad()
        assert torch.allclose(*losses)
    assert_equal(ours, theirs)
    backward(ours, 0)
    assert mine.step() is None


def test_hooks_and_profilers_see_a_step():
    model = network()
    optimizer = FlatAdamW(model.parameters())
    seen = []
    handles = [
        optimizer.register_step_pre_hook(lambda *_: seen.append(model[0].weight.grad is not None)),
        optimizer.register_step_post_hook(lambda *_: seen.append("after")),
        register_optimizer_step_pre_hook(lambda *_: seen.append("any")),
    ]
    train(model, optimizer, [0])
    assert seen == ["any", True, "after"]
    for handle in handles:
        handle.remove()
    train(model, optimizer, [1])
    assert len(seen) == 3
    with torch.profiler.profile() as profile:
        train(model, optimizer, [2])
    assert "Optimizer.step#FlatAdamW.step" in {event.name for event in profile.events()}


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


def test_groups_wait_for_no_torch_and_a_step_not_for_its_compiler():
    code = (
        "import sys; from fastweights.optim import Group; Group('.*'); assert 'torch' not in sys.modules\n"
        "import torch; from fastweights.optim import FlatAdamW; weight = torch.ones(2, requires_grad=True); weight.grad = torch.ones(2)\n"
        "FlatAdamW([weight]).step(); assert weight.max() < 1; sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        import fastweights.optim

        _ = fastweights.optim.Nothing


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
