import itertools
import json
import re
import time
import types

import pytest
import torch

from fastweights import cli
from fastweights.bench import Record, Settings, bench, contenders, curve, curves, gate, measure, memory, timing
from fastweights.bench.table import show
from fastweights.nn import recurrent_layer
from fastweights.ops.fast_weights_rnn import BACKENDS, attention

TINY = Settings(batch=4, steps=(5,), hidden=(6,), rounds=2)
MACHINE = {"cpu": "a CPU", "device": "cpu", "threads": 1, "dtype": "float32", "python": "3", "torch": "2",
           "numba": "0", "triton": None}  # fmt: skip


EVERY = dict(BACKENDS)


@pytest.fixture(autouse=True, scope="module")
def _no_interpreter():
    """What nobody times: Triton's interpreter, which stands in for a GPU, takes seconds a call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(BACKENDS, "triton")
        yield


def broken(how):
    """The attention backend with one fault."""

    def run(call):
        outputs, state = attention.run(call)
        return how(outputs), state

    return types.SimpleNamespace(why_not=lambda call: None, run=run)


FAULTS = {
    "values": lambda outputs: outputs * 1.0001,
    "gradient": lambda outputs: outputs.detach() + 1.001 * (outputs - outputs.detach()),
    "NaN": lambda outputs: outputs * float("nan"),
    "one sample": lambda outputs: torch.cat([outputs[:-1], outputs[:1]]),
    "shape": lambda outputs: outputs[:, :-1],
}


@pytest.fixture(scope="module")
def records():
    return bench(TINY)


def test_every_quantity_of_every_contender(records):
    ours = [name for name, module in BACKENDS.items() if module.why_not(gate.Shape(4, 5, 6).call()) is None]
    theirs = ["nn.LSTM", "nn.GRU", "nn.LSTM of 21", "nn.GRU of 42"]
    for kind, names in {
        "training": [*ours, *theirs],
        "inference": [*ours, *theirs],
        "op": [*ours, "matrix products"],
        "memory": [*ours, *theirs],
        "token": [*ours, *theirs],
        "state": [*ours, *theirs],
    }.items():
        found = {r.contender: r for r in records if r.measure == kind and r.value is not None}
        assert sorted(found) == sorted(names), kind
        for record in found.values():
            if kind not in ("memory", "state"):
                assert 0 < record.low <= record.value <= record.high and record.samples == 2
    assert not any(r.wrong for r in records)
    assert {r.checked_steps for r in records if r.measure == "op" and r.contender in ours} == {5}


def test_bytes_of_state_are_those_of_the_tensors(records):
    state = {r.contender: r.value for r in records if r.measure == "state"}
    assert state["reference"] == state["attention"] == 4 * (6 + 6 * 6)
    assert (state["nn.GRU"], state["nn.LSTM"]) == (4 * 6, 4 * 2 * 6)
    assert state["nn.GRU of 42"] == state["nn.LSTM of 21"] == state["reference"]


def test_the_table_fits_80_columns(records):
    text = show(records, MACHINE)
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert re.search(r"^nn\.LSTM +\S+ +\S+ - \S+ +1\.00x", text, re.M)
    assert "matrix products" in text and "state bytes" in text


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_backend_is_reported_and_not_timed(fault, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(BACKENDS, "wrong", broken(FAULTS[fault]))
    assert gate.mismatch("wrong", gate.Shape(4, 5, 6)) is not None
    if fault != "values":
        return
    monkeypatch.setattr(measure, "peaks", lambda jobs: [0] * len(jobs))
    path = tmp_path / "bench.json"
    options = "--batch 4 --steps 5 --hidden 6 --rounds 1".split()
    code = cli.main(["bench", *options, "--json", str(path)])
    out = capsys.readouterr().out
    assert code == 1 and re.search(r"^wrong +wrong: not timed \(outputs off by 1", out, re.M), out
    stored = json.loads(path.read_text())
    own = [r for r in stored["records"] if r["contender"] == "wrong" and r["measure"] not in ("token", "state")]
    assert [(r["value"], r["wrong"]) for r in own] == [(None, True)]
    assert stored["machine"]["threads"] == 1 and stored["settings"]["rounds"] == 1


def test_what_a_classifier_calls_is_held_to_the_reference_too(monkeypatch):
    assert gate.mismatch("cpu", gate.Shape(4, 5, 6)) is None
    right = recurrent_layer.last_hidden
    monkeypatch.setattr(recurrent_layer, "last_hidden", lambda *a: right(*a) * 1.0001)
    assert "last hidden off by" in str(gate.mismatch("cpu", gate.Shape(4, 5, 6)))


def test_a_backend_that_raises_is_wrong(monkeypatch):
    def run(call):
        raise RuntimeError("no room")

    monkeypatch.setitem(BACKENDS, "wrong", types.SimpleNamespace(why_not=lambda call: None, run=run))
    assert gate.mismatch("wrong", gate.Shape(2, 3, 4)) == "raises RuntimeError: no room"
    assert gate.mismatch_of_cell("wrong", gate.Shape(1, 1, 4)) == "raises RuntimeError: no room"


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_the_backends_pass_the_gate(backend, monkeypatch):
    monkeypatch.setitem(BACKENDS, backend, EVERY[backend])
    shape = gate.Shape(4, 5, 6)
    if (reason := BACKENDS[backend].why_not(shape.call())) is not None:
        pytest.skip(f"backend {backend} cannot run here: {reason}")
    assert gate.mismatch(backend, shape) is None
    assert gate.mismatch_of_cell(backend, gate.Shape(1, 1, 6)) is None


def test_a_backend_that_cannot_run_says_why(monkeypatch):
    monkeypatch.setitem(BACKENDS, "absent", types.SimpleNamespace(why_not=lambda call: "it is not there", run=None))
    records: list[Record] = []
    fit = measure.gated(gate.Shape(2, 3, 4), gate.mismatch, records)
    assert "absent" not in [c.name for c in fit]
    assert [r.note for r in records if r.contender == "absent"] == ["cannot run: it is not there"]


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
def test_what_it_is_compared_with_is_that_of_torch(kind):
    made = contenders.model_of(contenders.Contender(f"nn.{kind.__name__}", 5), gate.Shape(2, 7, 5), 0)
    assert type(made.recurrent) is kind


def test_what_is_unreasonably_large_is_said_and_not_timed():
    of_equal_state = [c for c in contenders.contenders(gate.Shape(2, 3, 100))[0] if c.equal_state]
    assert [(c.name, c.too_large) for c in of_equal_state] == [
        ("nn.LSTM of 5050", "102 million parameters: not timed"),
        ("nn.GRU of 10100", "306 million parameters: not timed"),
    ]


def test_rounds_interleave_and_ctrl_c_keeps_what_was_sampled(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE", 1e-3)
    calls: list[str] = []
    samples, stopped = timing.rounds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4, seed=0)
    assert not stopped and [len(s) for s in samples.values()] == [4, 4]
    order = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    assert order.count("a") > 2

    number = itertools.count()

    def interrupted():
        time.sleep(0.001)
        if next(number) == 200:
            raise KeyboardInterrupt

    samples, stopped = timing.rounds({"c": interrupted}, 1000, seed=0)
    assert stopped and 50 < len(samples["c"]) < 200


def test_ctrl_c_shows_what_was_measured(monkeypatch, capsys):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "peaks", stop)
    code = cli.main(["bench", "--batch", "4", "--steps", "5", "--hidden", "6", "--rounds", "1"])
    said = capsys.readouterr()
    assert code == 130 and "nn.LSTM" in said.out and "above is what was measured" in said.err


def test_memory_grows_with_the_batch():
    jobs = [
        {"contender": {"kind": "reference", "size": 16}, "shape": {"batch": b, "steps": 40, "hidden": 16}, "seed": 0,
         "threads": 1}
        for b in (1, 512)
    ]  # fmt: skip
    small, large = memory.peaks(jobs)
    kept = 512 * 40 * 16 * 16 * 4  # the matrices A(t) alone
    assert small < 0.2 * kept and kept < large


def test_curve_and_its_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "HIDDEN", 8)
    monkeypatch.setattr(curves, "STEPS", 8)
    told: list[str] = []
    records = curve(TINY, times=(4, 8), hiddens=(4, 8), tell=told.append)
    assert {(r.measure, r.steps, r.hidden) for r in records} == {
        ("curve time", 4, curves.HIDDEN), ("curve time", 8, curves.HIDDEN),
        ("curve hidden", curves.STEPS, 4), ("curve hidden", curves.STEPS, 8),
    }  # fmt: skip
    assert len(told) == len(records) and all(len(line) <= 80 for line in show(records, MACHINE).splitlines())
    from fastweights.bench.figure import draw_curve

    assert [path.name for path in draw_curve(records, tmp_path)] == ["curve.png", "curve.svg"]
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_the_curve_leaves_out_what_its_budget_does_not_cover():
    told: list[str] = []
    settings = Settings(batch=4, rounds=1, budget=0.0)
    records = curve(settings, times=(4, 4096), hiddens=(), tell=told.append)
    late = [r for r in records if r.steps == 4096 and r.contender in ("reference", "attention")]
    assert late and all(r.value is None and "share of the budget: not timed" in r.note for r in late)
    assert not any(r.wrong for r in records)
