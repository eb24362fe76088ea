"""The page in a browser: its network is that of PyTorch, its words are those of the command line, and it keeps to itself."""

import re

import numpy as np
import pytest
import torch
from browser import WEB, run_of

from fastweights import Cosine, Delta, FastWeightsRNN, Hebbian
from fastweights.errors import UserError, in_one_line
from fastweights.nn import SequenceModel
from fastweights.tasks import Adding, AssociativeRetrieval, Copying, OwnLines
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
    for count, run in zip([1_000 if name == "memories" else 50] + 9 * [50], runs, strict=False):
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
    for before in (8, 4):
        at, state = before - 1, found.state(before - 1)
        for edit, changed in (
            ({"change": "erase", "step": 1}, found.erase(1, at)),
            ({"change": "overwrite", "step": 1, "values": hidden}, found.overwrite(1, np.array(hidden), at)),
            ({"change": "scale", "factor": 0.5}, state.scale(0.5)),
            ({"change": "empty"}, state.empty()),
        ):
            got, wanted = in_page(before, **edit), in_python(before, changed)
            np.testing.assert_allclose(got, wanted, **close, err_msg=str(edit["change"]))
            assert abs(wanted - found.logits[before:]).max() > 1e-4


SEQUENCES = ["g5o8k1??g", "", "g5o8k1??", "g5o8k1??gg", "55o8k1??g", "gxo8k1??g", "g5o8k1?gg", "g5g8k1??g", "g5o8k1??z", "G5o8k1??g",
             "g5o8k1??\t", "g5'8k1??g", "g5\"'k1??g", "é5o8k1??g", "g5o8k1??\u200b", "\\5o8k1??g", "g5  k1??g", "x" * 200, "🦊5o8k1??g"]  # fmt: skip


def sentence(task, text):
    try:
        task.encode(text)
    except UserError as error:
        return in_one_line(error)
    return ""


@pytest.mark.parametrize("task", [TASK, AssociativeRetrieval(3, distinct_values=True), Copying(4, 3), OwnLines(symbols=tuple("abc 'é<"), classes=("x", "y"), counts=(1, 1), length=3),
                                  OwnLines(symbols=("the", "dog"), classes=("x", "y"), counts=(1, 1), length=3, separated=True)], ids=str)  # fmt: skip
def test_a_bad_sequence_gets_the_sentence_of_the_command_line(task, open_page):
    tab = open_page([of_rule(Cosine(), task=task)])
    texts = [
        *SEQUENCES,
        "g5o5k1??g",
        "dead..:",
        "dead..:....",
        "dead..:...",
        "deaf...:",
        "ab c",
        "the dog",
        "the cat",
        "cab",
        "a\u3000b",
    ]
    for text in texts:
        tab.fill("#sequence", text)
        assert tab.inner_text("#fault") == sentence(task, tab.input_value("#sequence")), text


def test_what_a_folder_and_a_file_of_ones_own_say_is_text(open_page):
    hurt = ("<script>window.hurt=1</script>", "<img/src=x/onerror=hurt=1>", "</style><b>", "{{script}}", "&lt;")
    task = OwnLines(symbols=hurt, classes=hurt, counts=(1,) * 5, length=3, separated=True, answers="each")
    tab = open_page([of_rule(Cosine(), task=task, folder=name) for name in ("<script>window.hurt=1<script>", "<b>")])
    assert tab.inner_text("h1").startswith("<script>window.hurt=1<script> on")
    tab.fill("#sequence", " ".join(hurt))
    assert tab.locator(".token b").all_inner_texts()[1].endswith(hurt[1])
    assert sorted(each.split(" ")[0] for each in tab.locator(".bars tbody th").all_inner_texts()) == sorted(hurt)
    tab.click("button:has-text('Erase')")
    assert tab.evaluate("window.hurt") is None
    assert tab.locator("script").count() == 2 and tab.locator("body img, style ~ style").count() == 0


