"""A trace is exact: arcs add up to the read, terms to the memory; and a changed memory is what the equations say."""

from itertools import product

import numpy as np
import pytest
import torch
from states import HIDDEN, state
from torch import nn

from fastweights import Cosine, Delta, FastWeightsRNN, FastWeightsState, Hebbian
from fastweights.errors import UserError
from fastweights.nn import LNGRU, SequenceModel
from fastweights.nn.trace import trace
from fastweights.rules.cosine import direction
from fastweights.tasks import Adding, AssociativeRetrieval, InductionHeads, OwnLines, Spec
from fastweights.training.looking import codes_of, mistakes_of, trace_sequence

TIME, INPUT, UNITS = 9, 5, 7
RULES = [Hebbian(0.9, 0.2), Cosine(0.8, 1.3), Delta(0.9, 0.6), Delta(1.0, 0.1, normalize_key=False)]
TASK = AssociativeRetrieval(2)
exact = {"rtol": 1e-10, "atol": 1e-10}


def network(rule, inner_steps=1, **options):
    torch.manual_seed(0)
    options = {"rule": rule, "inner_steps": inner_steps, "backend": "reference", **options}
    rnn = FastWeightsRNN(INPUT, UNITS, batch_first=True, **options).double().eval()
    for name, parameter in rnn.named_parameters():
        if name.startswith(("gain", "bias")):
            nn.init.normal_(parameter)
    return rnn


def model(**options):
    torch.manual_seed(0)
    return (
        SequenceModel(FastWeightsRNN(37, 12, batch_first=True, backend="reference", **options), TASK.spec, 12)
        .double()
        .eval()
    )


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(
    ("inner_steps", "options"),
    [(0, {}), (1, {"num_layers": 2}), (3, {"layer_norm": False, "nonlinearity": "tanh"}), (2, {"bidirectional": True})],
)
def test_what_the_arcs_add_up_to_is_the_read_and_the_terms_are_the_memory(rule, inner_steps, options):
    rnn, inputs = network(rule, inner_steps, **options), torch.randn(TIME, INPUT, dtype=torch.float64)
    given = FastWeightsState(*(0.1 * torch.randn(shape, dtype=torch.float64) for shape in state_shapes(rnn)))
    for start in (None, given):
        found = trace(rnn, inputs, start)
        output, final = rnn(inputs[None], start)
        np.testing.assert_allclose(found.hidden, output[0].detach(), **exact)
        assert len(found.layers) == len(final.hidden)
        for place, layer in enumerate(found.layers):
            np.testing.assert_allclose(layer.weights[-1], final.weights[place, 0].detach(), **exact)
            arcs_add_up(layer)


def state_shapes(rnn):
    lead = (rnn.num_layers * rnn.num_directions, 1, UNITS)
    return lead, (*lead, UNITS)


def arcs_add_up(layer):
    decay = float(layer.rule.decay)
    for t, s in product(range(TIME), range(layer.added.shape[1])):
        before = layer.weights[t - 1] if t else layer.first
        query = torch.from_numpy(layer.queries[t, s])
        query = (direction(query) if isinstance(layer.rule, Cosine) else query).numpy()
        read = layer.factor[t, s] * before @ query
        first = layer.factor[t, s] * decay**t * layer.first @ query
        np.testing.assert_allclose(layer.attention[t, s] @ layer.values + first, read, **exact)
        np.testing.assert_allclose(layer.added[t, s], read, **exact)
        assert not layer.attention[t, s, t:].any()
    for at in range(TIME):
        terms = [
            strength * np.outer(value, key) for key, value, strength in (layer.term(step, at) for step in range(at + 1))
        ]
        np.testing.assert_allclose(sum(terms) + decay ** (at + 1) * layer.first, layer.weights[at], **exact)


