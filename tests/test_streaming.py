"""A token at a time without a gradient is one compiled call; it gives the numbers of the reference."""

import pytest
import torch

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.errors import UserError
from fastweights.nn.recurrent_layer import STREAM_BATCH
from fastweights.rules import Delta

INPUT = 3


def stepped(cell, inputs, state):
    states = []
    for x in inputs:
        state = cell(x, state)
        states.append(state)
    return torch.stack([s.hidden for s in states]), state


@pytest.mark.parametrize("inner_steps", [0, 1, 3])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [1, 7, 50])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_cell_streams_the_numbers_of_the_reference(inner_steps, layer_norm, nonlinearity, hidden, batch):
    options = {"inner_steps": inner_steps, "layer_norm": layer_norm, "nonlinearity": nonlinearity}
    cell = FastWeightsRNNCell(INPUT, hidden, **options, learned=("decay", "rate"), dtype=torch.float64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) / hidden**0.5)
    inputs = torch.randn(6, batch, INPUT, dtype=torch.float64)
    scale = 0.1 / hidden
    initial = FastWeightsState(
        torch.rand(batch, hidden, dtype=torch.float64), scale * torch.randn(batch, hidden, hidden, dtype=torch.float64)
    )
    for state in (None, initial):
        with torch.no_grad():
            got, last = stepped(cell, inputs, state)
        assert cell.ran == "cpu"
        cell.backend = "reference"
        want, final = stepped(cell, inputs, state)
        cell.backend = "auto"
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-12)
        assert torch.allclose(last.weights, final.weights, rtol=1e-10, atol=1e-12)
        assert not last.weights.requires_grad


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_module_streams_too(batch_first):
    rnn = FastWeightsRNN(INPUT, 7, batch_first=batch_first, dtype=torch.float64)
    inputs = torch.randn(5, 2, INPUT, dtype=torch.float64)
    whole, final = rnn(inputs.transpose(0, 1) if batch_first else inputs)
    state, outputs = None, []
    with torch.no_grad():
        for x in inputs:
            output, state = rnn(x[:, None] if batch_first else x[None], state)
            outputs.append(output)
    assert torch.allclose(torch.cat(outputs, dim=1 if batch_first else 0), whole, atol=1e-12)
    assert state.hidden.shape == (1, 2, 7) and torch.allclose(state.weights, final.weights, atol=1e-12)


def test_float32_and_strided_inputs():
    cell = FastWeightsRNNCell(INPUT, 20)
    x = torch.randn(INPUT, 4).t()
    hidden, weights = torch.rand(20, 4).t(), torch.randn(4, 20, 20).transpose(1, 2)
    with torch.no_grad():
        got = cell(x, FastWeightsState(hidden, weights))
    want = cell(x, FastWeightsState(hidden, weights))
    assert torch.allclose(got.hidden, want.hidden, atol=1e-5) and torch.allclose(got.weights, want.weights, atol=1e-4)


def test_what_cannot_be_streamed_goes_through_the_op():
    x = torch.randn(2, INPUT)
    with torch.no_grad():
        for options, name in (
            ({"rule": Delta(normalize_key=False)}, "reference"),
            ({"backend": "attention"}, "attention"),
        ):
            cell = FastWeightsRNNCell(INPUT, 5, **options)
            cell(x)
            assert cell.ran == name
        assert FastWeightsRNNCell(INPUT, 5, dtype=torch.bfloat16)(x.bfloat16()).hidden.dtype == torch.bfloat16
        many = torch.randn(STREAM_BATCH + 1, INPUT)
        cell = FastWeightsRNNCell(INPUT, 5)
        assert torch.allclose(cell(many).hidden[:2], cell(many[:2]).hidden, atol=1e-6)
        with pytest.raises(ValueError, match=r"state: got hidden \[3, 5\], wanted \[2, 5\]"):
            cell(x, FastWeightsState(torch.zeros(3, 5), torch.zeros(3, 5, 5)))
        with pytest.raises(ValueError, match=r"state.hidden: got torch.float64"):
            cell(x, FastWeightsState(torch.zeros(2, 5).double(), torch.zeros(2, 5, 5).double()))


def test_memory_that_was_never_written_does_not_matter(monkeypatch):
    cell = FastWeightsRNNCell(INPUT, 9, inner_steps=2)
    x = torch.randn(2, INPUT)
    with torch.no_grad():
        want = cell(x, cell(x))
        monkeypatch.setattr(torch.Tensor, "new_empty", lambda t, *size: t.new_full(size, float("nan")))
        got = cell(x, cell(x))
    assert torch.equal(got.hidden, want.hidden) and torch.equal(got.weights, want.weights)


@pytest.mark.parametrize("network", [FastWeightsRNNCell(INPUT, 8), FastWeightsRNN(INPUT, 8)])
def test_a_step_keeps_its_forward_mode_derivative_without_a_graph(network):
    import torch.autograd.forward_ad as fwAD

    inputs = torch.ones(2, INPUT) if isinstance(network, FastWeightsRNNCell) else torch.ones(1, 2, INPUT)
    with fwAD.dual_level(), torch.no_grad():
        out = network(fwAD.make_dual(inputs, torch.ones_like(inputs)))
        hidden = out.hidden if isinstance(out, FastWeightsState) else out[0]
        assert fwAD.unpack_dual(hidden).tangent.abs().sum() > 0


@pytest.mark.parametrize("wrong", [None, torch.zeros(()), torch.zeros(0, INPUT), torch.zeros(4, INPUT).to_sparse()])
@pytest.mark.parametrize("name", ["bias", "gain", "weight_hh", "weight_ih"])
def test_a_weight_that_became_another_is_refused(name, wrong):
    cell = FastWeightsRNNCell(INPUT, 4)
    cell.requires_grad_(False)._parameters[name] = wrong
    with torch.no_grad(), pytest.raises((ValueError, TypeError, AttributeError, RuntimeError)):
        cell(torch.randn(2, INPUT), (torch.zeros(2, 4), torch.zeros(2, 4, 4)))


def test_a_step_says_what_it_cannot_read():
    cell = FastWeightsRNNCell(INPUT, 4).requires_grad_(False)
    cell._parameters["weight_hh"] = torch.eye(4).to_sparse()
    with torch.no_grad(), pytest.raises(UserError, match="layout torch.sparse_coo, wanted a dense one"):
        cell(torch.randn(2, INPUT))
    cell._parameters["weight_hh"] = torch._efficientzerotensor((4, 4))
    with torch.no_grad(), pytest.raises(UserError, match=r"got a tensor of shape \[4, 4\] without memory"):
        cell(torch.randn(2, INPUT))
