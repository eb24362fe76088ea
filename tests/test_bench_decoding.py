"""`fastweights bench --op decode`: every decoder, proven right before it is timed."""

import json
import re

import pytest
import torch
from torch import nn

from fastweights import cli
from fastweights.bench import DecodeSettings, Record, bench_decoding, decoding
from fastweights.bench.decoding_figure import draw_decoding
from fastweights.bench.decoding_table import crossing, show_decoding
from fastweights.errors import UserError
from fastweights.nn import memories
from fastweights.nn.memories import MemoryState

TINY = DecodeSettings(sources=(2, 9), batches=(3,), rounds=1)
MACHINE = {"cpu": "a CPU", "device": "cpu", "threads": 1, "dtype": "float32", "python": "3", "torch": "2",
           "numba": "0", "triton": None}  # fmt: skip


@pytest.fixture(scope="module")
def records():
    return bench_decoding(TINY)


def test_every_decoder_is_measured_in_both_forms(records):
    named = [name for name in memories.registered() if name != "last-state"]
    compiled = [f"{name} compiled" for name in ("nn.GRU", *named)]
    names = {"nn.GRU", "nn.LSTM", "FastWeightsRNN", *named, *compiled}
    for measure in ("symbol", "stream"):
        found = {(r.contender, r.batch, r.steps) for r in records if r.measure == measure and r.value}
        assert found == {(name, 3, source) for name in names for source in (2, 9)}


def test_bytes_are_those_of_a_stream(records):
    held = {(r.contender, r.steps): r.value for r in records if r.measure == "stream" and r.batch == 3}
    assert held["delta", 2] == held["delta", 9] == 4 * (112 + 48 * 80)
    assert [held["attention", source] for source in (2, 9)] == [448 + (4 * (48 + 80) + 1) * source for source in (2, 9)]


def test_table_and_picture(records, tmp_path):
    text = show_decoding(records, MACHINE)
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert len(re.findall(r"^attention .*; delta at 9: \S+ of 2$", text, re.M)) == 2  # a form each
    assert re.search(r"^delta +15,808 +15,808$", text, re.M)
    assert [path.name for path in draw_decoding(records, tmp_path)] == ["decode.png", "decode.svg"]


def symbols(attention, delta):
    lengths = (5, 50, 500)
    return [
        Record("symbol", name, 1, length, 40, 0, value=value)
        for name, values in (("attention", attention), ("delta", delta))
        for length, value in zip(lengths, values, strict=True)
    ]


@pytest.mark.parametrize(
    "attention, delta, said",
    [
        ((1, 1, 100), (10, 10, 10), "attention passes delta at about 158 symbols; delta at 500: 1.00 of 5"),
        ((1, 1, 1), (2, 2, 2), "attention stays below delta up to 500 symbols"),
        ((3, 3, 3), (2, 2, 2), "attention lies above delta from 5 symbols on"),
        ((3, 1, 3), (2, 2, 2), "attention passes delta at about"),
    ],
)
def test_the_crossing_is_told(attention, delta, said):
    assert crossing(symbols(attention, delta)).startswith(said)


class Wrong(nn.Module):
    """A memory whose steps are not those of the whole answer."""

    def __init__(self, states_size, queries_size):
        super().__init__()
        self.value_size = states_size

    def write(self, states, lengths=None):
        return MemoryState([states.mean(dim=1)])

    def append(self, state, key, value):
        raise NotImplementedError

    def read(self, state, queries):
        return state[0][:, None].expand(-1, queries.shape[1], -1) * (1.001 if queries.shape[1] == 1 else 1.0)


def test_a_wrong_decoder_is_told_and_not_timed(capsys, tmp_path):
    options = f"--op decode --sources 3 --batches 2 --rounds 1 --memories {__name__}:Wrong".split()
    assert cli.main(["bench", *options, "--json", str(tmp_path / "b.json")]) == 1
    out = capsys.readouterr().out
    assert re.search(r"Wrong +wrong$", out, re.M) and "wrong: not timed (symbol 1 off by" in out
    stored = json.loads((tmp_path / "b.json").read_text())
    wrong = [r for r in stored["records"] if r["wrong"]]
    assert [r["value"] for r in wrong] == [None] and stored["settings"]["memories"] == [f"{__name__}:Wrong"]


def test_a_step_that_raises_is_wrong():
    class Raises:
        def step(self, symbols, state):
            raise RuntimeError("no room")

    answers = torch.zeros(1, 2, 3)
    said = decoding.mismatch(Raises(), None, torch.zeros(1, 2, dtype=torch.long), answers.double(), answers)
    assert said == "raises RuntimeError: no room"


@pytest.mark.parametrize(
    "options, said",
    [
        ("--sources 0", "--sources 0: wanted an integer >= 1"),
        ("--batches", "--batches: got none, wanted at least one integer >= 1"),
        ("--memories dleta", "unknown memory 'dleta'; did you mean delta?"),
        ("--hidden 3", "--hidden: no such option"),
        ("--sources 1000000000 --batches 1000000", "--batches and --sources"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, said, capsys):
    assert cli.main(["bench", "--op", "decode", *options.split()]) == 2
    assert said in capsys.readouterr().err


def test_another_op_is_refused(capsys):
    assert cli.main(["bench", "--op=decod"]) == 2
    assert "decode" in capsys.readouterr().err


def test_settings_are_checked():
    with pytest.raises(UserError, match="--rounds 0"):
        DecodeSettings(rounds=0)
