"""FastWeightsRNN and its cell stand where nn.GRU and nn.GRUCell stood."""

import copy
import inspect
import io
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from fastweights import FastWeightsRNN, FastWeightsRNNCell, FastWeightsState
from fastweights.rules import Hebbian

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
