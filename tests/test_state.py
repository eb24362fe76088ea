import copy
import io

import pytest
import torch

from fastweights.nn import FastWeightsRNN
from fastweights.ops import FastWeightsState, fast_weights_rnn
from fastweights.rules import Hebbian


def final_state(backend="attention", grad=True):
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 4, requires_grad=grad)
    ones = torch.ones(4)
    return inputs, fast_weights_rnn(inputs, 0.1 * torch.eye(4), ones, 0 * ones, backend=backend)[1]


def test_weights_are_computed_when_first_read_and_not_before():
    _, state = final_state()
    assert "not computed yet" in repr(state)
    first = state.weights
    assert state.weights is first and "computed" in repr(state)


def test_reading_the_weights_without_grad_does_not_cut_the_graph():
    inputs, state = final_state()
    with torch.no_grad():
        _ = state.weights.norm()
    state.weights.sum().backward()
    assert inputs.grad is not None and inputs.grad.abs().sum() > 0


def test_a_state_made_without_grad_stays_without():
    with torch.no_grad():
        _, state = final_state()
    assert not state.weights.requires_grad


def test_detach_cuts_both():
    _, state = final_state()
    cut = state.detach()
    assert not cut.hidden.requires_grad and not cut.weights.requires_grad
    assert torch.equal(cut.weights, state.weights)


def test_none_means_an_empty_memory():
    state = FastWeightsState(torch.ones(2, 3))
    assert state.is_empty
    assert torch.equal(state.weights, torch.zeros(2, 3, 3))


def test_it_stands_where_h_n_stood():
    hidden = torch.randn(2, 3, 4)
    state = FastWeightsState(hidden)
    assert torch.equal(state[-1], hidden[-1])
    assert torch.equal(torch.cat([state[-2], state[-1]], dim=1), torch.cat([hidden[-2], hidden[-1]], dim=1))
    assert torch.equal(torch.cat([state, state], dim=0), torch.cat([hidden, hidden]))
    assert torch.equal(state.transpose(0, 1), hidden.transpose(0, 1))
    assert state.shape == hidden.shape and len(state) == 2
    assert torch.nn.Linear(4, 2)(state).shape == (2, 3, 2)
    assert [h.shape for h in state] == [(3, 4), (3, 4)]
    with pytest.raises(AttributeError):
        _ = state.no_such_thing


def test_choose_and_reset_samples():
    state = FastWeightsState(torch.randn(1, 3, 4), torch.randn(1, 3, 4, 4))
    chosen = state.index_select(1, torch.tensor([2, 2, 0]))
    assert torch.equal(chosen.hidden[0, 1], state.hidden[0, 2]) and torch.equal(
        chosen.weights[0, 1], state.weights[0, 2]
    )
    fresh = state.reset(torch.tensor([True, False, False]))
    assert (fresh.hidden[0, 0] == 0).all() and (fresh.weights[0, 0] == 0).all()
    assert torch.equal(fresh.weights[0, 1], state.weights[0, 1])
    with pytest.raises(ValueError, match=r"got torch.bool of shape \[2\], wanted torch.bool of shape \[3\]"):
        state.reset(torch.tensor([True, False]))


