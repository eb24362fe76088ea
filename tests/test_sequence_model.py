"""The model around a recurrent network: encoder, network, head, for every kind of task."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fastweights.nn import FastWeightsRNN, SequenceModel
from fastweights.tasks import NOTHING, AssociativeRetrieval, Batch, Copying, Spec, answers
from fastweights.training.config import Config
from fastweights.training.setup import Setup

SMALL = Config(hidden_size=12)
TASK = AssociativeRetrieval(2)
SPECS = {
    "symbols, last": Spec(7, 3),
    "symbols, every": Spec(7, 3, every=True),
    "vectors, last": Spec(4, 3, symbols=False),
    "vectors, every": Spec(4, 3, symbols=False, every=True),
}
NETWORKS = {
    "fast weights": lambda size: FastWeightsRNN(size, 5, batch_first=True),
    "torch": lambda size: nn.GRU(size, 5, batch_first=True),
}
both = pytest.mark.parametrize("network", NETWORKS)
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def made(network, spec, **options):
    size = options.get("embedding_sizes", (spec.inputs,))[-1]
    return SequenceModel(NETWORKS[network](size), spec, 5, **options)


def inputs_of(spec, batch=6, time=9):
    g = torch.Generator().manual_seed(1)
    if spec.symbols:
        return torch.randint(spec.inputs, (batch, time), generator=g)
    return torch.randn(batch, time, spec.inputs, generator=g)


@pytest.mark.parametrize("embedding_sizes, head_sizes", [((), ()), ((7,), (9,)), ((7, 11), (9, 5))])
@both
@every_spec
def test_it_is_encoder_network_head(network, spec, embedding_sizes, head_sizes):
    sizes = {"embedding_sizes": embedding_sizes} if embedding_sizes else {}
    model = made(network, spec, head_sizes=head_sizes, **sizes)
    inputs = inputs_of(spec)
    features = nn.functional.one_hot(inputs, spec.inputs).float() if spec.symbols else inputs
    output = model.recurrent(model.embedding(features * model.input_scale))[0]
    expected = model.head(output if spec.every else output[:, -1])
    assert torch.allclose(model(inputs), expected, atol=1e-5)


@both
@every_spec
def test_step_by_step_is_the_whole_sequence(network, spec):
    model, inputs, state = made(network, spec), inputs_of(spec), None
    steps = []
    for time in range(inputs.shape[1]):
        answer, state = model.step(inputs[:, time], state)
        steps.append(answer)
    expected = model(inputs)
    assert torch.allclose(torch.stack(steps, 1) if spec.every else steps[-1], expected, atol=1e-5)


@both
@every_spec
def test_a_sequence_ends_at_its_length(network, spec):
    model, inputs = made(network, spec), inputs_of(spec)
    lengths = torch.tensor([1, 9, 4, 2, 9, 5])
    answered = model(inputs, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(inputs[row : row + 1, :length])[0]
        assert torch.allclose(answered[row, :length] if spec.every else answered[row], alone, atol=1e-5)


@both
@pytest.mark.parametrize("wrong", [[0, 1, 1, 1, 1, 1], [10] * 6, [-1] * 6, [1.0] * 6, [1], [[1]] * 6])
def test_lengths_that_no_sequence_has_are_refused(network, wrong):
    spec = SPECS["symbols, last"]
    with pytest.raises(ValueError, match="lengths: got"):
        made(network, spec)(inputs_of(spec), lengths=torch.tensor(wrong))


@both
def test_the_head_is_computed_where_it_is_asked_alone(network):
    spec = SPECS["symbols, every"]
    model, inputs = made(network, spec), inputs_of(spec)
    asked = torch.rand(inputs.shape) < 0.3
    seen = []
    model.head.register_forward_hook(lambda module, given, result: seen.append(len(given[0])))
    assert torch.allclose(model(inputs, asked=asked), model(inputs)[asked], atol=1e-6)
    assert seen[0] == int(asked.sum())


@both
def test_answers_at_every_step_are_those_asked_for(network):
    spec = SPECS["symbols, every"]
    model, inputs = made(network, spec), inputs_of(spec)
    targets = torch.randint(3, inputs.shape).masked_fill(torch.rand(inputs.shape) < 0.5, NOTHING)
    loss, stats = answers(model, Batch(inputs, targets))
    logits = model(inputs)
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NOTHING)
    right = ((logits.argmax(-1) == targets) & (targets != NOTHING)).sum()
    assert torch.allclose(loss, expected) and stats["accuracy"][0] == right
    assert stats["accuracy"][1] == stats["loss"][1] == (targets != NOTHING).sum()


@pytest.mark.parametrize("features", [3, 20])
def test_vectors_of_mean_square_one_give_a_boundary_of_unit_variance(features):
    spec = Spec(features, 2, symbols=False)
    boundaries = []
    for seed in range(20):
        torch.manual_seed(seed)
        model = SequenceModel(FastWeightsRNN(features, 50, batch_first=True), spec, 50)
        boundaries.append(model.look_up(torch.randn(40, 1, features))[:, 0] @ model.recurrent.weight_ih_l0.T)
    assert torch.cat(boundaries).var().item() == pytest.approx(1, abs=0.1)


def test_dropout_is_of_the_hidden_vector_of_each_sequence_in_training_alone():
    tokens = TASK.draw(50, torch.Generator().manual_seed(0)).inputs
    model, plain = (Setup("CONTROL", TASK, replace(SMALL, head_dropout=share)).build() for share in (0.25, 0.0))
    plain.load_state_dict(model.state_dict())
    model.head, plain.head = (nn.Identity() for _ in range(2))
    hidden, dropped = plain(tokens), model(tokens)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], hidden[kept] / 0.75)
    assert 0.65 < kept[hidden != 0].double().mean() < 0.85 and len(kept.unique(dim=0)) > 40
    assert torch.equal(model.eval()(tokens), hidden)


@pytest.mark.parametrize("name", ["RNN-LN-FW", "GRU-LN", "LSTM", "IRNN", "A-LSTM"])
def test_every_network_takes_vectors_and_answers_at_every_step(name):
    model = Setup(name, Copying(length=2, delay=3), SMALL).build()
    assert model(inputs_of(Spec(10, 8))).shape == (6, 9, 8)


@pytest.mark.parametrize("recurrent", [FastWeightsRNN, nn.GRU])
def test_a_network_that_wants_time_first_is_refused(recurrent):
    kind = recurrent.__name__
    with pytest.raises(ValueError, match=f"SequenceModel: got {kind} with batch_first=False, wanted one with batch_f"):
        SequenceModel(recurrent(7, 5), Spec(7, 3), 5)


@both
def test_the_table_of_symbols_is_in_no_file_and_follows_the_weights(network):
    spec = SPECS["symbols, last"]
    model, inputs = made(network, spec), inputs_of(spec)
    want = model(inputs)
    assert not list(model.buffers()) and set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    other = made(network, spec)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs), want)
    assert model.double()(inputs).dtype == model.features.dtype == torch.float64
    assert torch.allclose(model(inputs).float(), want, atol=1e-5)
    assert model.to("meta").features.device.type == "meta"


def test_no_state_is_formed_where_only_answers_are_wanted(monkeypatch):
    seen, forward = [], FastWeightsRNN.forward

    def watched(self, *arguments, **options):
        output, state = forward(self, *arguments, **options)
        seen.append(state)
        return output, state

    monkeypatch.setattr(FastWeightsRNN, "forward", watched)
    for spec in SPECS.values():
        made("fast weights", spec)(inputs_of(spec), lengths=torch.full((6,), 9))
    assert len(seen) == len(SPECS) and not any(seen)
    made("fast weights", spec).step(inputs_of(spec)[:, 0])
    assert seen[-1] is not None


@both
def test_built_on_meta_it_answers_as_the_weights_say_that_are_loaded(network):
    trained, inputs = made(network, SPECS["symbols, last"], input_scale=5.0), inputs_of(SPECS["symbols, last"])
    assert not list(trained.buffers())
    for assign in (False, True):
        with torch.device("meta"):
            model = made(network, SPECS["symbols, last"], input_scale=5.0)
        model = model if assign else model.to_empty(device="cpu")
        assert model.load_state_dict(trained.state_dict(), assign=assign)
        assert torch.equal(model(inputs), trained(inputs))
    assert torch.allclose(trained.double()(inputs).float(), model(inputs), atol=1e-5)


def test_a_relu_behind_the_last_embedding_and_a_scale_before_the_first():
    inputs = torch.randn(2, 3, 5)
    model = SequenceModel(
        nn.GRU(4, 6, batch_first=True), Spec(5, 2, symbols=False), 6, (7, 4), input_scale=3.0, embedding_relu=True
    )
    first, _, second, _ = model.embedding
    wanted = torch.relu(second(torch.relu(first(3.0 * inputs))))
    assert torch.equal(model.look_up(inputs), wanted) and bool((wanted == 0).any())