@pytest.mark.parametrize("rule", RULES[:2], ids=str)
def test_its_attention_is_that_of_the_module(rule):
    rnn, inputs = network(rule, inner_steps=2), torch.randn(TIME, INPUT, dtype=torch.float64)
    np.testing.assert_allclose(trace(rnn, inputs).attention, rnn.attention(inputs[None])[0], **exact)


def test_the_logits_of_every_step_are_those_of_a_model_that_stops_there():
    ours, symbols = model(num_layers=2, inner_steps=2), TASK.encode("a1b2??a")
    found = trace(ours, symbols)
    for t in range(len(symbols)):
        np.testing.assert_allclose(found.logits[t], ours(symbols[None, : t + 1])[0].detach(), **exact)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    single = trace(ours.float(), symbols)
    assert single.dtype == torch.float32 == single.state().hidden.dtype and single.hidden.dtype == np.float64


@pytest.mark.parametrize("rule", RULES[:3], ids=str)
def test_a_network_goes_on_from_any_step_and_from_a_changed_memory(rule):
    ours, symbols = model(rule=rule, num_layers=2), TASK.encode("a1b2??a")
    found = trace(ours, symbols)
    again = trace(ours, symbols[4:], found.state(3))
    np.testing.assert_allclose(again.logits, found.logits[4:], **exact)
    answers, carried = ours.step(symbols[-1:], found.erase(1, at=-2))
    np.testing.assert_allclose(trace(ours, symbols[-1:], found.erase(1, at=-2)).logits[0], answers[0].detach(), **exact)
    assert isinstance(carried, FastWeightsState) and not np.allclose(answers[0].detach(), found.logits[-1])
    vector = np.random.default_rng(0).standard_normal(12)
    for place, layer in enumerate(found.layers):
        key, value, strength = layer.term(1, 4)
        only = found.erase(1, at=4, layer=place).weights[:, 0].numpy()
        np.testing.assert_allclose(only[place], layer.weights[4] - strength * np.outer(value, key), **exact)
        np.testing.assert_allclose(only[1 - place], found.layers[1 - place].weights[4], **exact)
        for new, hidden in ((3, layer.hidden[3]), (vector, vector)):
            other = found.overwrite(1, new, at=4).weights[place, 0]
            np.testing.assert_allclose(other, written_again(layer, 1, hidden, 4), **exact)
    assert torch.equal(found.state(4).hidden, found.erase(1, at=4).hidden)
    left = found.state()
    for step in range(7):
        left = left.erase(*found.term(step))
    assert left.weights.abs().max() < 1e-12  # nothing is left of all steps


def written_again(layer, step, hidden, at):
    """A(at), where `step` wrote this hidden vector as its value and later writes are what they were."""
    before = torch.from_numpy(layer.weights[step - 1])
    own = torch.from_numpy(layer.hidden[step])
    changed = layer.rule.write(before, own, torch.from_numpy(hidden)) - layer.rule.write(before, own, own)
    return layer.weights[at] + float(layer.rule.decay) ** (at - step) * changed.numpy()


def test_another_decay_is_the_network_with_that_decay():
    inputs = torch.randn(TIME, INPUT, dtype=torch.float64)
    want = trace(network(Hebbian(0.4, 0.2)), inputs)
    found = trace(network(Hebbian(0.9, 0.2)), inputs, decay=0.4)
    np.testing.assert_allclose(found.hidden, want.hidden, **exact)
    np.testing.assert_allclose(found.attention, want.attention, **exact)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_a_state_is_erased_overwritten_scaled_and_emptied(leading):
    given, (key, new) = state(*leading).to(torch.float64), torch.randn(2, HIDDEN, dtype=torch.float64)

    def read(of):
        return of.weights @ key

    assert read(given.erase(key)).abs().max() < 1e-12
    assert (read(given.overwrite(key, new)) - new).abs().max() < 1e-12
    across = torch.linalg.svd(key[None])[2][1]
    assert torch.allclose(given.overwrite(key, new).weights @ across, given.weights @ across)
    assert torch.allclose(given.erase(key, new, 0.3).weights, given.weights - 0.3 * torch.outer(new, key))
    assert torch.allclose(
        given.overwrite(key, new, key, 0.3).weights, given.weights + 0.3 * torch.outer(new - key, key)
    )
    assert torch.equal(given.scale(0.5).weights, given.weights / 2) and not given.empty().weights.any()
    assert torch.equal(given.empty().hidden, given.hidden) and torch.equal(given.scale(2).hidden, given.hidden)
    each = torch.randn_like(given.hidden)
    assert (given.erase(each).weights @ each[..., None]).abs().max() < 1e-12
    assert torch.isfinite(given.erase(torch.zeros(HIDDEN)).weights).all()
    for bad in (torch.zeros(HIDDEN + 1), [1.0], torch.zeros(2, *given.hidden.shape), torch.tensor(1.0)):
        with pytest.raises(UserError, match=r"got a key of .*, wanted a tensor \[4\]"):
            given.erase(bad)


