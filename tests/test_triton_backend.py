"""The Triton kernels equal the reference; without a GPU under Triton's interpreter (conftest), at sizes it can bear."""

import os
import subprocess
import sys
from dataclasses import fields
from itertools import product
from pathlib import Path
from random import Random
from statistics import median

import pytest
import torch
from test_op_equality import Problem, assert_equal

from fastweights.nn import FastWeightsRNN
from fastweights.ops import FastWeightsState, UnsupportedBackend, fast_weights_rnn, gpu
from fastweights.ops.fast_weights_rnn import choose, triton
from fastweights.ops.fast_weights_rnn.call import check
from fastweights.rules import Cosine, Delta, Hebbian

pytest.importorskip("triton", reason="triton is not installed")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OPTIONS = dict(
    batch=[1, 2, 3],
    time=[1, 2, 5, 17],
    hidden=[1, 7, 20],
    inner_steps=[0, 1, 3],
    nonlinearity=["relu", "tanh"],
    layer_norm=[True, False],
    initial=[True, False],
    ragged=[True, False],
)
SAMPLED = Random(0).sample(list(product(*OPTIONS.values())), 12)
CORNERS = [(1, 17, 20, 1, "relu", True, False, False), (3, 5, 7, 3, "tanh", True, True, True)]
READING = OPTIONS | dict(inner_steps=[1, 2, 3])  # without a read Cosine is as Hebbian, but for the final state
COSINE = [*CORNERS, (2, 5, 7, 0, "relu", True, True, True), *Random(3).sample(list(product(*READING.values())), 10)]
either = pytest.mark.parametrize("rule", [Hebbian, Cosine])


def draw(*args, **kwargs):
    problem = Problem.draw(*args, **kwargs)
    for field in fields(problem):
        value = getattr(problem, field.name)
        if isinstance(value, torch.Tensor):
            setattr(problem, field.name, value.detach().to(DEVICE).requires_grad_(value.requires_grad))
    return problem


def equals_reference(problem):
    assert_equal(problem.results(*problem.run("triton")), problem.results(*problem.run("reference")))


@pytest.mark.parametrize("options", CORNERS + SAMPLED, ids=str)
def test_equals_reference(options):
    equals_reference(draw(*options))


@pytest.mark.parametrize("options", COSINE, ids=str)
def test_cosine_equals_reference(options):
    equals_reference(draw(*options, rule=Cosine))


@either
@pytest.mark.parametrize("hidden", [7, 40])
def test_equals_reference_where_slow_weights_are_streamed(hidden, rule, monkeypatch):
    monkeypatch.setattr(triton, "RESIDENT_BYTES", 0)
    equals_reference(draw(2, 4, hidden, 2, "tanh", True, True, True, rule=rule))


@either
@pytest.mark.parametrize("initial,ragged", [(True, True), (False, False)])
def test_equals_reference_in_chunks(initial, ragged, rule, monkeypatch):
    monkeypatch.setattr(triton, "chunk_size", lambda hidden: 3)
    equals_reference(draw(2, 7, 7, 1, "relu", True, initial, ragged, rule=rule))


@either
def test_equals_reference_over_more_rows_than_a_tile(rule, monkeypatch):
    monkeypatch.setattr(triton, "MOST_ROWS", 4)
    equals_reference(draw(2, 11, 7, 2, "tanh", True, False, True, rule=rule))


@either
@pytest.mark.parametrize("decay,rate", [(0.0, 0.5), (1.0, 0.5), (0.9, 0.0)])
def test_constants_at_the_ends_of_their_ranges(decay, rate, rule):
    problem = draw(2, 5, 7, 1, "relu", True, True, False, rule=rule)
    with torch.no_grad():
        problem.decay.fill_(decay), problem.rate.fill_(rate)
    equals_reference(problem)


@either
def test_learned_constants_of_a_module_get_the_gradients_of_the_reference(rule):
    found = []
    for backend in ("triton", "reference"):
        torch.manual_seed(0)
        module = FastWeightsRNN(3, 7, rule=rule(), learned=("decay", "rate"), backend=backend).to(DEVICE).double()
        module(torch.randn(4, 2, 3).to(DEVICE).double())[0].square().sum().backward()
        found.append({name: parameter.grad for name, parameter in module.named_parameters()})
    assert all(found[0][f"{name}_raw_l0"].abs() > 0 for name in ("decay", "rate"))
    assert_equal(*found)


@either
def test_streaming_equals_whole_sequence(rule):
    problem = draw(2, 3, 7, 1, "relu", True, True, False, rule=rule)
    assert_equal(problem.results(*problem.token_by_token("triton")), problem.results(*problem.run("triton")))


