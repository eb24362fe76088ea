"""What the equality suite does not ask of the cpu backend: tiles, chunks, single gradients, compilers."""

import pytest
import torch
from op_calls import assert_close, draw, results, run

from fastweights.ops import UnsupportedBackend, fast_weights_rnn
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_rnn import backend_of, cpu, cpu_passes
from fastweights.ops.fast_weights_rnn import call as calls
from fastweights.rules import Delta, Hebbian

pytest.importorskip("numba")


@pytest.mark.parametrize("batch", [8, 9, 37])
@pytest.mark.parametrize("hidden", [5, 6, 8, 23])
def test_several_tiles_and_one_that_is_not_full(batch, hidden):
    leaves = draw(batch, 6, hidden)
    assert_close(results(leaves), results(leaves, "reference"))


@pytest.mark.parametrize("kind", [Hebbian, Delta])
@pytest.mark.parametrize("ragged", [False, True])
def test_more_tiles_than_groups(ragged, kind):
    leaves = draw(8 * cpu_passes._GROUPS + 11, 3, 9)
    lengths = torch.arange(leaves["inputs"].shape[0]) % 4 if ragged else None
    options = {"kind": kind, "lengths": lengths}
    assert_close(results(leaves, **options), results(leaves, "reference", **options))


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_chunks_equal_the_reference(initial, ragged, inner_steps, monkeypatch):
    monkeypatch.setattr(cpu, "LEAST", 0)
    leaves = draw(3, 41, 7, initial=initial)
    options = {
        "lengths": torch.tensor([41, 13, 0]) if ragged else None,
        "inner_steps": inner_steps,
        "nonlinearity": "tanh",
    }
    assert_close(results(leaves, **options), results(leaves, "reference", **options))


def test_a_long_sequence_is_cut():
    leaves = draw(2, 250, 5)
    with torch.no_grad():
        assert_close([run(leaves)[0]], [run(leaves, "attention")[0]])
    cut = []
    original, cpu._whole = cpu._whole, lambda call: cut.append(call.inputs.shape[1]) or original(call)
    try:
        run(leaves)
    finally:
        cpu._whole = original
    assert len(cut) > 1 and sum(cut) == 250


@pytest.mark.parametrize("wanted", [["inputs"], ["recurrent"], ["gain"], ["decay"], ["rate"], ["hidden"], ["weights"]])
def test_gradients_of_some_arguments_only(wanted):
    leaves = {name: leaf.detach().requires_grad_(name in wanted) for name, leaf in draw(3, 5, 9, initial=True).items()}
    assert_close(results(leaves), results(leaves, "reference"))


def test_arguments_that_are_not_contiguous():
    leaves = draw(5, 6, 9, initial=True)
    views = {
        "inputs": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
        "recurrent": lambda t: t.T.contiguous().T,
        "gain": lambda t: torch.stack([t, t], dim=1)[:, 0],
        "hidden": lambda t: t.T.contiguous().T,
        "weights": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
    }
    strided = {name: views.get(name, lambda t: t)(leaf.detach()).requires_grad_() for name, leaf in leaves.items()}
    assert not strided["inputs"].is_contiguous() and not strided["gain"].is_contiguous()
    assert_close(results(strided), results(leaves, "reference"))
    every_other = leaves["inputs"].detach().repeat_interleave(2, dim=2)[..., ::2]
    assert_close(results(leaves | {"inputs": every_other.requires_grad_()}), results(leaves, "reference"))


def test_a_gradient_that_is_expanded():
    leaves = draw(5, 6, 9)
    ours = torch.autograd.grad(run(leaves)[0].sum(), leaves["inputs"])
    assert_close(ours, torch.autograd.grad(run(leaves, "reference")[0].sum(), leaves["inputs"]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3, 5])
@pytest.mark.parametrize("inner_steps", [0, 1, 2])
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
def test_streaming_without_a_graph(dtype, batch, inner_steps, nonlinearity):
    leaves = draw(batch, 6, 11, dtype)
    options = {"inner_steps": inner_steps, "nonlinearity": nonlinearity, "rule": Hebbian(0.9, 0.4)}
    tensors = [leaves[name] for name in ("recurrent", "gain", "bias")]
    for norm in (tensors, [tensors[0], None, None]):
        with torch.no_grad():
            want, end = fast_weights_rnn(leaves["inputs"] * 0.1, *norm, backend="reference", **options)
            state, steps = None, []
            for token in (leaves["inputs"] * 0.1).split(1, dim=1):
                out, state = fast_weights_rnn(token, *norm, state, backend="cpu", **options)
                steps.append(out)
        got = [torch.cat(steps, dim=1), state.hidden, state.weights]
        assert_close(got, [want, end.hidden, end.weights], 1e-10 if dtype == torch.float64 else 1e-4)


def test_a_sample_that_diverges_stays_visible():
    leaves = draw(3, 4, 9)
    with torch.no_grad():
        leaves["inputs"][1, 2] = float("nan")
        outputs = run(leaves)[0]
        alone = run(leaves | {"inputs": leaves["inputs"][1:2, 2:3]})[0]
    assert outputs[1, 2:].isnan().all() and outputs[[0, 2]].isfinite().all() and outputs[1, :2].isfinite().all()
    assert alone.isnan().all()