def test_a_network_without_fast_weights_shows_what_it_knows():
    ours = SequenceModel(LNGRU(37, 12), TASK.spec, 12)
    found = trace_sequence(ours.eval(), TASK, "a1b2??a", None)
    assert found.layers == () and found.logits.shape == (7, 10) and found.hidden.shape == (7, 12)
    for ask in (lambda: found.attention, lambda: found.state(), lambda: found.erase(1)):
        with pytest.raises(UserError, match="got a network that is no FastWeightsRNN, wanted one"):
            ask()
    with pytest.raises(UserError, match="got decay=0.5 of a network that is no FastWeightsRNN, wanted none"):
        trace_sequence(ours, TASK, "a1b2??a", decay=0.5)


def test_a_sequence_is_named_in_the_words_of_its_task():
    ours = model()
    found = trace_sequence(ours, TASK, "a1b2??a", None)
    assert found.symbols == tuple("a1b2??a") and found.classes == tuple("0123456789")
    assert found.asked.tolist() == [False] * 6 + [True] and found.targets[-1] == 1
    assert found.answer == str(int(ours(TASK.encode("a1b2??a")[None]).argmax()))
    other = trace_sequence(ours, TASK, "b", found.state(-2))
    assert other.answer == trace_sequence(ours, TASK, "a1b2??b", None).answer and other.targets is None
    drawn = TASK.draw(3, torch.Generator().manual_seed(0))
    assert trace_sequence(ours, TASK, drawn.select(slice(1, 2)), None).targets[-1] == drawn.targets[1]
    adding = Adding(length=6)
    numbers = SequenceModel(FastWeightsRNN(2, 8, batch_first=True), adding.spec, 8).eval()
    found = trace_sequence(numbers, adding, adding.draw(1, torch.Generator().manual_seed(0)), None)
    assert found.probabilities is None and found.answer.shape == (1, 1) and found.symbols is None
    assert trace(numbers, adding.draw(1, torch.Generator()).inputs[0]).probabilities is None
    counted = type("Counted", (AssociativeRetrieval,), {"SYMBOLS": None, "symbols": 37})(2)  # how many, not what
    assert trace_sequence(ours, counted, TASK.encode("a1b2??a")).symbols is None
    copying = SequenceModel(FastWeightsRNN(37, 8, batch_first=True), Spec(37, 10, every=True), 8).eval()
    assert trace(copying, TASK.encode("a1b2??a")).logits.shape == (7, 10)


