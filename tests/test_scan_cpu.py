"""What the equality suite does not ask of the cpu backend of the scan: shapes, memory, threads, second derivatives."""

import math

import pytest
import torch
from scan_calls import assert_close, draw, results, run

from fastweights.ops import UnsupportedBackend, fast_weights_scan
from fastweights.ops.cpu import buffers
from fastweights.ops.cpu import threads as cpu_threads
from fastweights.ops.fast_weights_scan import backend_of, cpu_passes
from fastweights.rules import Comba, GatedDelta, Hebbian, KimiDelta

pytest.importorskip("numba")

RULES = {"sum": Hebbian(decay=1.0, rate=1.0), "GatedDelta": GatedDelta(), "KimiDelta": KimiDelta(), "Comba": Comba()}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def compared(rule, settings=None, **sizes):
    leaves, settings = draw(rule, **sizes), settings or {}
    assert_close(results(leaves, rule, "cpu", **settings), results(leaves, rule, "reference", **settings))


@each_rule
@pytest.mark.parametrize(("key", "value"), [(16, 16), (33, 8), (7, 64), (128, 128)])
def test_sizes_that_fill_the_lanes_and_odd_ones(rule, key, value):
    compared(rule, batch=1, time=41, key=key, value=value, initial=True)


@each_rule
@pytest.mark.parametrize("lowest", [-60.0, -2000.0])
def test_decays_that_cut_a_chunk_into_parts(rule, lowest):
    compared(rule, time=70, lowest=lowest, initial=True)


@each_rule
def test_a_decay_that_keeps_nothing(rule):
    leaves = draw(rule, time=40, initial=True)
    if "log_decay" in leaves:
        with torch.no_grad():
            leaves["log_decay"][:, ::7] = -math.inf
    assert_close(results(leaves, rule, "cpu"), results(leaves, rule, "reference"))


@each_rule
@pytest.mark.parametrize("lowest", [-1.0, -400.0])
def test_resets_and_lengths(rule, lowest):
    resets = torch.rand(4, 70, generator=torch.Generator().manual_seed(2)) < 0.1
    settings = {"resets": resets, "lengths": torch.tensor([70, 33, 1, 0])}
    compared(rule, settings, batch=4, time=70, initial=True, lowest=lowest)


@each_rule
@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_chunks_of_another_size(rule, chunk):
    compared(rule, {"chunk": chunk}, batch=1, time=70, initial=True)


@pytest.mark.parametrize("lowest", [-1.0, -60.0])
@pytest.mark.parametrize("rule", [RULES["sum"], RULES["GatedDelta"], RULES["KimiDelta"]], ids=["sum", "scalar", "keys"])
def test_float32_is_as_near_to_the_truth_as_the_loop(rule, lowest):
    sizes = {"batch": 1, "time": 130, "key": 32, "value": 32, "initial": True, "lowest": lowest}
    leaves = draw(rule, **sizes, dtype=torch.float32)
    truth = results(draw(rule, **sizes), rule, "reference")
    loop, ours = (results(leaves, rule, name) for name in ("reference", "cpu"))
    for name, *each in zip(["outputs", "state", *leaves], truth, loop, ours, strict=True):
        want, *found = (result.double() for result in each)
        of_loop, of_ours = ((result - want).norm() for result in found)
        assert of_ours <= 2 * of_loop, name


@pytest.mark.parametrize("wanted", ["queries", "keys", "values", "log_decay", "strength", "state0"])
def test_gradients_of_one_argument_alone(wanted):
    rule = GatedDelta()
    leaves = {name: leaf.detach().requires_grad_(name == wanted) for name, leaf in draw(rule, initial=True).items()}
    found = []
    for backend in ("cpu", "reference"):
        outputs, state = run(leaves, rule, backend)
        found.append(torch.autograd.grad((outputs * 2).sum() + state.weights.square().sum(), leaves[wanted]))
    assert_close(*found)


@pytest.mark.parametrize("place", [0, 1])
def test_gradients_of_outputs_or_state_alone(place):
    rule, found = KimiDelta(), []
    leaves = draw(rule, time=70, initial=True)
    for backend in ("cpu", "reference"):
        outputs, state = run(leaves, rule, backend)
        loss = (outputs, state.weights)[place].square().sum()
        found.append(torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True))
    assert_close(*found)


def test_arguments_that_are_not_contiguous():
    rule = GatedDelta()
    leaves = draw(rule, time=40, key=16, value=16, initial=True)
    views = {
        "queries": lambda t: torch.cat([t, t, t], -1)[..., 16:32],
        "keys": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
        "values": lambda t: t.repeat_interleave(2, dim=3)[..., ::2],
        "log_decay": lambda t: t.transpose(0, 2).contiguous().transpose(0, 2),
        "strength": lambda t: t[:, :, :1].expand_as(t),
        "state0": lambda t: t.mT.contiguous().mT,
    }
    strided = {name: views[name](leaf.detach()).requires_grad_() for name, leaf in leaves.items()}
    packed = {name: leaf.detach().clone(memory_format=torch.contiguous_format) for name, leaf in strided.items()}
    packed = {name: leaf.requires_grad_() for name, leaf in packed.items()}
    assert not any(strided[name].is_contiguous() for name in views)
    assert_close(results(strided, rule, "cpu"), results(packed, rule, "reference"))