def test_a_click_changes_the_memory_as_python_does(open_page):
    run = of_rule(Cosine())
    tab, text = open_page([run]), "g5o8k1??g"
    found, other = run.trace(text), run.trace("g7o8k1??g")
    tab.fill("#sequence", text)

    def shown():
        return [float(each.rstrip("%")) / 100 for each in tab.locator(".bars .value").all_inner_texts()]

    def wanted(state):
        return run.trace("g", state).probabilities[-1]

    np.testing.assert_allclose(shown(), found.probabilities[-1], atol=1.1e-3)
    most = abs(found.attention[-1]).argmax()
    assert tab.is_checked(f"input[name=association] >> nth={most}")
    tab.check("input[name=association] >> nth=1")
    tab.click("button:has-text('Erase 5 of step 2')")
    np.testing.assert_allclose(shown(), wanted(found.erase(1, -2)), atol=1.1e-3)
    assert tab.is_disabled("button:has-text('Erase it')")
    tab.click("text=Undo all changes")
    assert tab.input_value("select[aria-label='The value to write']") == str(TASK.SYMBOLS.index("7"))
    tab.click("text=Overwrite with")
    np.testing.assert_allclose(shown(), wanted(found.overwrite(1, other.hidden[1], -2)), atol=1.1e-3)
    assert "Wrote 7 over 5 of step 2, before step 9." in tab.inner_text(".changes")
    tab.click("text=Undo all changes")
    tab.click("text=Empty the memory")
    np.testing.assert_allclose(shown(), wanted(found.state(-2).empty()), atol=1.1e-3)
    tab.click("text=Undo all changes")
    tab.fill("input[type=range]", "0.5")
    np.testing.assert_allclose(shown(), run.trace(text, decay=0.5).probabilities[-1], atol=1.1e-3)
    tab.click("text=Undo all changes")
    tab.click(".chip:has-text('k')")
    assert tab.input_value("#sequence") == "g5o8k1??k"
    np.testing.assert_allclose(shown(), run.trace("g5o8k1??k").probabilities[-1], atol=1.1e-3)


def test_a_pair_of_keys_gives_a_sequence_that_the_network_gets_wrong(open_page):
    run = of_rule(Cosine())
    tab = open_page([run])
    first = tab.locator("#codes .buttons button").first
    one, other = first.inner_text().split()[:2]
    assert {one, other} == set(run.codes().closest(1)[0][:2])
    first.click()
    tab.wait_for_selector("#codes .verdict:has-text('is wrong')")
    text = tab.input_value("#sequence")
    assert one in text and other in text and run.answer(text) != TASK.answer(text)


def test_a_step_is_drawn_once(open_page):
    tab = open_page([of_rule(Cosine())], reduced_motion="no-preference")
    before = tab.locator("#answer .fill").first.get_attribute("style")
    tab.click("[aria-label='Step back']")
    assert tab.locator("#answer .fill").first.get_attribute("style") != before
    assert tab.evaluate("document.getAnimations().length") == 0  # each frame of one would be a layout of every bar


def test_a_step_of_vectors_is_called_by_its_numbers_and_the_chosen_row_is_in_sight(open_page):
    tab = open_page([of_rule(Cosine(), task=Adding(20))])
    assert re.fullmatch(r"Step 20 of 20: 0\.\d\d, (0|1\.00)", tab.inner_text(".where"))
    assert tab.get_attribute("#strip svg", "aria-label").startswith("Step 20 attends to: step 1 ")
    assert re.fullmatch(r"Step 5[-.\d]*\s*", tab.locator(".token").nth(4).text_content())
    tab.check("input[name=association] >> nth=18")
    tab.click("[aria-label='First step']")
    page = tab.evaluate("scrollY")
    tab.click("[aria-label='Last step']")
    tab.wait_for_function("""() => {
        const [list, row] = [".associations", "label:has([name=association]:checked)"]
            .map(each => document.querySelector(each).getBoundingClientRect());
        return list.top <= row.top && row.bottom <= list.bottom;
    }""")
    assert tab.evaluate("scrollY") == page