def test_codes_and_mistakes():
    ours = model()
    codes = codes_of(ours, TASK, None)
    assert codes.symbols == tuple("abcdefghijklmnopqrstuvwxyz") and codes.vectors.shape == (26, 12)
    np.testing.assert_allclose(codes.vectors[2], trace(ours, torch.tensor([2])).hidden[0], **exact)
    one, other, alike = codes.closest(1)[0]
    best = codes.similarity - 2 * np.eye(26)
    assert alike == best.max() == best[ord(one) - 97, ord(other) - 97]
    assert codes_of(ours, TASK, "xy").symbols == ("x", "y")
    wrong = mistakes_of(ours, TASK, "ab", 300, 0)
    assert wrong.size and (ours(wrong.inputs).argmax(1) != wrong.targets).all()
    assert all({"a", "b"} <= set(TASK.decode(each)) for each in wrong.inputs)
    without_text, heads = (
        InductionHeads(8, 5),
        SequenceModel(FastWeightsRNN(5, 8, batch_first=True), Spec(5, 5), 8).eval(),
    )
    wrong = mistakes_of(heads, without_text, "", 300, 0)
    assert wrong.size and (heads(wrong.inputs).argmax(1) != wrong.targets).all()


BAD = {
    "a bad text": (lambda m: trace_sequence(m, TASK, "a1b2??c", None), "got 'c' as the query"),
    "a bad symbol": (lambda m: trace_sequence(m, TASK, "!", trace(m, torch.tensor([1])).state()), "got '!' in '!', wanted symbols"),
    "a batch": (lambda m: trace_sequence(m, TASK, TASK.draw(2, torch.Generator()), None), "got a batch of 2 sequences, wanted one"),
    "a batch axis": (lambda m: trace(m, torch.zeros(1, 7).long()), r"got shape \[1, 7\], wanted one sequence"),
    "no step": (lambda m: trace(m, torch.zeros(0).long()), "of at least one step"),
    "a cell": (lambda m: trace(nn.GRU(2, 2), torch.zeros(3, 2)), "got GRU, wanted a SequenceModel"),
    "a late step": (lambda m: trace(m, TASK.encode("a1b2??a")).erase(5, at=3), "got step 5, wanted one up to 3"),
    "no such step": (lambda m: trace(m, TASK.encode("a1b2??a")).state(7), "got at=7, wanted a step from 0 to 6"),
    "a decay": (lambda m: trace(m, TASK.encode("a1b2??a"), decay=1.5), r"decay=1.5\): wanted a number in \[0, 1\]"),
    "a value": (lambda m: trace(m, TASK.encode("a1b2??a")).overwrite(1, np.zeros(3)), r"got a vector \[3\], wanted a step, or hidden \[12\]"),
    "no such layer": (lambda m: trace(m, TASK.encode("a1b2??a")).erase(1, layer=1), "got layer=1, wanted one from 0 to 0"),
    "a text of no text": (lambda m: trace_sequence(m, Adding(), "1 2", None), "the task has no text"),
    "codes of vectors": (lambda m: codes_of(m, Adding(), None), "got vectors as inputs, wanted a task of symbols"),
    "mistakes of lines": (lambda m: mistakes_of(m, OwnLines(symbols=("a",), classes=("x",), counts=(1,), length=1), "", 5, 0), "own-lines: got a task whose sequences are lines of a file"),
    "mistakes holding what has no text": (lambda m: mistakes_of(m, InductionHeads(), "a", 5, 0), "the task has no text"),
    "mistakes of numbers": (lambda m: mistakes_of(m, Adding(), "", 5, 0), "without one class as its answer"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name):
    ask, says = BAD[name]
    with pytest.raises(UserError, match=says) as caught:
        ask(model())
    assert "\n" not in str(caught.value)


def test_a_rule_of_ones_own_has_a_memory_but_no_arcs():
    class Own:
        decay = 0.9

        def write(self, weights, key, value):
            return torch.tanh(Hebbian().write(weights, key, value))

        def read(self, weights, query):
            return Hebbian().read(weights, query)

    found = trace(network(Own()), torch.randn(TIME, INPUT, dtype=torch.float64))
    assert found.weights.shape == (TIME, UNITS, UNITS) and found.state().weights.shape == (1, 1, UNITS, UNITS)
    for ask in (lambda: found.attention, lambda: found.erase(1)):
        with pytest.raises(UserError, match="got the rule Own, wanted Hebbian, Cosine or Delta"):
            ask()
