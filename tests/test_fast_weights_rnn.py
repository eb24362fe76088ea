"""What FastWeightsRNN and its cell compute: layers, constants, attention."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from fastweights import FastWeightsRNN, FastWeightsRNNCell
from fastweights.errors import UserError
from fastweights.rules import Cosine, Delta, Hebbian
from fastweights.rules.cosine import direction

INPUT, HIDDEN, BATCH, TIME = 3, 5, 4, 6


@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_are_stacked_single_layers(bidirectional):
    options = {"bidirectional": bidirectional, "dtype": torch.float64}
    deep = FastWeightsRNN(INPUT, HIDDEN, 2, **options)
    directions = 1 + bidirectional
    first = FastWeightsRNN(INPUT, HIDDEN, 1, **options)
    second = FastWeightsRNN(HIDDEN * directions, HIDDEN, 1, **options)
    for name, parameter in deep.named_parameters():
        single = first if "_l0" in name else second
        single.get_parameter(name.replace("_l1", "_l0")).data.copy_(parameter.data)
    inputs = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    middle, a = first(inputs)
    want, b = second(middle)
    got, state = deep(inputs)
    assert torch.allclose(got, want) and torch.allclose(state.weights, torch.cat([a.weights, b.weights]))


def test_streaming_equals_whole_sequence():
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, dtype=torch.float64)
    inputs = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    whole, last = rnn(inputs)
    state, outputs = None, []
    for t in range(TIME):
        output, state = rnn(inputs[t : t + 1], state)
        outputs.append(output)
    assert torch.allclose(torch.cat(outputs), whole, atol=1e-12)
    assert torch.allclose(state.weights, last.weights, atol=1e-12)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("learned", [(), ("decay", "rate")])
def test_cell_equals_module(layer_norm, learned):
    options = {"layer_norm": layer_norm, "learned": learned, "dtype": torch.float64, "inner_steps": 2}
    rnn, cell = FastWeightsRNN(INPUT, HIDDEN, **options), FastWeightsRNNCell(INPUT, HIDDEN, **options)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in rnn.state_dict().items()})
    inputs = torch.randn(TIME, BATCH, INPUT, dtype=torch.float64)
    whole, last = rnn(inputs)
    state = None
    for t in range(TIME):
        state = cell(inputs[t], state)
        assert torch.allclose(state.hidden, whole[t], atol=1e-12)
    assert torch.allclose(state.weights, last.weights[0], atol=1e-12)
    alone = None
    for t in range(TIME):
        alone = cell(inputs[t, 0], alone)
    assert alone.hidden.shape == (HIDDEN,) and torch.allclose(alone.hidden, whole[-1, 0], atol=1e-12)


def test_dropout_acts_between_layers_in_training_only():
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, dropout=0.5)
    inputs = torch.randn(TIME, BATCH, INPUT)
    assert not torch.equal(rnn(inputs)[0], rnn(inputs)[0])
    rnn.eval()
    assert torch.equal(rnn(inputs)[0], rnn(inputs)[0])
    with pytest.warns(UserWarning, match="dropout acts between layers"):
        FastWeightsRNN(INPUT, HIDDEN, dropout=0.5)


def test_initialisation_is_that_of_the_paper():
    rnn = FastWeightsRNN(40, 64, 2, bidirectional=True)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        assert torch.equal(rnn.get_parameter("weight_hh" + suffix), 0.05 * torch.eye(64))
        weight = rnn.get_parameter("weight_ih" + suffix)
        assert weight.abs().max() <= 1 / 8 and weight.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.05)
        assert (rnn.get_parameter("gain" + suffix) == 1).all() and (rnn.get_parameter("bias" + suffix) == 0).all()
    before = {name: value.clone() for name, value in rnn.state_dict().items()}
    rnn.reset_parameters()
    assert not torch.equal(before["weight_ih_l0"], rnn.weight_ih_l0)
    assert torch.equal(before["weight_hh_l0"], rnn.weight_hh_l0)


def test_extra_repr_names_what_differs_from_the_default():
    text = repr(FastWeightsRNN(INPUT, HIDDEN, 2, batch_first=True, inner_steps=3, learned=("decay",)))
    assert "3, 5, num_layers=2, batch_first=True, learned=('decay',), inner_steps=3" in text
    assert "rule=Cosine(decay=0.92, rate=1.0)" in text and "learned" not in repr(FastWeightsRNN(INPUT, HIDDEN))
    assert "bidirectional" not in text


@pytest.mark.parametrize("rule", [Hebbian(decay=1.0, rate=0.0), Hebbian(0.9, 0.5), Delta(decay=0.3, rate=1.5)])
def test_learned_constants_stay_in_their_range(rule):
    rnn = FastWeightsRNN(INPUT, HIDDEN, rule=rule, learned=("decay", "rate"))
    optimizer = torch.optim.SGD(rnn.parameters(), lr=100.0)
    for sign in (1, -1):
        for _ in range(5):
            output, state = rnn(torch.randn(TIME, BATCH, INPUT))
            optimizer.zero_grad()
            (sign * (output.sum() + state.weights.sum())).backward()
            assert rnn.decay_raw_l0.grad is not None and rnn.rate_raw_l0.grad is not None
            nn.utils.clip_grad_norm_(rnn.parameters(), 1.0)
            optimizer.step()
    for name in ("decay", "rate"):
        fresh = FastWeightsRNN(INPUT, HIDDEN, rule=rule, learned=(name,))
        start = getattr(fresh_rule(fresh), name).item()
        assert start == pytest.approx(getattr(rule, name), abs=3e-4)


def fresh_rule(rnn):
    from fastweights.nn.recurrent_layer import current_rule

    return current_rule(rnn, "_l0")


def test_the_literal_delta_rule_trains_through_the_reference():
    rnn = FastWeightsRNN(INPUT, HIDDEN, rule=Delta(normalize_key=False), learned=("rate",))
    output, _ = rnn(torch.randn(TIME, BATCH, INPUT))
    assert rnn.ran == "reference"
    output.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in rnn.parameters())


def test_symbols_are_a_lookup_of_the_same_numbers():
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, batch_first=True, dtype=torch.float64)
    features, symbols = torch.randn(9, INPUT, dtype=torch.float64), torch.randint(9, (BATCH, TIME))
    want, _ = rnn(features[symbols])
    assert torch.allclose(rnn.last_of_symbols(symbols, features)[0], want[:, -1])


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 2])
@pytest.mark.parametrize("rule", [Hebbian(), Cosine()])
def test_attention_is_the_read_of_the_fast_weights(layer_norm, inner_steps, rule):
    """Row t times what is stored of the past is what A(t-1) read: the next output follows from it."""
    options = {"rule": rule, "layer_norm": layer_norm, "inner_steps": inner_steps}
    rnn = FastWeightsRNN(INPUT, HIDDEN, batch_first=True, dtype=torch.float64, **options)
    inputs = torch.randn(BATCH, TIME, INPUT, dtype=torch.float64)
    outputs, _ = rnn(inputs)
    weights = rnn.attention(inputs)
    assert torch.equal(weights, weights.tril(-1))
    before = torch.cat([torch.zeros(BATCH, 1, HIDDEN, dtype=torch.float64), outputs[:, :-1]], dim=1)
    bias = None if layer_norm else rnn.bias_l0
    boundary = nn.functional.linear(inputs, rnn.weight_ih_l0, bias) + before @ rnn.weight_hh_l0.T
    settled = boundary + weights @ (direction(outputs) if type(rule) is Cosine else outputs)
    if layer_norm:
        settled = nn.functional.layer_norm(settled, (HIDDEN,), rnn.gain_l0, rnn.bias_l0)
    assert torch.allclose(settled.relu(), outputs, atol=1e-10)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_of_each_layer_and_direction(batch_first):
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, batch_first=batch_first, bidirectional=True, dtype=torch.float64)
    inputs = torch.randn(BATCH, TIME, INPUT, dtype=torch.float64)
    given = inputs if batch_first else inputs.transpose(0, 1)
    below = rnn(given)[0]
    above = FastWeightsRNN(2 * HIDDEN, HIDDEN, batch_first=True, dtype=torch.float64)
    lower = FastWeightsRNN(INPUT, HIDDEN, batch_first=True, bidirectional=True, dtype=torch.float64)
    lower.load_state_dict({k: v for k, v in rnn.state_dict().items() if "_l0" in k})
    for reverse, suffix in ((False, "_l1"), (True, "_l1_reverse")):
        state = {k.replace(suffix, "_l0"): v for k, v in rnn.state_dict().items() if k.endswith(suffix)}
        above.load_state_dict(state)
        seen = lower(inputs)[0]
        want = above.attention(seen.flip(1) if reverse else seen)
        assert torch.allclose(rnn.attention(given, 1, reverse), want)
    assert below.shape[-1] == 2 * HIDDEN
    for wrong in ({"layer": 2}, {"layer": -1}):
        with pytest.raises(ValueError, match="wanted a layer from 0 to 1"):
            rnn.attention(given, **wrong)
    with pytest.raises(ValueError, match="which have one direction"):
        lower_one = FastWeightsRNN(INPUT, HIDDEN)
        lower_one.attention(given, reverse=True)


def test_the_nonlinearity_sees_unit_variance():
    """With layer norm always; without it, for one-hot symbols at the classifier's input scale."""
    from builds import build

    from fastweights.training.config import Config

    seen = []
    original = torch.relu
    model = build("CONTROL", Config(hidden_size=200), 37, 10)
    boundary = model.recurrent._project(0, model.features)[0]
    assert boundary.var().item() == pytest.approx(1.0, rel=0.05)
    rnn = FastWeightsRNN(INPUT, 50, backend="reference")
    try:
        torch.relu = lambda x: seen.append(x.detach()) or original(x)
        rnn(torch.randn(TIME, BATCH, INPUT))
    finally:
        torch.relu = original
    settled = torch.stack(seen[1::2])  # every second one is h_1, after the layer norm; the others are h_0
    assert settled.mean(-1).abs().max() < 1e-5
    assert settled.var(-1, unbiased=False).mean().item() == pytest.approx(1.0, abs=0.01)


