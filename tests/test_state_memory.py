"""A state shares no memory with what it came with; its gradients are those of the whole sequence."""

import copy

import pytest
import torch
from states import BACKENDS, BATCH, HIDDEN, INPUT, same, state
from torch import nn

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.ops import fast_weights_rnn
from fastweights.ops.cpu import buffers


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("time", [1, 2, 5])
def test_output_and_state_share_no_memory(time, graph):
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN, batch_first=True), torch.randn(BATCH, time, INPUT)
    with torch.set_grad_enabled(graph):
        want, (output, (hidden, weights)) = rnn(inputs)[1].weights.detach().clone(), rnn(inputs)
    with torch.no_grad():
        output.zero_()
        assert hidden.any()
        hidden.zero_()
    assert torch.equal(weights.detach(), want)


@pytest.mark.parametrize("backend", ["reference", "attention", "cpu"])
def test_segments_with_a_carried_state_equal_the_whole(backend):
    torch.manual_seed(0)
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, batch_first=True, dtype=torch.float64, backend=backend)
    inputs = torch.randn(BATCH, 40, INPUT, dtype=torch.float64)
    whole, end = rnn(inputs)
    want = torch.autograd.grad(whole.sum() + end.weights.sum(), list(rnn.parameters()))
    outputs, carried = [], None
    for segment in inputs.split(2, dim=1):
        output, carried = rnn(segment, carried)
        outputs.append(output)
    got = torch.autograd.grad(torch.cat(outputs, 1).sum() + carried.weights.sum(), list(rnn.parameters()))
    assert torch.allclose(torch.cat(outputs, 1), whole, atol=1e-10)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(carried, end, strict=True))
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-8) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("backend", ["reference", "attention", "cpu"])
def test_the_matrix_is_not_formed_where_nobody_needs_it(backend, monkeypatch):
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN, 2, bidirectional=True, backend=backend), torch.randn(6, BATCH, INPUT)
    want, formed = rnn(inputs)[0], []
    made = FastWeightsState.__new__
    monkeypatch.setattr(FastWeightsState, "__new__", lambda *given: formed.append(1) or made(*given))
    got, none = rnn(inputs, need_state=False)
    assert none is None and torch.equal(got, want) and not formed


def test_compiled_truncated_backpropagation_equals_eager():
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN, batch_first=True), torch.randn(BATCH, 12, INPUT)
    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
    one = other = None
    for segment in inputs.split(4, dim=1):
        want, one = rnn(segment, None if one is None else one.detach())
        got, other = compiled(segment, None if other is None else other.detach())
        assert torch.allclose(got, want, atol=1e-5) and torch.allclose(other.weights, one.weights, atol=1e-4)
        for output in (want, got):
            rnn.zero_grad()
            output.sum().backward()
            assert all(p.grad is not None for p in rnn.parameters())


@pytest.mark.parametrize("changed", ["output", "hidden", "weights"])
@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("time", [1, 3])
def test_a_change_in_place_reaches_neither_the_others_nor_a_gradient(backend, time, nonlinearity, changed):
    torch.manual_seed(0)
    rnn = FastWeightsRNN(INPUT, HIDDEN, nonlinearity=nonlinearity, backend=backend, dtype=torch.float64)
    inputs, given = torch.randn(time, BATCH, INPUT).double(), state(1).to(torch.float64)

    def results(change):
        output, (hidden, weights) = rnn(inputs, given)
        parts = {"output": output, "hidden": hidden, "weights": weights}
        values = {name: part.detach().clone() for name, part in parts.items()}
        scaled = change(parts[changed])
        for name, part in parts.items():
            assert name == changed or torch.equal(part, values[name]), name
        parts[changed] = scaled
        loss = sum((index + 2) * part.square().sum() for index, part in enumerate(parts.values()))
        return torch.autograd.grad(loss, list(rnn.parameters()))

    want, got = results(lambda part: part * 0.5), results(lambda part: part.mul_(0.5))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("time", [0, 1, 3])
def test_a_state_that_is_given_stays_as_it_is_and_apart_from_the_one_returned(backend, time, graph):
    inputs, given = torch.randn(BATCH, time, HIDDEN), state()
    before = copy.deepcopy(given)
    with torch.set_grad_enabled(graph):
        for lengths in (None, torch.tensor([0, time, 0])):
            _, made = fast_weights_rnn(inputs, torch.eye(HIDDEN), None, None, given, lengths=lengths, backend=backend)
            assert same(given, before)
            made.hidden.zero_(), made.weights.zero_()
            assert same(given, before)