@each_rule
@pytest.mark.parametrize(("key", "value"), [(16, 16), (7, 11), (33, 20)])
def test_tokens_one_by_one_without_a_graph(rule, key, value):
    """By a kernel of their own; a chunk of several, with a graph, goes on from there."""
    leaves = draw(rule, time=6, key=key, value=value, initial=True)
    with torch.no_grad():
        want, end = run(leaves, rule, "reference")
        state, outputs = leaves["state0"], []
        for t in range(6):
            now = {name: leaf if rule_wide(rule, name) else leaf[:, t : t + 1] for name, leaf in leaves.items()}
            output, (state, _) = run(now | {"state0": state}, rule, "cpu")
            outputs.append(output)
    assert_close([torch.cat(outputs, 1), state], [want, end.weights])


def rule_wide(rule, name):
    """Whether a leaf is the same at all tokens."""
    return name in rule.GATES and rule.GATES[name].axes == "head"


def test_second_derivatives():
    rule, found = GatedDelta(), []
    leaves = draw(rule, time=9, initial=True)
    for backend in ("cpu", "reference"):
        outputs, state = run(leaves, rule, backend, lengths=torch.tensor([9, 4]))
        loss = outputs.square().sum() + state.weights.square().sum()
        first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(g.square().sum() for g in first), list(leaves.values()))])
    assert_close(*found)


def test_nothing_depends_on_uninitialised_memory(monkeypatch):
    rule = KimiDelta()
    leaves, settings = draw(rule, time=40, initial=True, lowest=-300.0), {"lengths": torch.tensor([40, 13])}
    want = results(leaves, rule, "cpu", **settings)
    scratch, lend = cpu_passes.scratch, cpu_passes.lend
    monkeypatch.setattr(cpu_passes, "scratch", lambda *a: scratch(*a).fill_(math.nan))
    monkeypatch.setattr(cpu_passes, "lend", lambda *a: lend(*a).fill_(math.nan))
    assert all(torch.equal(a, b) for a, b in zip(results(leaves, rule, "cpu", **settings), want, strict=True))


@each_rule
@pytest.mark.parametrize("time", [1, 33])
def test_nothing_outside_its_memory_is_written(rule, time, monkeypatch):
    guards, margin = [], 4096

    def guarded(count, dtype):
        whole = torch.full((count + 2 * margin,), 7.0, dtype=dtype)
        guards.append((whole, count))
        return whole[margin : margin + count]

    monkeypatch.setattr(cpu_passes, "scratch", lambda name, count, dtype: guarded(count, dtype))
    monkeypatch.setattr(cpu_passes, "lend", lambda shape, dtype: guarded(math.prod(shape), dtype).view(shape))
    resets = torch.arange(2 * time).view(2, time) % 11 == 5
    compared(rule, {"resets": resets}, time=time, key=9, value=5, lowest=-300.0)
    for whole, count in guards:
        assert (whole[:margin] == 7).all() and (whole[margin + count :] == 7).all()


@pytest.mark.parametrize("openmp", [True, False])
def test_results_depend_on_no_number_of_threads(openmp, monkeypatch):
    if not openmp:
        monkeypatch.setattr(cpu_threads, "_openmp", lambda: None)
    monkeypatch.setattr(cpu_threads, "PAYS", 0)
    rule = GatedDelta()
    leaves = draw(rule, batch=3, time=33, initial=True)
    once = results(leaves, rule, "cpu")
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(once, results(leaves, rule, "cpu"), strict=True))


def test_what_was_kept_for_a_gradient_is_lent_again_once_its_graph_is_gone(monkeypatch):
    monkeypatch.setattr(buffers, "_spare", {})
    rule = GatedDelta()
    first, other = (draw(rule, time=40, seed=seed) for seed in (0, 1))
    losses = [run(leaves, rule, "cpu")[0].sum() for leaves in (first, other)]
    for loss, leaves in zip(losses, (first, other), strict=True):
        got = torch.autograd.grad(loss, leaves["keys"])
        assert_close(got, torch.autograd.grad(run(leaves, rule, "reference")[0].sum(), leaves["keys"]))


def test_a_head_that_diverges_stays_visible_and_alone():
    rule = GatedDelta()
    leaves = draw(rule, time=40)
    with torch.no_grad():
        leaves["values"][1, 20, 1, 0] = math.nan
        outputs, state = run(leaves, rule, "cpu")
    assert outputs[1, 20:, 1, 0].isnan().all() and state.weights[1, 1, 0].isnan().all()
    outputs[1, 16:, 1] = 0.0  # rows of a triangle are taken by six: what is above its diagonal is 0, but 0 NaN is NaN
    assert outputs.isfinite().all()


def test_auto_takes_it_and_a_name_says_why_it_cannot():
    rule, leaves = GatedDelta(), draw(GatedDelta())
    inputs, gates = [leaves[name] for name in ("queries", "keys", "values")], {n: leaves[n] for n in rule.GATES}
    assert backend_of(*inputs, gates, rule=rule) == "cpu"
    other = [each.detach().to("meta") for each in inputs]
    others = {name: gate.detach().to("meta") for name, gate in gates.items()}
    with pytest.raises(UnsupportedBackend, match="on a CPU"):
        fast_weights_scan(*other, others, rule=rule, backend="cpu")
