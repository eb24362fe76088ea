"""The still picture of a trace: what is drawn is what the trace says, and what cannot be drawn is one line."""

from functools import partial

import numpy as np
import pytest
import torch
from command_line import run
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch

from fastweights import FastWeightsRNN
from fastweights.errors import UserError
from fastweights.explorer import figure
from fastweights.explorer.order import order_of
from fastweights.nn import MultiLevelRNN, SequenceModel
from fastweights.tasks import Adding, AssociativeRetrieval, Copying, NextCharacter
from fastweights.training.looking import trace_sequence

RETRIEVAL = AssociativeRetrieval(2)


NETWORK = partial(FastWeightsRNN, batch_first=True, backend="reference")


def traced(task, sequence=None, network=NETWORK, **options):
    torch.manual_seed(1)
    rnn = network(task.spec.inputs, 6, **options)
    model = SequenceModel(rnn, task.spec, 6).eval()
    return trace_sequence(model, task, task.draw(1, torch.Generator().manual_seed(0)) if sequence is None else sequence)


def test_an_arc_is_as_thick_as_its_weight_and_has_the_colour_of_its_sign():
    trace = traced(RETRIEVAL, "a1b2??a", nonlinearity="tanh")
    strip, units, known, memory, table = figure.draw(trace, "title", 0.55).axes
    weights = {tau: weight for tau, weight in enumerate(trace.attention[-1]) if abs(weight) > 0}
    most = max(map(abs, weights.values()))
    arcs = {round(each.get_path().vertices[0, 0]): each for each in strip.patches if isinstance(each, PathPatch)}
    assert arcs.keys() == {tau for tau, weight in weights.items() if abs(weight) > figure.FAINT * most}
    for tau, drawn in arcs.items():
        assert drawn.get_linewidth() == pytest.approx(max(0.4, figure.THICKEST * abs(weights[tau]) / most))
        assert to_hex(drawn.get_edgecolor()).upper() == (figure.POSITIVE if weights[tau] > 0 else figure.NEGATIVE)
    assert len({to_hex(each.get_edgecolor()) for each in arcs.values()}) == 2
    assert [text.get_text() for text in strip.texts][::2] == [*"a1b2??", "a"][: len(strip.texts[::2])]
    order = order_of(trace.hidden)
    assert sorted(order) == list(range(6))
    for axes, values in (
        (units, trace.hidden[:, order].T),
        (memory, trace.weights[-2][np.ix_(order, order)]),
        (table, trace.attention),
    ):
        (image,) = axes.images
        assert np.array_equal(image.get_array(), values) and image.norm.vmin == -image.norm.vmax < 0
        assert to_hex(image.cmap(0.5)).upper()[:3] in ("#FE", "#FF")
    named = {line.get_label(): line.get_ydata() for line in known.lines}
    assert np.array_equal(named["1 (right)"], trace.probabilities[:, 1]) and named["guess floor 0.55"][0] == 0.55


def test_the_answer_has_a_line_where_others_were_more_probable_before():
    trace = traced(RETRIEVAL, "a1b2??a")
    trace.logits[:] = np.arange(10)[::-1]
    trace.logits[-1] = 2 * np.eye(10)[9]
    assert [line.get_label() for line in figure.draw(trace).axes[2].lines] == ["1 (right)", "9", "0", "2"]


KINDS = {
    ".png": (Copying(2, 3), None),
    ".svg": (Adding(length=4), None),
    ".pdf": (NextCharacter(), torch.tensor([70, 1, 96, 0, 5, 70])),  # a letter, a blank, the end of a line, no letter
}


@pytest.mark.parametrize("ending", KINDS)
def test_tasks_of_every_kind_have_a_figure_which_is_the_same_again(ending, tmp_path):
    trace = traced(*KINDS[ending])
    for path in (tmp_path / f"new/a{ending}", tmp_path / f"b{ending}"):
        figure.check(path)
        figure.save(figure.draw(trace), path)
    assert (tmp_path / f"new/a{ending}").read_bytes() == path.read_bytes() and path.stat().st_size > 1_000


def test_what_has_no_memory_to_draw_is_one_line():
    for trace, says in (
        (traced(RETRIEVAL, inner_steps=0), "got a network that reads no fast weights"),
        (traced(RETRIEVAL, network=MultiLevelRNN), "got a network that is no FastWeightsRNN"),
        (nan(traced(RETRIEVAL)), "got numbers that are not finite"),
    ):
        with pytest.raises(UserError, match=says):
            figure.draw(trace)


def nan(trace):
    trace.layers[0].hidden[2] = np.nan
    return trace


def test_the_command_draws_or_says_why_not_and_writes_nothing_then(trained, tmp_path, capsys):
    path = tmp_path / "figures/memory.svg"
    code, out, _ = run(capsys, "sample", "RNN-LN-FW", "a1b2??b", "--run", trained, "--figure", path)
    assert code == 0 and out.startswith(f"{path}\na1b2??b -> ") and "a1b2??b -&gt; " in path.read_text()
    code, out, _ = run(capsys, "sample", "RNN-LN-FW", "--run", trained, "--figure", path)
    assert code == 0 and out == f"{path}\n"
    for words, name, says in (
        (["CONTROL", "a1b2??b"], "other.png", "got a network that reads no fast weights, wanted one with a memory"),
        (["RNN-LN-FW", "a1b2??c"], "other.png", "got 'c' as the query"),
        (["RNN-LN-FW", "a1b2??b"], "other.gif", "wanted a name that ends in .png, .svg, .pdf"),
        (["RNN-LN-FW", "a1b2??b", "a1b2??a"], "other.png", "got 2 sequences, wanted one"),
        (["RNN-LN-FW", "a1b2??b"], "figures", "wanted a name that ends in"),
    ):
        code, out, err = run(capsys, "sample", *words, "--run", trained, "--figure", tmp_path / name)
        assert code == 2 and says in err and err.count("\n") == 1 and not out
    assert [each.name for each in tmp_path.iterdir()] == ["figures"]