@either
@pytest.mark.parametrize("initial", [True, False])
def test_without_gradients(initial, rule):
    problem = draw(2, 5, 7, 2, "relu", True, initial, True, rule=rule)
    with torch.no_grad():
        (got, state), (want, other) = problem.run("triton"), problem.run("reference")
    pairs = {"outputs": got, "hidden": state.hidden, "weights": state.weights}
    assert_equal(pairs, {"outputs": want, "hidden": other.hidden, "weights": other.weights})
    assert state.weights.shape == other.weights.shape


@either
@pytest.mark.parametrize("batch,time", [(0, 3), (2, 0)])
def test_nothing_to_do(batch, time, rule):
    problem = draw(batch, time, 7, 1, "relu", True, True, False, rule=rule)
    outputs, state = problem.run("triton")
    assert outputs.shape == (batch, time, 7) and state.weights.shape == (batch, 7, 7)
    equals_reference(problem)


@either
def test_any_layout_of_inputs_and_gradients(rule):
    problem = draw(2, 5, 7, 1, "relu", True, True, True, rule=rule)
    for name, leaf in problem.leaves.items() | {("lengths", problem.lengths)}:
        if leaf.dim():
            strided = torch.stack([leaf.detach().mT if leaf.dim() > 1 else leaf.detach()] * 2, dim=-1)[..., 0]
            strided = strided.mT if leaf.dim() > 1 else strided
            assert not strided.is_contiguous()
            setattr(problem, name, strided.requires_grad_(leaf.requires_grad))
    equals_reference(problem)
    grads = [torch.autograd.grad(problem.run(b)[0].sum(), problem.inputs)[0] for b in ("triton", "reference")]
    assert_equal({"d inputs": grads[0]}, {"d inputs": grads[1]})


@either
def test_gradcheck(rule):
    problem = draw(1, 2, 3, 1, "tanh", True, True, False, seed=3, rule=rule)
    names = list(problem.leaves)

    def function(*leaves):
        for name, leaf in zip(names, leaves, strict=True):
            setattr(problem, name, leaf)
        outputs, state = problem.run("triton")
        return outputs, state.hidden, state.weights

    assert torch.autograd.gradcheck(function, list(problem.leaves.values()), fast_mode=True)


