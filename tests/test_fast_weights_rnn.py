"""FastWeightsRNN and its cell stand where nn.GRU and nn.GRUCell stood."""

import copy
import inspect
import io
import math
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.errors import UserError
from fastweights.rules import Cosine, Delta, Hebbian
from fastweights.rules.cosine import direction

INPUT, HIDDEN, BATCH, TIME = 3, 5, 4, 6


def both(**options):
    return nn.GRU(INPUT, HIDDEN, **options), FastWeightsRNN(INPUT, HIDDEN, **options)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(TIME, INPUT), (TIME, BATCH, INPUT)])
def test_shapes_are_those_of_gru(num_layers, bidirectional, batch_first, shape):
    gru, ours = both(num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first)
    inputs = torch.randn(shape)
    want, last = gru(inputs)
    got, state = ours(inputs)
    assert got.shape == want.shape and state.hidden.shape == last.shape
    assert state.weights.shape == (*last.shape, HIDDEN)
    again, _ = ours(inputs, state)
    assert again.shape == want.shape and not torch.equal(again, got)
    empty = (torch.zeros_like(last), last.new_zeros(*last.shape, HIDDEN))
    assert torch.equal(ours(inputs, empty)[0], got)
    alone, none = ours(inputs, need_state=False)
    assert torch.equal(alone, got) and none is None


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences_equal_each_sequence_alone(num_layers, bidirectional, enforce_sorted):
    rnn = FastWeightsRNN(INPUT, HIDDEN, num_layers, bidirectional=bidirectional, dtype=torch.float64)
    lengths = [6, 6, 3, 1] if enforce_sorted else [3, 6, 1, 6]
    sequences = [torch.randn(length, INPUT, dtype=torch.float64) for length in lengths]
    packed = pack_sequence(sequences, enforce_sorted=enforce_sorted)
    shape = (num_layers * (1 + bidirectional), BATCH, HIDDEN)
    drawn = torch.randn(shape, dtype=torch.float64), 0.1 * torch.randn(*shape, HIDDEN, dtype=torch.float64)
    initial = FastWeightsState(*drawn)
    output, state = rnn(packed, initial)
    assert torch.equal(output.batch_sizes, packed.batch_sizes)
    padded, got_lengths = pad_packed_sequence(output)
    assert got_lengths.tolist() == lengths
    for place, sequence in enumerate(sequences):
        alone, last = rnn(sequence, (initial.hidden[:, place], initial.weights[:, place]))
        assert torch.allclose(padded[: len(sequence), place], alone, atol=1e-12)
        assert torch.allclose(state.hidden[:, place], last.hidden, atol=1e-12)
        assert torch.allclose(state.weights[:, place], last.weights, atol=1e-12)


def test_packed_data_lies_as_in_gru():
    gru, ours = both()
    packed = pack_padded_sequence(torch.randn(TIME, BATCH, INPUT), torch.tensor([2, 6, 2, 2]), enforce_sorted=False)
    want, got = gru(packed)[0], ours(packed)[0]
    assert torch.equal(want.batch_sizes, got.batch_sizes) and want.data.shape == got.data.shape
    assert torch.equal(want.sorted_indices, got.sorted_indices)
    assert torch.equal(want.unsorted_indices, got.unsorted_indices)


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


def test_copies_files_and_dtypes():
    rnn = FastWeightsRNN(INPUT, HIDDEN, learned=("decay",))
    inputs = torch.randn(TIME, BATCH, INPUT)
    want = rnn(inputs)[0]
    assert torch.equal(copy.deepcopy(rnn)(inputs)[0], want)
    file = io.BytesIO()
    torch.save(rnn.state_dict(), file)
    file.seek(0)
    other = FastWeightsRNN(INPUT, HIDDEN, learned=("decay",))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(inputs)[0], want)
    assert torch.allclose(rnn.double()(inputs.double())[0].float(), want, atol=1e-5)
    assert rnn.to("cpu", torch.float32)(inputs)[0].dtype == torch.float32
    rnn.flatten_parameters()


