"""Every backend equals the reference: outputs, final state and the gradient of every input, in float64 to 1e-10."""

import functools
from dataclasses import dataclass, fields
from statistics import geometric_mean

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from fastweights.ops import FastWeightsState, fast_weights_rnn
from fastweights.ops.fast_weights_rnn import BACKENDS
from fastweights.rules import Hebbian

TOLERANCE = 1e-10
ALWAYS = [name for name in BACKENDS if name != "triton"]  # its interpreter is slow: tests/test_triton_backend.py
FAST = [name for name in ALWAYS if name != "reference"]


@dataclass
class Problem:
    """The tensors of one call (all leaves that want a gradient) and its settings."""

    inputs: Tensor
    recurrent: Tensor
    gain: Tensor | None
    bias: Tensor | None
    hidden: Tensor | None
    weights: Tensor | None
    decay: Tensor
    rate: Tensor
    lengths: Tensor | None
    inner_steps: int
    nonlinearity: str
    rule: type = Hebbian

    @staticmethod
    def draw(
        batch, time, hidden, inner_steps, nonlinearity, layer_norm, initial, ragged,
        dtype=torch.float64, seed=0, rule=Hebbian,
    ):  # fmt: skip
        g = torch.Generator().manual_seed(seed)

        def leaf(*shape, scale=1.0, shift=0.0):
            return (torch.randn(*shape, generator=g, dtype=torch.float64) * scale + shift).to(dtype).requires_grad_()

        scale = 1.0 if layer_norm or nonlinearity == "tanh" else 0.15 / hidden**0.5  # else A h explodes with ReLU
        return Problem(
            inputs=leaf(batch, time, hidden, scale=scale),
            recurrent=leaf(hidden, hidden, scale=0.4 / hidden**0.5),
            gain=leaf(hidden, scale=0.2, shift=1.0) if layer_norm else None,
            bias=leaf(hidden, scale=0.2) if layer_norm else None,
            hidden=leaf(batch, hidden, scale=scale) if initial else None,
            weights=leaf(batch, hidden, hidden, scale=0.3 * scale / hidden**0.5) if initial else None,
            decay=torch.tensor(0.9, dtype=dtype, requires_grad=True),
            rate=torch.tensor(0.4, dtype=dtype, requires_grad=True),
            lengths=torch.randint(0, time + 1, (batch,), generator=g) if ragged else None,
            inner_steps=inner_steps,
            nonlinearity=nonlinearity,
            rule=rule,
        )

    def in_float64(self) -> "Problem":
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return Problem(**own | {n: v.detach().double().requires_grad_() for n, v in self.leaves.items()})

    @property
    def leaves(self) -> dict[str, Tensor]:
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {n: v for n, v in named.items() if isinstance(v, Tensor) and v.requires_grad}

    def run(self, backend, inputs=None, state=None, lengths="own"):
        if state is None and self.hidden is not None:
            state = FastWeightsState(self.hidden, self.weights)
        return fast_weights_rnn(
            self.inputs if inputs is None else inputs,
            self.recurrent,
            self.gain,
            self.bias,
            state,
            rule=self.rule(decay=self.decay, rate=self.rate),
            inner_steps=self.inner_steps,
            nonlinearity=self.nonlinearity,
            lengths=self.lengths if isinstance(lengths, str) else lengths,
            backend=backend,
        )

    def results(self, outputs, state):
        """Outputs, final state and gradients under one fixed random loss."""
        g = torch.Generator().manual_seed(1)
        parts = [outputs, state.hidden, state.weights]
        weigh = [torch.randn(p.shape, generator=g, dtype=torch.float64).to(p) for p in parts]
        loss = sum((p * w).sum() for p, w in zip(parts, weigh, strict=True))
        named = {"outputs": outputs, "final hidden": state.hidden, "final weights": state.weights}
        if loss.requires_grad:
            grads = torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)
            named |= {f"d {n}": g for n, g in zip(self.leaves, grads, strict=True) if g is not None}
        return named

    def token_by_token(self, backend):
        assert self.lengths is None
        state, outputs = None, []
        for t in range(self.inputs.shape[1]):
            out, state = self.run(backend, self.inputs[:, t : t + 1], state)
            outputs.append(out)
        return torch.cat(outputs, dim=1), state

    def in_halves(self, backend):
        middle = self.inputs.shape[1] // 2
        first = second = self.lengths
        if self.lengths is not None:
            first, second = self.lengths.clamp(max=middle), (self.lengths - middle).clamp(min=0)
        a, state = self.run(backend, self.inputs[:, :middle], lengths=first)
        b, state = self.run(backend, self.inputs[:, middle:], state, lengths=second)
        return torch.cat([a, b], dim=1), state


def assert_equal(got, want, tolerance=TOLERANCE):
    for name in want:
        if name not in got:  # unused in one way of computing it: then it must not matter
            assert want[name].abs().max() == 0, name
            continue
        scale = max(1.0, want[name].abs().max().item()) if want[name].numel() else 1.0
        error = (got[name] - want[name]).abs().max().item() / scale if want[name].numel() else 0.0
        assert error <= tolerance, f"{name}: off by {error:.2e} of {scale:.2e}"


problems = st.builds(
    Problem.draw,
    batch=st.sampled_from([1, 3]),
    time=st.sampled_from([1, 2, 17, 63]),
    hidden=st.sampled_from([1, 7, 50]),
    inner_steps=st.sampled_from([0, 1, 3]),
    nonlinearity=st.sampled_from(["relu", "tanh"]),
    layer_norm=st.booleans(),
    initial=st.booleans(),
    ragged=st.booleans(),
    seed=st.integers(0, 99),
)
CORNERS = [
    Problem.draw(3, 63, 50, 3, "relu", True, True, True),
    Problem.draw(1, 63, 7, 1, "tanh", False, True, True),
    Problem.draw(3, 17, 50, 1, "relu", True, False, False),
    Problem.draw(3, 2, 1, 3, "tanh", True, True, False),
    Problem.draw(1, 17, 7, 0, "relu", False, True, True),
]