@either
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_only_what_comes_in_and_goes_out(dtype, rule):
    problem = draw(2, 5, 7, 1, "relu", True, True, False, dtype=dtype, rule=rule)
    got, double = problem.results(*problem.run("triton")), problem.in_float64()
    assert all(tensor.dtype == dtype for tensor in got.values())
    want = double.results(*double.run("reference"))
    for name in ("outputs", "final hidden"):
        assert_equal({name: got[name].double()}, {name: want[name]}, torch.finfo(dtype).eps)
    for name in want:
        assert_equal({name: got[name].double()}, {name: want[name]}, 10 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("time,hidden,inner_steps,rule", [(3, 20, 1, Hebbian), (2, 7, 2, Hebbian), (3, 7, 2, Cosine)])
def test_float32_error_is_at_most_twice_that_of_the_reference(time, hidden, inner_steps, rule):
    def errors(which):
        draws = {}
        for seed in range(15):
            single = draw(1, time, hidden, inner_steps, "tanh", True, True, False, torch.float32, seed, rule=rule)
            double = single.in_float64()
            truth = double.results(*double.run("reference"))
            for name, tensor in single.results(*single.run(which)).items():
                error = (tensor.double() - truth[name]).norm() / truth[name].norm().clamp(min=1e-30)
                draws.setdefault(name, []).append(error.item())
        return {name: median(values) for name, values in draws.items()}

    fast, reference = errors("triton"), errors("reference")
    for name in reference:
        assert fast[name] <= 2 * reference[name] + 1e-8, f"{name}: {fast[name]:.1e} against {reference[name]:.1e}"


@either
def test_padding_influences_nothing(rule):
    problem = draw(3, 5, 7, 1, "relu", True, True, False, rule=rule)
    problem.lengths = torch.tensor([5, 2, 0], device=DEVICE)
    want = problem.results(*problem.run("triton"))
    padded = problem.inputs.detach().clone()
    padded[1, 2:], padded[2] = float("nan"), float("nan")
    problem.inputs = padded.requires_grad_()
    got = problem.results(*problem.run("triton"))
    for name in want:
        assert torch.equal(got[name], want[name]), name
    assert (got["outputs"][1, 2:] == 0).all() and (got["outputs"][2] == 0).all()
    assert (got["d inputs"][1, 2:] == 0).all() and (got["d inputs"][2] == 0).all()


@pytest.mark.parametrize("ragged,rule", [(True, Hebbian), (False, Hebbian), (False, Cosine)])
def test_fresh_memory_is_written_before_it_is_read_and_two_runs_agree(ragged, rule, monkeypatch):
    problem = draw(2, 4, 7, 2, "relu", True, True, ragged, rule=rule)
    want = problem.results(*problem.run("triton"))
    plain = torch.Tensor.new_empty

    def filled(*args, **kwargs):
        fresh = plain(*args, **kwargs)
        return fresh.fill_(float("nan")) if fresh.is_floating_point() else fresh

    monkeypatch.setattr(torch.Tensor, "new_empty", filled)
    got = problem.results(*problem.run("triton"))
    for name in want:
        assert torch.equal(got[name], want[name]), name


@either
def test_torch_compile_does_not_break_on_it(rule, monkeypatch):
    problem = draw(2, 3, 7, 1, "relu", True, True, True, rule=rule)
    for module, name in ((gpu, "find_spec"), (torch.amp.autocast_mode, "is_autocast_available")):  # as in torch 2.11
        monkeypatch.setattr(module, name, torch._dynamo.disable(getattr(module, name)))

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(inputs, recurrent, gain, bias, hidden, weights, decay, rate, lengths):
        state = FastWeightsState(hidden, weights)
        own = rule(decay=decay, rate=rate)
        outputs, state = fast_weights_rnn(
            inputs, recurrent, gain, bias, state, rule=own, lengths=lengths, backend="triton"
        )
        return outputs, state.hidden, state.weights

    outputs, hidden, weights = compiled(*problem.leaves.values(), problem.lengths)
    got = problem.results(outputs, FastWeightsState(hidden, weights))
    assert_equal(got, problem.results(*problem.run("reference")))


def why_not(hidden=7, rule=None, dtype=torch.float32, device=DEVICE):
    x = torch.zeros(1, 2, hidden, dtype=dtype, device=device)
    return triton.why_not(check(x, x.new_zeros(hidden, hidden), None, None, None, rule or Hebbian(), 1, "relu", None))


def test_why_not(monkeypatch):
    class Own(Hebbian):
        pass

    assert why_not() is None
    assert why_not(rule=Cosine()) is None
    assert why_not(256) is None
    assert why_not(257) == "its kernels hold at most 256 hidden units, got 257"
    assert why_not(rule=Delta()) == "it has no kernel for the rule Delta, only for Hebbian and Cosine"
    assert why_not(rule=Own()) == "it has no kernel for the rule Own, only for Hebbian and Cosine"
    assert "no kernel for torch.float8_e5m2" in why_not(dtype=torch.float8_e5m2)
    assert "the inputs are on meta" in why_not(device="meta")
    with monkeypatch.context() as context:
        context.setattr(gpu, "_HAS_TRITON", False)
        assert why_not() == "triton is not installed"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert gpu.why_not(torch.device("cuda")) == "triton wants compute capability (8, 0), the device has (7, 5)"
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "it runs on CUDA devices, the inputs are on cpu" in why_not(device="cpu")
    x = torch.zeros(1, 2, 7)
    with pytest.raises(UnsupportedBackend, match="it runs on CUDA devices"):
        fast_weights_rnn(x, x.new_zeros(7, 7), backend="triton")


def test_auto_takes_it_on_a_gpu_alone():
    x = torch.zeros(1, 2, 7)
    assert choose(check(x, x.new_zeros(7, 7), None, None, None, Hebbian(), 1, "relu", None)) != "triton"


COMPILE = Path(__file__).parent / "compile_triton_kernels.py"


def test_kernels_compile_for_a_gpu():
    """The interpreter lets pass what the compiler does not; the compiler needs no GPU."""
    path = {**os.environ, "PYTHONPATH": str(COMPILE.parent.parent)}
    done = subprocess.run([sys.executable, str(COMPILE)], capture_output=True, text=True, timeout=300, env=path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_train_reaches_it(tmp_path, capsys):
    """With the rule that is the default; by the interpreter here, or on the GPU."""
    from fastweights import cli
    from fastweights.training import run_folder

    tiny = "--hidden-size 4 --epochs 1 --train-size 4 --valid-size 2 --batch-size 4 --num-pairs 1".split()
    where = ["--device", "cuda"] if DEVICE == "cuda" else ["--backend", "triton"]
    assert cli.main(["train", "RNN-LN-FW", *tiny, *where, "--run", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert run_folder.read_last(tmp_path / "run/timings.jsonl")["backend"] == "triton"