def test_a_streamed_step_does_not_change_the_state_it_is_given():
    cell, x, given = FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(BATCH, INPUT), state()
    before = copy.deepcopy(given)
    with torch.no_grad():
        first, second = cell(x, given), cell(x, given)
    assert same(given, before) and same(first, second) and cell.ran == "cpu"


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("backend", ["attention", "cpu"])
def test_without_a_state_batch_times_hidden_squared_numbers_are_never_allocated(backend, graph):
    rnn, inputs = FastWeightsRNN(INPUT, 64, backend=backend), torch.randn(3, 8, INPUT)

    def largest(need_state):
        buffers._spare.clear()  # memory that is lent again is not seen
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            output, _ = rnn(inputs, need_state=need_state)
            if graph:
                output.sum().backward()
        return max(event.self_cpu_memory_usage for event in profile.events())

    with torch.set_grad_enabled(graph):
        rnn(inputs)
        assert largest(False) < 8 * 64 * 64 * 4 <= largest(True)


@pytest.mark.parametrize("time", [1, 5])
@pytest.mark.parametrize("graph", [True, False])
def test_without_a_state_in_every_form_of_the_input(time, graph):
    rnn = FastWeightsRNN(INPUT, HIDDEN)
    inputs, given = torch.randn(time, BATCH, INPUT), state(1)
    packed = nn.utils.rnn.pack_padded_sequence(inputs, [time, 1, 1])
    with torch.set_grad_enabled(graph):
        for form, initial in ((inputs, None), (inputs, given), (inputs[:, 0], given.map(lambda each: each[:, 0]))):
            output, none = rnn(form, initial, need_state=False)
            assert none is None and torch.equal(output, rnn(form, initial)[0])
        output, none = rnn(packed, given, need_state=False)
        assert none is None and torch.equal(output.data, rnn(packed, given)[0].data)


@pytest.mark.parametrize("backend", BACKENDS)
def test_truncated_segments_have_the_gradients_of_a_state_that_is_given(backend):
    torch.manual_seed(0)
    rnn = FastWeightsRNN(INPUT, HIDDEN, dtype=torch.float64, backend=backend)
    first, second = torch.randn(2, 3, BATCH, INPUT, dtype=torch.float64)
    carried = rnn(first)[1]
    assert carried.hidden.requires_grad and carried.weights.requires_grad
    constant = tuple(torch.tensor(each.tolist(), dtype=torch.float64) for each in carried)
    got, want, whole = (
        torch.autograd.grad(rnn(second, given)[0].square().sum(), list(rnn.parameters()), retain_graph=True)
        for given in (carried.detach(), constant, carried)
    )
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(got, want, strict=True))
    assert not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, whole, strict=True))


def test_compiled_segments_have_the_gradients_of_eager_ones():
    torch.manual_seed(0)
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, batch_first=True, dtype=torch.float64)
    inputs = torch.randn(BATCH, 12, INPUT, dtype=torch.float64)
    torch._dynamo.reset()

    def gradients(network):
        rnn.zero_grad()
        carried, states = None, []
        for segment in inputs.split(4, dim=1):
            output, carried = network(segment, None if carried is None else carried.detach())
            (output.square().sum() + carried.weights.sum()).backward()
            states.append(carried)
        return [*(each.detach() for pair in states for each in pair), *(p.grad.clone() for p in rnn.parameters())]

    want, got = gradients(rnn), gradients(torch.compile(rnn, backend="aot_eager", fullgraph=True))
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-10) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("time", [1, 3])
def test_a_state_made_without_a_graph_goes_into_training(time):
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN), torch.randn(time, BATCH, INPUT)
    with torch.no_grad():
        warm = rnn(inputs)[1]
    with torch.inference_mode():
        frozen = rnn(inputs)[1]
    assert not warm.hidden.requires_grad and not warm.weights.requires_grad
    found = []
    for given in (rnn(inputs)[1].detach(), warm, frozen.map(torch.clone)):
        loss = rnn(inputs, given)[0].sum() + rnn(inputs, given)[1].weights.sum()
        found.append(torch.autograd.grad(loss, list(rnn.parameters())))
    for other in found[1:]:
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(other, found[0], strict=True))