def corners(test):
    for corner in CORNERS:
        test = example(problem=corner)(test)
    return test


@pytest.mark.parametrize("backend", FAST)
@corners
@given(problem=problems)
def test_backend_equals_reference(backend, problem):
    want = problem.results(*problem.run("reference"))
    assert_equal(problem.results(*problem.run(backend)), want)


@pytest.mark.parametrize("backend", ALWAYS)
@corners
@given(problem=problems)
def test_streaming_equals_whole_sequence(backend, problem):
    problem.lengths = None
    want = problem.results(*problem.run(backend))
    assert_equal(problem.results(*problem.token_by_token(backend)), want)


@pytest.mark.parametrize("backend", ALWAYS)
@corners
@given(problem=problems)
def test_two_halves_equal_whole_sequence(backend, problem):
    want = problem.results(*problem.run(backend))
    assert_equal(problem.results(*problem.in_halves(backend)), want)


@pytest.mark.parametrize("backend", ALWAYS)
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("inner_steps", [0, 1, 2])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_gradcheck(backend, nonlinearity, inner_steps, layer_norm):
    problem = Problem.draw(2, 4, 3, inner_steps, nonlinearity, layer_norm, True, True, seed=3)
    names = list(problem.leaves)

    def function(*leaves):
        for name, leaf in zip(names, leaves, strict=True):
            setattr(problem, name, leaf)
        outputs, state = problem.run(backend)
        return outputs, state.hidden, state.weights

    assert torch.autograd.gradcheck(function, list(problem.leaves.values()))


@pytest.mark.parametrize("backend", ALWAYS)
@corners
@given(problem=problems)
def test_no_sample_influences_another(backend, problem):
    outputs, state = problem.run(backend)
    for b in range(problem.inputs.shape[0]):
        own = None
        if problem.hidden is not None:
            own = FastWeightsState(problem.hidden[b : b + 1], problem.weights[b : b + 1])
        lengths = None if problem.lengths is None else problem.lengths[b : b + 1]
        alone, last = problem.run(backend, problem.inputs[b : b + 1], own, lengths)
        assert_equal(
            {"outputs": outputs[b : b + 1], "hidden": state.hidden[b : b + 1], "weights": state.weights[b : b + 1]},
            {"outputs": alone, "hidden": last.hidden, "weights": last.weights},
        )


@pytest.mark.parametrize("backend", ALWAYS)
@pytest.mark.parametrize("filler", [1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_padding_influences_nothing(backend, filler, layer_norm):
    problem = Problem.draw(3, 9, 7, 1, "relu", layer_norm, True, False)
    problem.lengths = torch.tensor([9, 4, 0])
    want = problem.results(*problem.run(backend))
    clean = problem.inputs.detach()
    padded = clean.clone()
    padded[1, 4:], padded[2] = filler, filler
    problem.inputs = padded.requires_grad_()
    got = problem.results(*problem.run(backend))
    for name in want:
        assert torch.equal(got[name], want[name]), name
    assert (got["outputs"][1, 4:] == 0).all() and (got["outputs"][2] == 0).all()
    assert (got["d inputs"][1, 4:] == 0).all() and (got["d inputs"][2] == 0).all()
    assert torch.equal(got["final hidden"][2], problem.hidden[2])
    assert torch.equal(got["final weights"][2], problem.weights[2])


def errors_of(problem, backend, truth):
    floors = {name: 1e-9 * true.norm() + 1e-30 for name, true in truth.items()}  # far below a rounding: for exact zeros
    got = problem.results(*problem.run(backend))
    return {name: (got[name].detach().double() - true).norm() + floors[name] for name, true in truth.items()}


@functools.lru_cache(maxsize=1)  # one backend after the other asks for the same
def judged_by_the_reference(time, hidden, inner_steps):
    """For each draw the problem, its results in float64, and the errors of the reference in float32."""
    judged = []
    for seed in range(100 if time == 1 else 25):
        single = Problem.draw(4, time, hidden, inner_steps, "tanh", True, True, False, torch.float32, seed)
        double = single.in_float64()
        truth = {name: true.detach() for name, true in double.results(*double.run("reference")).items()}
        judged.append((single, truth, errors_of(single, "reference", truth)))
    return judged


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("time,hidden", [(1, 7), (9, 50), (17, 20), (63, 7), (40, 33)])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_float32_error_is_at_most_twice_that_of_the_reference(backend, time, hidden, inner_steps):
    """Root mean square errors against the same numbers in float64: the geometric mean, over draws, of their ratio.

    Of ratios within a draw, and of their logarithms, because draws are heavy-tailed: a scalar gradient that happens to
    lie near zero, a layer norm over seven units that happen to be alike, multiply the rounding of whoever computes them
    by a thousand. More draws for a single step: its errors are single roundings.
    """
    ratios: dict[str, list[float]] = {}
    for single, truth, errors in judged_by_the_reference(time, hidden, inner_steps):
        found = errors_of(single, backend, truth)
        for name in truth:
            ratios.setdefault(name, []).append(float(found[name] / errors[name]))
    for name, values in ratios.items():
        assert geometric_mean(values) <= 2, f"{name}: {geometric_mean(values):.2f} times the error of the reference"
