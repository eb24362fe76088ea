"""A slice of `make fuzz`: broken sequences, CSV, JSON, safetensors and options."""

import fuzz
import hangs
import pytest

SLICE = {"sequences": 300, "csv": 100, "own_lines": 100, "json": 200, "safetensors": 100, "options": 20}


@pytest.fixture(scope="module")
def inputs():
    with fuzz.prepared() as made:
        yield made


@pytest.mark.parametrize("kind", SLICE)
def test_a_broken_input_is_one_line(kind, inputs, monkeypatch, as_users_have_it):
    monkeypatch.chdir(inputs.where)
    wrong = [said for number in range(SLICE[kind]) if (said := fuzz.one(inputs, kind, 0, number))]
    assert not wrong, "\n".join(wrong)


def test_the_fuzzer_sees_what_is_wrong(inputs, monkeypatch):
    def broken(draw):
        raise KeyError("planted")

    def hanging(draw):
        while True:
            pass

    def escaping(draw):
        fuzz.said(RuntimeError("x" * 9999))
        raise fuzz.UserError("fine")

    monkeypatch.setattr(hangs, "LONGEST", 1)
    for name, kind in (("csv", broken), ("csv", hanging)):
        monkeypatch.setattr(inputs, name, kind, raising=False)
        assert "Error: 'planted'" in (said := fuzz.one(inputs, name, 0, 0)) or "Late: longer than 1 s" in said
    monkeypatch.setattr(inputs, "json", escaping, raising=False)
    assert fuzz.one(inputs, "json", 0, 0) is None