@pytest.mark.parametrize("units", [3, 20])
def test_a_diverged_output_without_a_gradient_spoils_no_other_sample(units):
    g = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 5, units, generator=g, dtype=torch.float64)
    inputs[1, -1, 0] = torch.inf
    recurrent = (0.2 * torch.randn(units, units, generator=g, dtype=torch.float64)).requires_grad_()
    found = {}
    for backend in ("cpu", "attention"):
        outputs, _ = fast_weights_rnn(inputs, recurrent, inner_steps=0, backend=backend)
        assert not outputs[1, -1].isfinite().all()
        found[backend] = torch.autograd.grad(outputs[:, :-1].sum(), recurrent)
    assert_close(found["cpu"], found["attention"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hyperbolic_tangent(dtype):
    x = torch.cat([torch.linspace(-30, 30, 4001), torch.logspace(-30, 0, 200), torch.tensor([0.0, 1e30, -1e30])])
    x = torch.cat([x, torch.tensor([float("inf"), float("-inf"), float("nan")])]).to(dtype)
    with torch.no_grad():
        got = fast_weights_rnn(
            x[:, None, None].contiguous(), x.new_zeros(1, 1), inner_steps=0, nonlinearity="tanh", backend="cpu"
        )[0].flatten()
    want = x.double().tanh()
    assert torch.equal(got.isnan(), want.isnan())
    error = ((got.double() - want) / want.abs().clamp(min=1e-300)).nan_to_num().abs().max()
    assert error < 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("initial", [False, True])
def test_compiled_into_one_graph(initial):
    leaves = draw(5, 6, 9, initial=initial)
    names = list(leaves)

    def step(*tensors):
        outputs, state = run(dict(zip(names, tensors, strict=True)), "auto")
        return outputs * 2, state.hidden

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for function in (step, compiled):
        outputs, hidden = function(*leaves.values())
        gradients = torch.autograd.grad(outputs.pow(2).sum() + hidden.sum(), list(leaves.values()))
        if function is step:
            want = [outputs, hidden, *gradients]
    assert_close([outputs, hidden, *gradients], want, 1e-12)


@pytest.mark.parametrize("kind", range(3))
def test_the_operators_keep_the_rules_of_torch_library(kind):
    leaves = draw(3, 4, 5, initial=True)
    names = ("inputs", "recurrent", "gain", "bias", "hidden", "weights", "decay", "rate")
    arguments = (*(leaves[n] for n in names), torch.tensor([4, 2, 0]), 1, True, kind)
    torch.library.opcheck(
        torch.ops.fastweights.recurrence.default,
        arguments,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("kind", range(3))
def test_a_gradient_has_the_shape_of_its_constant(kind):
    leaves = draw(3, 4, 5, initial=True)
    tensors = [leaves[n] for n in ("inputs", "recurrent", "gain", "bias", "hidden", "weights")]
    constants = leaves["decay"].detach().view(1), leaves["rate"].detach()  # a parameter of the module has one axis
    outputs, saved = torch.ops.fastweights.recurrence(*tensors, *constants, None, 1, True, kind)
    arguments = torch.ones_like(outputs), *tensors[1:], None, saved, *constants, 1, True, kind, [True] * 8
    torch.library.opcheck(
        torch.ops.fastweights.recurrence_backward.default,
        [each.detach() if isinstance(each, torch.Tensor) else each for each in arguments],
        test_utils=("test_schema", "test_faketensor"),
    )


class Own(Hebbian):
    """A rule that no kernel has."""


def why_not(**changes):
    arguments = {"inputs": torch.zeros(1, 2, 3), "recurrent": torch.zeros(3, 3), "rule": Hebbian()} | changes
    tensors = (arguments["inputs"], arguments["recurrent"], None, None, None, arguments["rule"])
    return cpu.why_not(calls.check(*tensors, 1, "relu", None))


def test_why_not(monkeypatch):
    assert why_not() is None
    assert why_not(rule=Delta()) is None
    assert "unit length only, not normalize_key=False" in why_not(rule=Delta(normalize_key=False))
    assert "Hebbian, Cosine and Delta only, not Own" in why_not(rule=Own())
    half = {"inputs": torch.zeros(1, 2, 3).half(), "recurrent": torch.zeros(3, 3).half()}
    assert "float32 and float64 only, not torch.float16" in why_not(**half)
    assert "on meta" in why_not(inputs=torch.zeros(1, 2, 3, device="meta"), recurrent=torch.zeros(3, 3, device="meta"))
    inside = []
    torch.func.vmap(lambda x: inside.append(why_not(inputs=x)) or x)(torch.zeros(2, 1, 2, 3))
    assert "torch.func" in inside[0]
    with torch.autograd.forward_ad.dual_level():
        assert "forward-mode" in why_not()
    monkeypatch.setattr(limits, "_HAS_NUMBA", False)
    assert "pip install numba" in why_not()
    with pytest.raises(UnsupportedBackend, match="needs Numba"):
        fast_weights_rnn(torch.zeros(1, 2, 3), torch.zeros(3, 3), backend="cpu")


def test_auto_takes_it():
    x, w = torch.zeros(1, 2, 3), torch.zeros(3, 3)
    assert backend_of(x, w) == "cpu"
    assert backend_of(x, w, rule=Delta()) == "cpu"
    assert backend_of(x, w, rule=Own()) == "reference"
    jacobian = torch.func.jacrev(lambda x: fast_weights_rnn(x, w)[0].sum())(x)
    assert jacobian.shape == x.shape
