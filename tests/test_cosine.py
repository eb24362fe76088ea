"""The default rule: its backends agree, and its read is never longer than the boundary, however wide and long."""

import warnings
from itertools import product
from random import Random

import pytest
import torch

from fastweights import Cosine, FastWeightsRNN, FastWeightsRNNCell, FastWeightsState, Hebbian
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import cpu_passes
from fastweights.rules.cosine import direction, direction_backward

CASES = Random(0).sample(
    list(product([(3, 5, 7), (2, 4, 20), (9, 6, 33), (1, 140, 16)], [0, 1, 2], ["relu", "tanh"], *[[True, False]] * 4)),
    60,
)


@pytest.mark.parametrize("backend", ["attention", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_backends_equal_the_reference_in_every_number_and_gradient(backend, dtype):
    g = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()

    for (batch, time, units), inner_steps, nonlinearity, norm, initial, ragged, need_state in CASES:
        x, recurrent = some(batch, time, units), (some(units, units) / units).detach().requires_grad_()
        gain, bias = (some(units), some(units)) if norm else (None, None)
        state = FastWeightsState(some(batch, units), some(batch, units, units)) if initial else None
        decay, rate = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (0.9, 1.3))
        lengths = torch.randint(time + 1, (batch,), generator=g) if ragged else None
        settings = {"inner_steps": inner_steps, "nonlinearity": nonlinearity, "lengths": lengths}
        leaves = [each for each in (x, recurrent, gain, bias, *(state or ()), decay, rate) if each is not None]
        found = []
        for name in ("reference", backend):
            given = {"rule": Cosine(decay, rate), "backend": name, "need_state": need_state, **settings}
            outputs, final = fast_weights_rnn(x, recurrent, gain, bias, state, **given)
            parts, weigh = [outputs, *(final or ())], torch.Generator().manual_seed(1)
            loss = sum((p * torch.randn(p.shape, generator=weigh, dtype=torch.float64).to(p)).sum() for p in parts)
            found.append([*parts, *torch.autograd.grad(loss, leaves, allow_unused=True)])
        tolerance = 1e-8 if dtype == torch.float64 else 2e-3
        for place, (want, got) in enumerate(zip(*found, strict=True)):
            none = torch.zeros(())
            want, got = none if want is None else want, none if got is None else got
            assert (want - got).abs().max() <= tolerance * max(1, want.abs().max()), (place, settings)


def test_the_gradient_of_a_direction():
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    d = torch.randn(3, 6, dtype=torch.float64)
    (want,) = torch.autograd.grad(direction(x), x, d)
    assert torch.allclose(direction_backward(d, x.detach()), want)
    assert torch.allclose(direction(x).norm(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_streamed_steps_are_those_of_the_sequence(batch, nonlinearity, layer_norm):
    options = {"nonlinearity": nonlinearity, "layer_norm": layer_norm, "dtype": torch.float64, "inner_steps": 2}
    rnn = FastWeightsRNN(3, 18, batch_first=True, **options)
    cell = FastWeightsRNNCell(3, 18, **options)
    cell.load_state_dict({name.removesuffix("_l0"): each for name, each in rnn.state_dict().items()})
    x = torch.randn(batch, 6, 3, dtype=torch.float64)
    want, last = rnn(x)
    with torch.no_grad():
        state = one = None
        for t in range(6):
            state = cell(x[:, t], state)
            output, one = rnn(x[:, t : t + 1], one)
            assert torch.allclose(state.hidden, want[:, t]) and torch.allclose(output[:, 0], want[:, t])
    assert torch.allclose(state.weights, last.weights[0]) and torch.allclose(one.weights, last.weights)


@pytest.mark.parametrize("rule", [Cosine(0.9, 1.2), Hebbian(0.9, 0.1)])
@pytest.mark.parametrize("learned", [(), ("decay", "rate")])
@pytest.mark.parametrize("batch_first", [True, False])
def test_streamed_steps_of_several_layers_are_a_call_a_layer(rule, learned, batch_first, monkeypatch):
    torch.manual_seed(0)
    rnn = FastWeightsRNN(3, 10, 3, batch_first=batch_first, rule=rule, learned=learned, dtype=torch.float64).eval()
    for name in learned:
        rnn.get_parameter(f"{name}_raw_l1").data += 0.05
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    want, last = rnn(x if batch_first else x.transpose(0, 1))
    calls = []
    step = cpu_passes.step
    monkeypatch.setattr(cpu_passes, "step", lambda *given: calls.append(1) or step(*given))
    state = None
    with torch.no_grad():
        for t in range(7):
            now = x[:, t : t + 1]
            output, state = rnn(now if batch_first else now.transpose(0, 1), state)
            there = want[:, t : t + 1] if batch_first else want[t : t + 1]
            assert output.shape == there.shape and torch.allclose(output, there)
    assert torch.allclose(state.hidden, last.hidden) and torch.allclose(state.weights, last.weights)
    assert len(calls) == 21


@pytest.mark.parametrize("units", [8, 64, 512])
@pytest.mark.parametrize("time", [5, 100])
@pytest.mark.parametrize("decay", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("layers", [1, 4])
def test_at_the_start_a_read_is_at_most_as_long_as_the_boundary(units, time, decay, layers):
    time = min(time, 20) if units == 512 else time
    for nonlinearity in ("relu", "tanh"):
        rnn = FastWeightsRNN(12, units, layers, batch_first=True, nonlinearity=nonlinearity, rule=Cosine(decay))
        seen = rnn.diagnose(torch.randn(4, time, 12))
        assert len(seen.layers) == layers and not seen.drowned
        assert all(layer.read.max() <= 1.001 and layer.read[1:].min() > 0 for layer in seen.layers)


def test_the_strength_of_the_read_is_learned_and_told():
    rnn = FastWeightsRNN(3, 8, 2)
    assert rnn.learned == ("rate",) and rnn.constants() == {"decay": [0.92] * 2, "rate": [pytest.approx(1.0)] * 2}
    rnn(torch.randn(5, 2, 3))[0].square().sum().backward()
    assert all(rnn.get_parameter(f"rate_raw_l{layer}").grad.abs().max() > 0 for layer in (0, 1))
    assert FastWeightsRNN(3, 8, rule=Hebbian()).learned == FastWeightsRNN(3, 8, inner_steps=0).learned == ()


def test_a_step_of_an_optimizer_moves_the_strength_ten_times_as_far_as_a_weight():
    rnn = FastWeightsRNN(3, 8)
    optimizer = torch.optim.Adam(rnn.parameters(), lr=0.01)
    rnn(torch.randn(5, 2, 3))[0].square().sum().backward()
    optimizer.step()
    assert abs(rnn.constants()["rate"][0] - 1.0) == pytest.approx(0.1 * (1 - torch.e**-1.0), rel=0.2)


def test_diagnose_sees_what_drowns_the_input_and_says_so_once():
    x = torch.randn(8, 60, 12)
    drowned = FastWeightsRNN(12, 64, batch_first=True, rule=Hebbian())
    seen = drowned.diagnose(x)
    assert seen.drowned and seen.layers[0].similarity[-1] > 0.99 and "drowns" in seen.advice
    assert f"{seen.layers[0].read[59]:.3g}" in str(seen) and all(
        len(line) <= 80 for line in str(seen).splitlines()[:-1]
    )
    with pytest.warns(UserWarning, match="The read drowns the input"):
        drowned(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drowned(x)
        FastWeightsRNN(12, 64, batch_first=True)(x)
        FastWeightsRNN(12, 64, batch_first=True, rule=Hebbian()).eval()(x)
    calm = FastWeightsRNN(12, 64, batch_first=True)
    assert calm.diagnose(x).layers[0].similarity[-1] < 0.8 and "nothing to change" in calm.diagnose(x).advice
    assert "No step reads" in FastWeightsRNN(12, 64, batch_first=True, inner_steps=0).diagnose(x).advice


def test_diagnose_runs_the_network_itself():
    for options in ({}, {"bidirectional": True}, {"inner_steps": 0}, {"inner_steps": 2, "rule": Hebbian(0.9, 0.1)}):
        rnn = FastWeightsRNN(5, 7, 2, batch_first=True, **options)
        x = torch.randn(3, 6, 5)
        state = rnn(x)[1]
        norms = [layer.norm for layer in rnn.diagnose(x).layers]
        longer = rnn.diagnose(torch.cat([x, x[:, :1]], dim=1)).layers if not options.get("bidirectional") else None
        if longer is not None:
            got = torch.stack([layer.norm[-1] for layer in longer])
            assert torch.allclose(got, state.weights.flatten(2).norm(dim=2).mean(1), rtol=1e-4)
        assert all(norm[0] == 0 for norm in norms)
    for wrong in (torch.randn(3, 0, 5), torch.randn(5), torch.randn(3, 6, 4), "x"):
        with pytest.raises(ValueError):
            rnn.diagnose(wrong)