def test_copies_and_files():
    _, state = final_state(grad=False)
    assert torch.equal(copy.deepcopy(state).weights, state.weights)
    file = io.BytesIO()
    torch.save({"hidden": state.hidden, "weights": state.weights}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert torch.equal(FastWeightsState(**loaded).weights, state.weights)
    assert state.to(torch.float64).weights.dtype == torch.float64
    assert torch.equal(state.clone().hidden, state.hidden)


def test_trees_of_tensors():
    _, state = final_state(grad=False)
    doubled = torch.utils._pytree.tree_map(lambda tensor: 2 * tensor, {"state": state})["state"]
    assert torch.equal(doubled.hidden, 2 * state.hidden) and torch.equal(doubled.weights, 2 * state.weights)


@pytest.mark.parametrize("backend", ["attention", "cpu"])
def test_a_stream_that_never_reads_its_weights_keeps_little_of_the_past(backend):
    """5,000 states that waited for one another would overflow the stack, and hold the whole past until then."""
    ones, recurrent, state = torch.ones(4), 0.1 * torch.eye(4), None
    inputs = torch.randn(5000, 2, 1, 4)
    for token in inputs:
        _, state = fast_weights_rnn(token, recurrent, ones, 0 * ones, state, inner_steps=0, backend=backend)
        assert state.pending <= 32
    whole = fast_weights_rnn(inputs.transpose(0, 2)[0], recurrent, ones, 0 * ones, inner_steps=0, backend="reference")[
        1
    ]
    assert torch.allclose(state.weights, whole.weights, atol=1e-4)


@pytest.mark.parametrize(
    "idiom", ["contiguous", "cpu", "double", "clone", "detach", "detach_", "torch.clone", "torch.detach"]
)
def test_what_code_for_gru_does_to_h_n_keeps_the_memory(idiom):
    _, state = final_state()
    weights = state.weights.detach().clone()
    kept = getattr(torch, idiom[6:])(state) if idiom.startswith("torch.") else getattr(state, idiom)()
    assert isinstance(kept, FastWeightsState) and torch.equal(kept.weights.float(), weights)
    if "detach" in idiom:
        assert not kept.hidden.requires_grad and not kept.weights.requires_grad


def test_samples_of_all_layers_keep_their_memory():
    state = FastWeightsState(torch.randn(2, 3, 4), torch.randn(2, 3, 4, 4))
    for index in [(slice(None), torch.tensor([2, 0])), slice(0, 1), (slice(None), slice(1, 3))]:
        chosen = state[index]
        assert torch.equal(chosen.hidden, state.hidden[index]) and torch.equal(chosen.weights, state.weights[index])
    for index in [-1, (-1, 0), (slice(None), slice(None), 0), (slice(None), ..., 0), (0, slice(None))]:
        assert isinstance(state[index], torch.Tensor) and torch.equal(state[index], state.hidden[index])
    assert len(list(state)) == 2


def test_arithmetic_is_that_of_the_hidden_vectors():
    hidden = torch.randn(2, 3, 4)
    state = FastWeightsState(hidden)
    for got, want in [
        (state + 1, hidden + 1), (1 - state, 1 - hidden), (2 * state, 2 * hidden), (-state, -hidden),
        (state / 2, hidden / 2), (state**2, hidden**2), (state > 0, hidden > 0), (state + state, 2 * hidden),
        (hidden * state, hidden * hidden), (state @ torch.eye(4), hidden), (state == 0, hidden == 0),
        (state != state, hidden != hidden), (state >= 0, hidden >= 0), (state <= 0, hidden <= 0), (abs(state), hidden.abs()),
        (state // 1, hidden // 1), (state % 1, hidden % 1), (2**state, 2**hidden),
        (7 // (state + 9), 7 // (hidden + 9)), (7 % (state + 9), 7 % (hidden + 9)),
    ]:  # fmt: skip
        assert torch.equal(got, want)
    assert state in {state: 1}


def test_shapes_can_be_had_without_memory():
    _, state = FastWeightsRNN(3, 4, device="meta")(torch.zeros(5, 2, 3, device="meta"))
    assert state.weights.shape == (1, 2, 4, 4)


@pytest.mark.parametrize("time", [1, 2, 5])
@pytest.mark.parametrize("batch", [3, 20])
@pytest.mark.parametrize("graph", [True, False])
def test_the_weights_do_not_follow_a_hidden_vector_that_is_changed_in_place(time, batch, graph):
    rnn, inputs = FastWeightsRNN(5, 8, batch_first=True), torch.randn(batch, time, 5)
    with torch.set_grad_enabled(graph):
        want, (output, state) = rnn(inputs)[1].weights, rnn(inputs)
    with torch.no_grad():
        state = state.detach()
        state.hidden.zero_()
        output.zero_()
        assert torch.equal(state.weights, want)


@pytest.mark.parametrize("read", [True, False])
def test_a_state_is_cut_in_place(read):
    _, state = final_state()
    want = state.weights.detach().clone() if read else final_state()[1].weights.detach()
    assert state.detach_() is state and state.is_computed == read
    assert torch.equal(state.weights, want) and not state.weights.requires_grad and not state.hidden.requires_grad


def test_a_clone_follows_no_later_change():
    _, state = final_state(grad=False)
    for copied in (state.clone(), torch.clone(state)):
        want = final_state(grad=False)[1].weights
        with torch.no_grad():
            state.weights.zero_()
        assert torch.equal(copied.weights, want)
        _, state = final_state(grad=False)


def test_lengths_and_constants_may_be_changed_before_the_weights_are_read():
    def run(lengths, rate):
        torch.manual_seed(0)
        inputs = torch.randn(2, 5, 4)
        return fast_weights_rnn(inputs, 0.1 * torch.eye(4), lengths=lengths, rule=Hebbian(0.9, rate))[1]

    lengths, rate = torch.tensor([5, 3]), torch.tensor(0.5)
    want = run(lengths.clone(), rate.clone()).weights
    state = run(lengths, rate)
    lengths.sub_(2)
    rate.fill_(2.0)
    assert torch.equal(state.weights, want)


@pytest.mark.parametrize("made", [True, False])
def test_a_state_crosses_the_border_of_a_compiled_graph(made):
    rnn, inputs = FastWeightsRNN(5, 8, batch_first=True), torch.randn(2, 6, 5)
    compiled = torch.compile(rnn, backend="eager")
    first, then = (compiled, rnn) if made else (rnn, compiled)
    want = rnn(inputs, rnn(inputs)[1])[1].weights
    assert torch.allclose(then(inputs, first(inputs)[1])[1].weights, want, atol=1e-6)