def test_learned_constants_have_an_axis():
    """As FSDP wants it, which refuses scalars."""
    for network in (
        FastWeightsRNN(INPUT, HIDDEN, 2, learned=("decay", "rate")),
        FastWeightsRNNCell(INPUT, HIDDEN, learned=("rate",)),
    ):
        raw = {name: parameter.shape for name, parameter in network.named_parameters() if "_raw" in name}
        assert len(raw) in (1, 4) and set(raw.values()) == {(1,)}
        assert all(parameter.dim() for parameter in network.parameters())


@pytest.mark.parametrize("graph", [True, False])
def test_what_ran_last_is_said_and_no_more_than_said(graph):
    rnn, cell, inputs = FastWeightsRNN(INPUT, HIDDEN), FastWeightsRNNCell(INPUT, HIDDEN), torch.randn(1, BATCH, INPUT)
    assert rnn.ran is None and cell.ran is None
    with torch.set_grad_enabled(graph):
        for name in ("attention", "reference", "cpu"):
            for module, given in ((rnn, inputs), (cell, inputs[0])):
                module.backend = name
                module(given)
                assert module.ran == name
                assert copy.deepcopy(module).ran == pickle.loads(pickle.dumps(module)).ran == name
                assert "ran" not in module.state_dict()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_tokens_are_no_input(dtype):
    rnn, cell = FastWeightsRNN(5, 8, batch_first=True), FastWeightsRNNCell(5, 8)
    tokens, one_hot = torch.ones(2, 3, dtype=dtype), torch.ones(2, 3, 5, dtype=dtype)
    packed = pack_padded_sequence(one_hot, torch.tensor([3, 3]), batch_first=True)
    calls = [(rnn, tokens), (rnn, one_hot), (rnn, one_hot[:, :1]), (rnn, packed), (rnn.diagnose, tokens), (rnn.diagnose, one_hot),
             (rnn.attention, one_hot), (cell, tokens[:, 0]), (cell, one_hot[:, 0])]  # fmt: skip
    for grad in (True, False):
        for call, given in calls:
            name = str(dtype)[6:]
            with torch.set_grad_enabled(grad), pytest.raises(UserError, match=f"got {name}, wanted floats; tokens are"):
                call(given)
