"""The table that goes task by task, on runs of a few updates."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from toy_runs import no_processes, reproduce

from fastweights.papers import paper
from fastweights.papers.table import pages, results, tables

LINES = r"""Swapping nn.GRU or nn.LSTM for FastWeightsRNN
means over seeds, of test sequences; 95%: their interval; guess: the guess floor

All tasks
 +image +
 +rows +copying
network +accuracy accuracy
guess +10.00% +12.50%
Hebbian +\d+.\d\d% +\d+.\d\d%
nn.GRU +\d+.\d\d% +\d+.\d\d%

image-rows: 4 updates of 64 sequences, learning rate 0.004
network +accuracy +95% seeds time params
guess +10.00% +
Hebbian +\d+.\d\d% +\d+.\d\d%-\d+.\d\d% +2 +\d+s +6.7k
nn.GRU +\d+.\d\d% +\d+.\d\d%-\d+.\d\d% +2 +\d+s +18.7k

copying: 4 updates of 32 sequences, learning rate \S+
network +accuracy +95% seeds time params
guess +12.50% +
Hebbian +\d+.\d\d% +\d+.\d\d%-\d+.\d\d% +2 +\d+s +5.4k
nn.GRU +\d+.\d\d% +\d+.\d\d%-\d+.\d\d% +2 +\d+s +15.1k
""".splitlines()


@pytest.fixture
def few(tmp_path, monkeypatch, jobs_here):
    """Four of the cells, two seeds each, which take no time."""
    monkeypatch.chdir(tmp_path)
    module = paper("swap")
    cells = [
        replace(cell, seeds=2).with_settings(
            train_size=2 * cell.setup.config.batch_size, epochs=2, valid_size=20, test_size=40
        )
        for cell in module.RUNS
        if re.fullmatch("(image-rows|copying)-(Hebbian|nn.GRU)", cell.name)
    ]
    monkeypatch.setattr(module, "RUNS", cells)
    return module


def test_the_table_of_a_swap(few, capsys, made_up_pictures, monkeypatch):
    code, out, err = reproduce(capsys, "swap", "--data-dir", "anywhere")
    assert code == 0, err
    for line, wanted in zip(out.splitlines(), LINES, strict=False):
        assert re.fullmatch(wanted, line), (line, wanted)
    assert all(len(line) <= 80 for line in out.splitlines())
    no_processes(monkeypatch)  # wherever the pictures lie, these are the results
    assert (
        reproduce(capsys, "swap", "--missing", "--data-dir", "elsewhere")[1].splitlines()[:24] == out.splitlines()[:24]
    )
    code, out, err = reproduce(capsys, "swap", "--render")
    page = Path("docs/papers.md").read_text()
    assert code == 0 and "docs/figures/swap.png" in out, err
    assert "### All tasks\n\n| network | image rows accuracy | copying accuracy |" in page and "anywhere" not in page
    assert re.search(r"### copying: 4 updates .*\n\n\| network \| accuracy \| 95% \| seeds \| time \| params \|", page)


def test_a_task_whose_files_are_missing_is_left_out_and_the_others_are_trained(few, capsys):
    code, out, err = reproduce(capsys, "swap", "--seeds", 1)
    assert code == 0 and re.search(r"^Hebbian +0$", re.sub(" +$", "", out, flags=re.M), re.M), err
    assert re.search(r"^nn.GRU +\d+.\d\d% +1 +\d+s", out, re.M)
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and "image-rows is left out: data/mnist/train-images-idx3-ubyte.gz: no such file" in notes[0]


def test_a_network_of_ones_own_has_a_row_in_each_task(few, capsys, made_up_pictures, tmp_path, monkeypatch):
    (tmp_path / "own_cell.py").write_text("from torch import nn\nclass Mine(nn.RNN): pass\n")
    code, out, err = reproduce(capsys, "swap", "--model", "own_cell:Mine", "--only", "own", "--seeds", 1)
    assert code == 0 and len(re.findall(r"^Mine ", out, re.M)) == 3, err


@pytest.mark.parametrize("only, count", [
    (".*-nn.GRU", 6), ("tagging", 6), ("control", 6), ("adding-.*", 6), ("adding|copying-Delta", 7), ("adding-nn.GRU", 1),
])  # fmt: skip
def test_cells_are_chosen_by_name_task_or_kind(only, count):
    from fastweights.papers.table.cells import choose

    assert len(choose(paper("swap").RUNS, only)) == count


def test_the_widest_tables_fit_80_columns(capsys):
    from rich.console import Console

    module = paper("swap")
    record = {"test_error": 0.0, "seconds": 3540.0, "parameters": 269_360}
    found = {cell.name: [record | {"test_loss": 12.3456 + seed} for seed in range(3)] for cell in module.RUNS}
    shown = tables.tables(module, module.RUNS, found)
    for each in shown:
        Console(width=200).print(tables.terminal(each))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 7 and max(map(len, lines)) <= 80
    assert shown[0].heads[1] == "next\ncharacter\nnats" and "next character nats" in tables.markdown(shown[0])
    assert lines[4].split() == "fast-weights 13.3456 100.00% 100.00% 13.3456 100.00% 100.00%".split()


def test_no_page_has_a_section_without_results(tmp_path):
    assert "Swapping" not in pages.page(tmp_path)
    (tmp_path / "swap").mkdir()
    assert "No run is recorded yet." in pages.page(tmp_path)
    assert results.read(tmp_path / "swap", paper("swap").RUNS)[1] == []