def tab_stops(tab):
    """What the key Tab reaches, from the top of the page to its end, and whether each is seen to have the focus."""
    stops = []
    tab.keyboard.press("Home")
    tab.focus(".skip")
    for press in ["Shift", *["Tab"] * 200]:
        tab.keyboard.press(press)
        stop = tab.evaluate("""() => {
            const each = document.activeElement, ring = each.closest("label:has(input[type=radio])") ?? each;
            const style = getComputedStyle(ring);
            return each === document.body ? null : [each.tagName + "#" + [...document.querySelectorAll("*")].indexOf(each),
                (each.getAttribute("aria-label") ?? each.closest("label")?.textContent ?? each.textContent).trim(),
                style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
        }""")
        if stop is None or stop in stops:
            break
        stops.append(stop)
    return stops


def test_every_control_is_reached_and_worked_by_the_keyboard(open_page):
    from playwright.sync_api import expect

    tab = open_page([of_rule(Cosine()), of_rule(Hebbian(0.9, 0.1), "Hebbian"), run_of("LSTM", TASK)])
    tab.fill("#sequence", "g5o8k1??g")
    stops = tab_stops(tab)
    assert [name for _, name, seen in stops if not seen] == []
    reached = {place for place, _, _ in stops}
    controls = tab.evaluate("""() => [...document.querySelectorAll("button, input, select, a")]
        .filter(each => !each.disabled && each.tabIndex >= 0 && (each.type !== "radio" || each.checked))
        .map(each => each.tagName + "#" + [...document.querySelectorAll("*")].indexOf(each))""")
    assert set(controls) <= reached

    def says(selector, text):
        expect(tab.locator(selector)).to_contain_text(text)  # as soon as it does: a key is not waited for

    tab.focus("#draw")
    tab.keyboard.press("ArrowLeft")
    says(".where", "Step 8 of 9: ?")
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowRight")
    says(".where", "Step 2 of 9: 5")
    tab.keyboard.press("End")
    tab.keyboard.press("ArrowUp")
    says("#answer .verdict", "Step 9, after read 1")
    tab.keyboard.press("ArrowUp")
    says("#answer .verdict", "Step 9, before it has read")
    tab.keyboard.press("ArrowDown")
    tab.check("input[name=association] >> nth=1")
    tab.keyboard.press("ArrowDown")
    says("#change .buttons", "Erase o of step 3")
    says(".where", "Step 9 of 9: g")
    tab.focus("button:has-text('Erase o of step 3')")
    tab.keyboard.press("Enter")
    says(".changes", "Erased o of step 3")
    tab.focus("#sequence")
    tab.keyboard.press("End")
    tab.keyboard.press("Backspace")
    tab.keyboard.type("z")
    says("#fault", sentence(TASK, "g5o8k1??z"))
    tab.focus("#tour")
    for title in ("1.", "2."):
        tab.keyboard.press("Enter")
        says("dialog h2", title)
    tab.keyboard.press("Escape")
    expect(tab.locator("dialog")).to_have_count(0)
    expect(tab.locator("#tour")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["others", "vectors", "every"])
def test_axe_finds_nothing(name, scheme, open_page):
    axe = WEB / "node_modules/axe-core/axe.min.js"
    if not axe.exists():
        pytest.skip("there is no axe-core: `make browser` installs it")
    tab = open_page(
        PAGES[name](),
        color_scheme=scheme,
        viewport={"width": 1024 if scheme == "dark" else 360, "height": 800},
        reduced_motion="reduce",
    )
    if name == "others":
        tab.fill("#sequence", "g5o8k1??z")
        tab.click("button:has-text('Erase')")
    tab.evaluate(axe.read_text())
    found = tab.evaluate(
        "axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html.slice(0, 200), nodes[0].failureSummary]))"
    )
    assert found == []
    assert (
        tab.evaluate("""() => [...document.querySelectorAll("*")].filter(each => !each.closest(".scroll, .hidden")
        && each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML.slice(0, 200))""")
        == []
    )