def test_whole_module_survives_torch_save():
    rnn = FastWeightsRNN(INPUT, HIDDEN)
    inputs = torch.randn(TIME, BATCH, INPUT)
    file = io.BytesIO()
    torch.save(rnn, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(inputs)[0], rnn(inputs)[0])


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
    from fastweights.nn.fast_weights_layer import current_rule

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


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"hidden_size": 0}, ValueError, "got hidden_size=0, wanted an integer >= 1"),
        ({"input_size": -1}, ValueError, "got input_size=-1"),
        ({"num_layers": 1.5}, ValueError, "got num_layers=1.5"),
        ({"dropout": 1.5}, ValueError, "got dropout=1.5, wanted a number in"),
        ({"dropout": "0.5"}, ValueError, "got dropout='0.5', wanted a number in"),
        ({"inner_steps": -1}, ValueError, "inner_steps: got -1, wanted an integer >= 0"),
        ({"inner_steps": 1.5}, ValueError, "inner_steps: got 1.5"),
        ({"nonlinearity": "sigmoid"}, ValueError, "nonlinearity: got 'sigmoid', wanted 'relu' or 'tanh'"),
        ({"rule": "hebbian"}, TypeError, "rule: got 'hebbian', wanted an update rule"),
        ({"learned": ("strength",)}, ValueError, r"got 'strength', wanted constants of Cosine \(decay, rate\)"),
        ({"learned": "decay"}, TypeError, r"got the string 'decay', wanted a tuple"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        FastWeightsRNN(**{"input_size": INPUT, "hidden_size": HIDDEN} | options)
    if not {"num_layers", "dropout"} & options.keys():
        with pytest.raises(error, match=message):
            FastWeightsRNNCell(**{"input_size": INPUT, "hidden_size": HIDDEN} | options)


@pytest.mark.usefixtures("as_users_have_it")
def test_bad_inputs():
    rnn, cell = FastWeightsRNN(INPUT, HIDDEN), FastWeightsRNNCell(INPUT, HIDDEN)
    with pytest.raises(ValueError, match="got 4 features a step, wanted input_size=3"):
        rnn(torch.zeros(TIME, BATCH, 4))
    with pytest.raises(ValueError, match="got shape .*wanted 2 axes"):
        rnn(torch.zeros(3))
    with pytest.raises(ValueError, match=r"state: got hidden \[1, 3, 5\], wanted \[1, 4, 5\]"):
        rnn(torch.zeros(TIME, BATCH, INPUT), (torch.zeros(1, 3, HIDDEN), torch.zeros(1, 3, HIDDEN, HIDDEN)))
    with pytest.raises(ValueError, match=r"state: got hidden \[1, 4, 5\], wanted \[1, 5\] to go with an input"):
        rnn(torch.zeros(TIME, INPUT), (torch.zeros(1, BATCH, HIDDEN), torch.zeros(1, BATCH, HIDDEN, HIDDEN)))
    with pytest.raises(ValueError, match="state: got tuple of 1, wanted a pair"):
        rnn(torch.zeros(TIME, BATCH, INPUT), (torch.zeros(1, BATCH, HIDDEN),))
    with pytest.raises(ValueError, match="input: got list"):
        cell([0.0] * INPUT)
    for shape in [(BATCH, INPUT), (INPUT,)]:
        with pytest.raises(ValueError, match="state: got tuple of 1, wanted a pair"), torch.no_grad():
            cell(torch.zeros(shape), (torch.zeros(BATCH, HIDDEN),))
    with pytest.raises(ValueError, match=r"got shape \[4, 4\], wanted \[batch, 3\] or \[3\]"):
        cell(torch.zeros(4, 4))


class Tagger(nn.Module):
    """A real model in small: embeds, packs, reads both ways, classifies the last states and tags each step."""

    def __init__(self, recurrent):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.rnn = recurrent(8, 12, num_layers=2, batch_first=True, dropout=0.1, bidirectional=True)
        self.classify, self.tag = nn.Linear(24, 3), nn.Linear(24, 5)

    def forward(self, tokens, lengths):
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        output, state = self.rnn(packed)
        h_n = state.hidden if isinstance(state, FastWeightsState) else state
        output, _ = pad_packed_sequence(output, batch_first=True)
        return self.classify(torch.cat([h_n[-2], h_n[-1]], dim=1)), self.tag(output)


@pytest.mark.parametrize("recurrent", [nn.GRU, FastWeightsRNN])
def test_a_model_made_for_gru_trains_with_one_change(recurrent):
    """Its classes: whether token 1 came at all; its tags: the token itself, modulo 5."""
    torch.manual_seed(0)
    model = Tagger(recurrent)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    tokens, lengths = torch.randint(20, (64, 9)), torch.randint(3, 10, (64,))
    lengths[0] = 9
    inside = torch.arange(9) < lengths[:, None]
    label = ((tokens == 1) & inside).any(1).long()
    losses = []
    for _ in range(120):
        classes, tags = model(tokens, lengths)
        loss = nn.functional.cross_entropy(classes, label) + nn.functional.cross_entropy(
            tags[inside], tokens[inside] % 5
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_no_warning_at_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output, _ = FastWeightsRNN(INPUT, HIDDEN, 2, dropout=0.1)(torch.randn(TIME, BATCH, INPUT))
        output.sum().backward()


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


@pytest.mark.parametrize("learned", [(), ("decay", "rate")])
def test_autocast_keeps_the_memory_in_the_precision_of_the_weights(learned):
    rnn, cell = FastWeightsRNN(INPUT, 20, 2, learned=learned), FastWeightsRNNCell(INPUT, 20, learned=learned)
    inputs = torch.randn(TIME, BATCH, INPUT)
    want = rnn(inputs)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = rnn(inputs)
        stepped = cell(inputs[1], cell(inputs[0]))
    assert output.dtype == state.weights.dtype == stepped.weights.dtype == torch.float32
    assert torch.allclose(output, want, atol=0.1)
    (output.sum() + stepped.hidden.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in [*rnn.parameters(), *cell.parameters()])


@pytest.mark.parametrize("time", [1, TIME])
@pytest.mark.parametrize("grad", [False, True])
def test_an_output_changed_in_place_leaves_the_state_and_the_gradient(time, grad):
    rnn, inputs = FastWeightsRNN(INPUT, HIDDEN, nonlinearity="tanh"), torch.randn(time, BATCH, INPUT)
    with torch.set_grad_enabled(grad):
        state = rnn(inputs)[1]
        want = rnn(inputs, state)[1]
        output, got = rnn(inputs, state)
        output.mul_(0)
        assert torch.equal(got.hidden, want.hidden) and torch.equal(got.weights, want.weights)
        if grad:
            nn.functional.dropout(rnn(inputs)[0], 0.5, inplace=True).sum().backward()


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_names_that_gru_has_for_its_arguments(layer_norm):
    """hx= for the state, and bias=False, which must equal a bias that stays zero."""
    rnn = FastWeightsRNN(INPUT, HIDDEN, 2, bias=False, layer_norm=layer_norm, nonlinearity="tanh")
    assert not [name for name, _ in rnn.named_parameters() if name.startswith("bias")]
    assert "bias=False" in repr(rnn)
    twin = FastWeightsRNN(INPUT, HIDDEN, 2, bias=True, layer_norm=layer_norm, nonlinearity="tanh")
    twin.load_state_dict(rnn.state_dict(), strict=False)
    inputs, given = (
        torch.randn(TIME, BATCH, INPUT),
        (torch.randn(2, BATCH, HIDDEN), torch.zeros(2, BATCH, HIDDEN, HIDDEN)),
    )
    want = twin(inputs, given)[0]
    assert torch.equal(rnn(inputs, hx=given)[0], want) and not torch.equal(rnn(inputs)[0], want)
    cell = FastWeightsRNNCell(INPUT, HIDDEN, bias=False, layer_norm=layer_norm, nonlinearity="tanh")
    with torch.no_grad():
        streamed = cell(inputs[0], hx=(given[0][0], given[1][0])).hidden
    assert torch.allclose(cell(inputs[0], (given[0][0], given[1][0])).hidden, streamed, atol=1e-6)


@pytest.mark.parametrize("time", [1, 3, 300])
@pytest.mark.parametrize("layers", [1, 2])
def test_an_empty_batch_has_a_gradient_as_that_of_a_gru(time, layers):
    rnn = FastWeightsRNN(5, 8, num_layers=layers, batch_first=True)
    output, state = rnn(torch.randn(0, time, 5))
    assert output.shape == (0, time, 8) and state.weights.shape == (layers, 0, 8, 8)
    output.sum().backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in rnn.parameters())


def test_the_arguments_are_those_of_lstm_in_its_order():
    theirs = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    for kind, names in ((FastWeightsRNN, theirs), (FastWeightsRNNCell, ["input_size", "hidden_size", "bias"])):
        parameters = inspect.signature(kind).parameters.values()
        by_place = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        assert by_place == names
        assert {"rule", "learned", "device", "dtype"} <= {
            each.name for each in parameters if each.kind is each.KEYWORD_ONLY
        }
        with pytest.raises(TypeError, match="positional argument"):
            kind(*range(1, len(names) + 1), Hebbian())
    ours, lstm = (kind(INPUT, HIDDEN, 2, False, True, 0.5, True) for kind in (FastWeightsRNN, nn.LSTM))
    assert [getattr(ours, name) for name in theirs if name != "bias"] == [
        getattr(lstm, name) for name in theirs if name != "bias"
    ]
    assert not any("bias" in name for name, _ in ours.named_parameters())
    assert ours(torch.randn(BATCH, TIME, INPUT))[0].shape == lstm(torch.randn(BATCH, TIME, INPUT))[0].shape


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
