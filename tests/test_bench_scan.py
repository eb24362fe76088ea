"""`fastweights bench --op scan`: every backend, proven right before it is timed."""

import json
import re
import types

import pytest

from fastweights import cli
from fastweights.bench import ScanSettings, bench_scan, scan
from fastweights.bench.scan_figure import draw_scan
from fastweights.bench.scan_table import show_scan
from fastweights.errors import UserError
from fastweights.ops.fast_weights_scan import BACKENDS, chunkwise

TINY = ScanSettings(shapes=("1x2x9x16",), tokens=(8, 16), streamed=(3, 20), rounds=2)
MACHINE = {"cpu": "a CPU", "device": "cpu", "threads": 1, "dtype": "float32", "python": "3", "torch": "2",
           "numba": "0", "triton": None}  # fmt: skip
OTHERS = {scan.ATTENTION, scan.LSTM}


@pytest.fixture(autouse=True, scope="module")
def _no_interpreter():
    """What nobody times: Triton's interpreter, which stands in for a GPU, takes seconds a call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(BACKENDS, "triton")
        yield


@pytest.fixture(scope="module")
def records(_no_interpreter):
    return bench_scan(TINY)


def test_every_contender_is_measured(records):
    ours = set(BACKENDS)
    for measure, names in {
        "training": ours | OTHERS | {scan.FLOORS},
        "inference": ours | OTHERS | {scan.FLOORS},
        "curve time": (ours - {"reference"}) | OTHERS | {scan.FLOORS},
        "token": {"auto"} | OTHERS,
    }.items():
        found = {r.contender for r in records if r.measure == measure and r.value is not None}
        assert found == names, measure
    assert not any(r.wrong for r in records)
    assert sorted({r.steps for r in records if r.measure == "token"}) == [3, 20]


def test_table_and_picture_show_what_was_measured(records, tmp_path):
    text = show_scan(records, MACHINE)
    assert all(len(line) <= 80 for line in text.splitlines()[1:])
    assert "Forward and backward: batch 1, 2 heads of 16, 9 tokens" in text
    assert re.search(r"^cpu +[\d.]+ +[\d.]+ - [\d.]+ +[\d.]+x +[\d.]+x +[\d.]+$", text, re.M)
    assert re.search(r"^auto +[\d.]+ +[\d.]+$", text, re.M)
    assert [path.name for path in draw_scan(records, tmp_path)] == ["scan.png", "scan.svg"]


def test_the_floor_counts_products():
    """By hand: chunks of 32 tokens of one head of 64, three and six whole products, four and ten triangles."""
    one = scan.Shape(1, 1, 1, 64)
    assert scan.products(one, trained=False) == 3 * 64**2 + 4 * 33 * 32
    assert scan.products(one, trained=True) == 9 * 64**2 + 14 * 33 * 32
    assert scan.products(scan.Shape(2, 3, 5, 64), trained=True) == 30 * scan.products(one, trained=True)


@pytest.mark.parametrize("fault", [lambda x: x.detach() + 1.01 * (x - x.detach()), None])
def test_a_wrong_backend_is_told_and_not_timed(fault, monkeypatch, capsys, tmp_path):
    def run(call):
        if fault is None:
            raise RuntimeError("no room")
        outputs, state = chunkwise.run(call)
        return fault(outputs), state

    monkeypatch.setitem(BACKENDS, "cpu", types.SimpleNamespace(why_not=lambda call: None, run=run))
    options = "--op scan --shapes 1x1x5x4 --tokens 4 --streamed 2 --rounds 1".split()
    assert cli.main(["bench", *options, "--json", str(tmp_path / "b.json")]) == 1
    assert "wrong: not timed" in capsys.readouterr().out
    stored = json.loads((tmp_path / "b.json").read_text())["records"]
    ours = [r for r in stored if r["contender"] == "cpu"]
    assert ours and all(r["wrong"] and r["value"] is None for r in ours)


def test_a_shape_whose_gradient_the_loop_cannot_keep_is_said(monkeypatch):
    monkeypatch.setattr(scan, "LOOP", 1000)
    records = []
    fit = scan.fits(scan.rules.GatedDelta(), scan.Shape(1, 1, 5, 4), 0, "training", records)
    assert "reference" not in fit and "cpu" in fit
    assert [r.note for r in records if r.contender == "reference"] == ["about 0 GiB for its gradient: not timed"]


@pytest.mark.parametrize(
    "options, said",
    [
        ("--shapes 2x4x512", "--shapes 2x4x512: wanted four numbers"),
        ("--shapes", "--shapes: got none"),
        ("--tokens 0", "--tokens 0: wanted an integer >= 1"),
        ("--rule Dleta", "--rule Dleta: wanted one of"),
        ("--hidden 3", "--hidden: no such option"),
        ("--shapes 1000000x1000x1000000x64", "--shapes and --tokens"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, said, capsys):
    assert cli.main(["bench", "--op", "scan", *options.split()]) == 2
    assert said in capsys.readouterr().err


def test_settings_are_checked():
    with pytest.raises(UserError, match="--rounds 0"):
        ScanSettings(rounds=0)
