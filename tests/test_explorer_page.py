"""The page in a browser: its network is that of PyTorch, its words are those of the command line, and it keeps to itself."""

import numpy as np
import pytest
import torch
from browser import run_of

from fastweights import Cosine, Delta, FastWeightsRNN, Hebbian
from fastweights.nn import SequenceModel
from fastweights.tasks import Adding, AssociativeRetrieval, Copying
from fastweights.training.networks import FastWeights

TASK = AssociativeRetrieval(3)
near = {"rtol": 0, "atol": 1e-5}
close = {"rtol": 0, "atol": 1e-9}


def of_rule(rule, name="RNN-LN-FW", task=TASK, **config):
    return run_of(name, task, FastWeights(rule, learned=(), inner_steps=2), **config)


def two_layers(task=TASK):
    rnn = FastWeightsRNN(
        task.spec.inputs, 12, 2, batch_first=True, rule=Cosine(0.9), layer_norm=False, nonlinearity="tanh"
    )
    return run_of("two", task, model=SequenceModel(rnn, task.spec, 12))


PAGES = {
    "memories": lambda: [of_rule(Cosine(), "Cosine"), of_rule(Hebbian(0.9, 0.1), "Hebbian", embedding_sizes=(7, 9), head_sizes=(11,)),
                         of_rule(Delta(0.9), "Delta"), of_rule(Delta(0.9, 0.02, normalize_key=False), "literal", embedding_sizes=(8, 9), linear_embeddings=True),
                         two_layers()],
    "others": lambda: [of_rule(Cosine()), *(run_of(name, TASK) for name in ("LSTM", "GRU", "GRU-LN", "LSTM-LN", "IRNN"))],
    "slow": lambda: [of_rule(Cosine()), *(run_of(name, TASK) for name in ("RNN-LN", "CONTROL", "RNN-LN-FW0", "nn.LSTM"))],
    "vectors": lambda: [of_rule(Cosine(), task=Adding(20)), run_of("LSTM", Adding(20))],
    "every": lambda: [of_rule(Cosine(), task=Copying(4, 3)), run_of("LSTM", Copying(4, 3))],
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_the_networks_of_the_page_are_those_of_pytorch(name, open_page):
    runs = PAGES[name]()
    tab = open_page(runs)
    places = tab.evaluate("fastweights.runs")
    for count, run in zip([1_000] + 99 * [50], runs, strict=False):
        inputs = run.task.draw(count, torch.Generator().manual_seed(1)).inputs
        got = tab.evaluate("([s, run]) => fastweights.outputs(s, {run})", [inputs.tolist(), places.index(run.name)])
        with torch.no_grad():
            seen = run.model.look_up(inputs if run.task.spec.symbols else inputs.double())
            wanted = run.model.head(run.model.recurrent(seen)[0])
        np.testing.assert_allclose(got, wanted, **near, err_msg=run.name)


@pytest.mark.parametrize(
    "make", [lambda: of_rule(Cosine()), lambda: of_rule(Hebbian(0.9, 0.1)), lambda: of_rule(Delta(0.9)), two_layers]
)
def test_a_trace_and_a_changed_memory_are_those_of_python(make, open_page):
    run, text = make(), "g5o8k1??g"
    tab, found = open_page([run]), run.trace("g5o8k1??g")
    for place, layer in enumerate(found.layers):
        steps = tab.evaluate("([text, layer]) => fastweights.trace(text, layer)", [text, place])
        for t, step in enumerate(steps):
            np.testing.assert_allclose(step["hidden"], layer.inner[t], **close)
            np.testing.assert_allclose(step["attention"], layer.attention[t, :, :t], **close)
            np.testing.assert_allclose(np.reshape(step["weights"], (12, 12)), layer.weights[t], rtol=1e-5, atol=1e-6)

    def in_page(before, **edit):
        call = "([text, edit]) => fastweights.outputs([text], {edits: [edit]})[0]"
        return tab.evaluate(call, [text, {"before": before, **edit}])[before:]

    def in_python(before, state):
        return run.trace(text[before:], state).logits

    other = run.trace("g7o8k1??g")
    hidden = [layer.hidden[1].tolist() for layer in other.layers]
    values = np.stack([value_of(*each) for each in zip(found.layers, other.layers, strict=True)])[:, None]
    for before in (8, 4):
        at, state = before - 1, found.state(before - 1)
        for edit, changed in (
            ({"change": "erase", "step": 1}, found.erase(1, at)),
            ({"change": "overwrite", "step": 1, "values": hidden}, found.overwrite(1, values, at)),
            ({"change": "scale", "factor": 0.5}, state.scale(0.5)),
            ({"change": "empty"}, state.empty()),
        ):
            got, wanted = in_page(before, **edit), in_python(before, changed)
            np.testing.assert_allclose(got, wanted, **close, err_msg=str(edit["change"]))
            assert abs(wanted - found.logits[before:]).max() > 1e-4


def value_of(layer, other):
    """What the layer would have stored under its own key at step 1, of the hidden vector of another trace."""
    if type(layer.rule) is Delta:
        return layer.values[1] + layer.rule.rate * (other.hidden[1] - layer.hidden[1])
    return other.values[1]
