"""FlatAdamW equals torch's AdamW, and a plain SOAP; it is an optimizer of torch in all else, too."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from small_network import GROUPS, SOAP, assert_equal, backward, network, train
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fastweights.errors import UserError
from fastweights.optim import FlatAdamW, Group, parameter_groups


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
