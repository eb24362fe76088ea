"""The scan's Triton kernels equal the loop; without a GPU under Triton's interpreter (conftest), at sizes it can bear."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from scan_calls import assert_close, draw, gates_of, results, run

from fastweights import rules
from fastweights.ops import ScanState, UnsupportedBackend, fast_weights_scan, gpu
from fastweights.ops.fast_weights_scan import backend_of, check, triton
from fastweights.rules import Comba, Delta, DeltaProduct, GatedDelta, Hebbian, KimiDelta, Oja

pytest.importorskip("triton", reason="triton is not installed")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LACKING = ("Mesa", "Titans", "TTTLinear")  # test_why_not has the reasons
RULES = {name: kind() for name, kind in rules.scanned().items() if name not in LACKING}


def drawn(rule, **sizes):
    leaves = draw(rule, **({"heads": 1} | sizes))
    return {name: leaf.detach().to(DEVICE).requires_grad_() for name, leaf in leaves.items()}


def compared(rule, settings=None, chunk=None, **sizes):
    leaves, settings = drawn(rule, **sizes), settings or {}
    found = results(leaves, rule, "triton", chunk=chunk, **settings)
    assert_close(found, results(leaves, rule, "reference", **settings))


def broken(time):
    """Resets and lengths of a batch of two."""
    resets = torch.zeros(2, time, dtype=torch.bool)
    resets[0, [0, time // 3, time // 3 + 1, time - 1]] = True
    return {"resets": resets.to(DEVICE), "lengths": torch.tensor([time, time // 2 + 1], device=DEVICE)}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_rule_equals_the_loop(rule):
    """Over chunks, with decays from 0 to -60 a token, resets, ragged lengths and a state to begin with."""
    compared(rule, broken(17), chunk=4, time=17, lowest=-60.0, initial=True)


@pytest.mark.parametrize("rule", [Hebbian(), KimiDelta(), DeltaProduct(3), Oja()], ids=repr)
@pytest.mark.parametrize("time", [1, 2])
def test_few_tokens(rule, time):
    compared(rule, time=time, heads=2)


@pytest.mark.parametrize(("key", "value"), [(33, 7), (16, 16), (1, 1), (20, 70)])
@pytest.mark.parametrize("rule", [GatedDelta(), Comba(), Oja()], ids=["GatedDelta", "Comba", "Oja"])
def test_blocks_of_rows(rule, key, value, monkeypatch):
    monkeypatch.setattr(triton, "FORWARD", 8 * 64 * 4)
    monkeypatch.setattr(triton, "BACKWARD", 8 * 64 * 8)
    compared(rule, batch=1, time=2, key=key, value=value, initial=True)


def test_a_decay_that_keeps_nothing():
    leaves = drawn(KimiDelta(), time=9, initial=True)
    with torch.no_grad():
        leaves["log_decay"][:, ::4] = -math.inf
    assert_close(results(leaves, KimiDelta(), "triton"), results(leaves, KimiDelta(), "reference"))


@pytest.mark.parametrize("wanted", ["queries", "strength", "state0"])
def test_gradients_of_one_argument_alone(wanted):
    rule = GatedDelta()
    leaves = {
        name: leaf.detach().requires_grad_(name == wanted) for name, leaf in drawn(rule, time=5, initial=True).items()
    }
    found = []
    for backend in ("triton", "reference"):
        outputs, state = run(leaves, rule, backend)
        found.append(torch.autograd.grad((outputs * 2).sum() + state.weights.square().sum(), leaves[wanted]))
    assert_close(*found)


@pytest.mark.parametrize("place", [0, 1])
def test_gradients_of_outputs_or_state_alone(place):
    leaves, found = drawn(KimiDelta(), time=5, initial=True), []
    for backend in ("triton", "reference"):
        loss = run(leaves, KimiDelta(), backend)[place]
        loss = (loss.weights if place else loss).square().sum()
        found.append(torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True))
    assert_close(*found)


def test_arguments_that_are_not_contiguous():
    leaves = drawn(GatedDelta(), time=5, heads=2, initial=True)
    strided = {name: torch.stack([leaf.detach().mT] * 2, -1)[..., 0].mT for name, leaf in leaves.items()}
    assert not any(leaf.is_contiguous() for leaf in strided.values())
    strided = {name: leaf.requires_grad_() for name, leaf in strided.items()}
    assert_close(results(strided, GatedDelta(), "triton"), results(leaves, GatedDelta(), "reference"))


@pytest.mark.parametrize("kind", [Delta, Oja])
def test_constants_that_are_tensors_get_their_gradient(kind):
    leaves, found = drawn(Delta(), time=5), []
    leaves.pop("strength")
    for backend in ("triton", "reference"):
        constants = [torch.tensor(each, dtype=torch.float64, device=DEVICE, requires_grad=True) for each in (0.9, 0.7)]
        outputs, state = run(leaves, kind(*constants), backend)
        found.append(torch.autograd.grad(outputs.square().sum() + state.weights.sum(), constants))
    assert_close(*found)


@pytest.mark.parametrize("rule", [Comba(), Oja()], ids=["Comba", "Oja"])
def test_many_gradients_at_once(rule):
    leaves, found = drawn(rule, batch=1, time=3), []
    for backend in ("triton", "reference"):

        def of(queries, backend=backend):
            return run(leaves | {"queries": queries}, rule, backend)[0]

        found.append(torch.autograd.functional.jacobian(of, leaves["queries"], vectorize=backend == "triton"))
    assert_close(*([each] for each in found))


@pytest.mark.parametrize("rule", [Comba(), Oja()], ids=["Comba", "Oja"])
def test_second_derivatives(rule):
    leaves, found = drawn(rule, time=5, initial=True), []
    for backend in ("triton", "reference"):
        outputs, state = run(leaves, rule, backend, lengths=torch.tensor([5, 3]))
        loss = outputs.square().sum() + state.weights.square().sum()
        first = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(g.square().sum() for g in first), list(leaves.values()))])
    assert_close(*found)


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("rule", [KimiDelta(), Oja()], ids=["KimiDelta", "Oja"])
def test_nothing_outside_its_memory_is_written_and_nothing_uninitialised_read(rule, chunk, monkeypatch):
    plain, guards, margin = torch.Tensor.new_empty, [], 4096

    def guarded(self, *shape, **options):
        fresh = plain(self, *shape, **options)
        whole = fresh.new_full((fresh.numel() + 2 * margin,), 7.0)
        guards.append(whole)
        inner = whole[margin : margin + fresh.numel()].fill_(math.nan)
        return inner.view(fresh.shape)

    leaves = drawn(rule, batch=1, time=9, key=9, heads=2)
    want = results(leaves, rule, "triton", chunk=chunk)
    monkeypatch.setattr(torch.Tensor, "new_empty", guarded)
    found = results(leaves, rule, "triton", chunk=chunk)
    assert guards and all((each[:margin] == 7).all() and (each[-margin:] == 7).all() for each in guards)
    assert all(torch.equal(one, other) for one, other in zip(found, want, strict=True))


def test_what_is_kept_for_the_gradient_grows_as_time():
    def kept(time):
        leaves, found = drawn(KimiDelta(), batch=1, time=time, key=16, value=16), {}

        def note(tensor):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            outputs, _ = run(leaves, KimiDelta(), "triton", chunk=8)
            return sum(found.values()), outputs

    assert kept(64)[0] < 2.1 * kept(32)[0]


@pytest.mark.parametrize("rule", [GatedDelta(), KimiDelta()], ids=["GatedDelta", "KimiDelta"])
def test_float32_is_as_near_to_the_truth_as_the_loop(rule):
    sizes = {"batch": 1, "heads": 2, "time": 17, "key": 16, "value": 16, "initial": True, "lowest": -4.0}
    leaves = drawn(rule, **sizes, dtype=torch.float32)
    truth = results({n: leaf.detach().double().requires_grad_() for n, leaf in leaves.items()}, rule, "reference")
    loop, ours = (results(leaves, rule, name) for name in ("reference", "triton"))
    for name, *each in zip(["outputs", "state", *leaves], truth, loop, ours, strict=True):
        want, *found = (result.double() for result in each)
        of_loop, of_ours = ((result - want).norm() for result in found)
        assert of_ours <= 2 * of_loop, name


def test_torch_compile_does_not_break_on_it():
    rule, leaves = Comba(), drawn(Comba(), time=5, initial=True)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(queries, keys, values, gates, weights, lengths):
        settings = {"state": ScanState(weights), "lengths": lengths, "rule": rule, "backend": "triton"}
        outputs, state = fast_weights_scan(queries, keys, values, gates, **settings)
        return outputs, state.weights

    found, lengths = [], torch.tensor([5, 3], device=DEVICE)
    inputs = [leaves[name] for name in ("queries", "keys", "values")]
    outputs, weights = compiled(*inputs, gates_of(leaves, rule), leaves["state0"], lengths)
    ran = run(leaves, rule, "reference", lengths=lengths)
    for one, other in ((outputs, weights), (ran[0], ran[1].weights)):
        loss = one.square().sum() + other.square().sum()
        found.append([one, other, *torch.autograd.grad(loss, list(leaves.values()))])
    assert_close(*found)


def why_not(rule, **sizes):
    leaves = draw(rule, time=2, **sizes)
    inputs = (leaves[name].to(DEVICE) for name in ("queries", "keys", "values"))
    gates = {name: gate.to(DEVICE) for name, gate in gates_of(leaves, rule).items()}
    return triton.why_not(check(*inputs, gates, rule, None, None, None, None))


def test_why_not(monkeypatch):
    assert {name for name, kind in rules.scanned().items() if why_not(kind()) is not None} == set(LACKING)
    assert why_not(rules.Mesa()) == "it reads a token once, and Mesa reads it again and again"
    assert why_not(rules.Titans()) == "it has no momentum, and Titans has"
    assert why_not(rules.TTTLinear()) == "TTTLinear has no fast form; the reference backend runs it"
    assert why_not(Delta(), key=256) is None
    assert why_not(Delta(), key=257) == "its kernels hold keys of at most 256 numbers, got 257"
    monkeypatch.setattr(gpu, "_HAS_TRITON", False)
    assert why_not(Delta()) == "triton is not installed"
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    x = torch.zeros(1, 2, 1, 4)
    with pytest.raises(UnsupportedBackend, match="'triton' cannot run this call: it runs on CUDA devices"):
        fast_weights_scan(x, x, x, backend="triton")


def test_auto_leaves_it_to_those_who_name_it(monkeypatch):
    """On a device that is no CPU, where it could run."""
    x = torch.zeros(1, 40, 1, 4, device="meta")
    monkeypatch.setattr(gpu, "why_not", lambda device: None)
    assert backend_of(x, x, x, backend="triton") == "triton" and backend_of(x, x, x) == "chunkwise"


def test_kernels_compile_for_a_gpu():
    """The interpreter lets pass what the compiler does not; the compiler needs no GPU."""
    script = Path(__file__).parent / "compile_scan_kernels.py"
    path = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
