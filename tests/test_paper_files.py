"""The papers that are reproduced: their cells, and the page of the committed results."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fastweights.nn import FastWeightsRNN
from fastweights.optim import parameter_groups
from fastweights.papers import PAPERS, measures, paper
from fastweights.papers.table import cells, differences, pages, results, search
from fastweights.rules import Delta, Hebbian
from fastweights.tasks import AssociativeRetrieval
from fastweights.training.config import Config
from fastweights.training.networks import FastWeights
from fastweights.training.setup import Setup

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", PAPERS)
def test_the_cells_of_a_paper(name, made_up_pictures, made_up_words, monkeypatch):
    module, known = paper(name), {}
    monkeypatch.setattr(measures, "SEQUENCES", 2)
    names = [cell.name for cell in module.RUNS]
    assert len(set(names)) == len(names)
    if hasattr(module, "METRICS"):
        assert set(module.METRICS) == {cell.setup.task.NAME for cell in module.RUNS} and not hasattr(module, "REPORTED")
    else:
        assert set(module.REPORTED["error"]) == {cell.name for cell in module.RUNS if cell.kind == "paper"}
    assert set(module.QUICK) <= set(names) and any(cell.row == module.OWN_LIKE for cell in module.RUNS)
    assert {cell.kind for cell in module.RUNS} <= set(cells.KINDS)
    assert "1. " in module.__doc__
    for cell in module.RUNS:
        assert cell.setup.config.test_size > 0 and cell.setup.config.target is None
        built = cell.setup.build()
        parameter_groups(built, cell.setup.config.groups, 1.0)  # every pattern has a parameter
        task, batch = cell.setup.task, cell.setup.task.draw(2, torch.Generator())
        loss, stats = task.loss(built, batch)
        if task.spec.pairs:
            stats = {**stats, **task.judge(batch, [[], []])}
        elif hasattr(module, "measure") and task not in known:
            known[task] = module.measure(built.eval(), task)
        metrics = module.METRICS[task.NAME].values() if hasattr(module, "METRICS") else ("accuracy",)
        assert loss.isfinite() and {"loss", *metrics} <= {*stats, *known.get(task, ())}  # of which tables are made
    module.figure([])


FREE = ("hidden_size", "epochs", "learning_rate")
OWN: dict[str, dict[str, float]] = {
    "FW-20": {"clip": 1.0},
    "IRNN-50": {"label_smoothing": 0.2},
    "IRNN-100": {"label_smoothing": 0.2},
    "GRU-LN-50": {"label_smoothing": 0.1},
    "A-LSTM-100": {"label_smoothing": 0.1},
    "LSTM-20": {"label_smoothing": 0.1},
    "LSTM-50": {"label_smoothing": 0.1},
    "LSTM-100": {"head_dropout": 0.2},
    "FW-decay0-20": {"label_smoothing": 0.0},
    "FW-decay0-50": {"label_smoothing": 0.0},
}


def test_table_1_has_its_cells_sizes_seeds_and_controls():
    module = paper("ba2016-retrieval")
    by_name = {cell.name: cell for cell in module.RUNS}
    assert len(cells.choose(module.RUNS, "paper")) == 12 and len(by_name) == 40
    assert by_name["FW-20"].seeds >= 5
    one_seed = {name for name, cell in by_name.items() if cell.seeds < 3}
    assert one_seed == {n for n in by_name if re.match("A-LSTM|GRU-LN|LSTM-LN|RNN-LN-FW0", n)}
    for cell in module.RUNS:
        config, model = cell.setup.config, cell.setup.model
        assert (config.train_size, config.valid_size, config.test_size) == (100_000, 10_000, 20_000)
        plain = cell.row in ("RNN-LN", "RNN-LN-FW0", "FW-plain")
        reading = module.PLAIN if plain else module.MEMORY if model == "RNN-LN-FW" else module.SETTINGS
        same = replace(reading, **{name: getattr(config, name) for name in FREE}, **OWN.get(cell.name, {}))
        if cell.name == "FW-50":
            same = replace(same, groups=(*module.ADAM, replace(module.HEAD, decay=1.0)))
        if cell.kind != "beyond" or plain:
            assert config == same, cell.name
        assert cell.setup.task == AssociativeRetrieval(4, renamed_keys=cell.row == "FW-renamed")
        decay = {"FW-decay0": 0.0, "FW-best-10": 1.0}.get(cell.name if "best" in cell.row else cell.row, 0.9)
        assert model != "RNN-LN-FW" or cell.setup.network == FastWeights(Hebbian(decay, 0.5)), cell.name
    assert replace(module.SETTINGS, groups=(*module.ADAM, module.HEAD), label_smoothing=0.1) == module.MEMORY
    smoothed = {name for name, cell in by_name.items() if cell.setup.config.label_smoothing}
    baselines = {"IRNN-50", "IRNN-100", "LSTM-20", "LSTM-50", "A-LSTM-100", "GRU-LN-50"}
    assert smoothed == {"FW-20", "FW-50", "FW-100", "FW-best-10", "FW-best-20", *baselines}
    ten, twenty = (by_name[name].setup.config for name in ("FW-best-10", "FW-best-20"))
    assert (ten.clip, twenty.clip) == (1.0, 5.0)
    (slow,), (decayed,) = ten.groups, twenty.groups
    assert (slow.share, slow.decay, decayed.share, decayed.decay) == (0.3, 0.0, 1.0, 0.25)
    assert results.summarise(by_name["FW-20"], [], {}).guess == pytest.approx(61.65, abs=0.005)
    for curve in module.REPORTED["loss"].values():
        assert len(curve) == len(module.REPORTED["updates"]) == 19


def test_the_networks_of_a_swap_are_trained_alike_and_have_what_modules_have_by_default():
    module = paper("swap")
    assert len(module.RUNS) == 36 and {cell.seeds for cell in module.RUNS} == {3}
    for task in module.METRICS:
        mine = [cell for cell in module.RUNS if task == cell.setup.task.NAME]
        assert {cell.row for cell in mine} == set(module.NETWORKS)
        assert all((cell.setup.task, cell.setup.config) == (mine[0].setup.task, mine[0].setup.config) for cell in mine)
        assert set(module.METRICS[task].values()) <= set(mine[0].setup.task.floors)
    built = {cell.row: cell.setup.build().recurrent for cell in module.RUNS[:6]}
    wanted: dict[str, Any] = {
        "fast-weights": FastWeightsRNN(48, 64), "Hebbian": FastWeightsRNN(48, 64, rule=Hebbian()),
        "Delta": FastWeightsRNN(48, 64, rule=Delta()), "no-memory": FastWeightsRNN(48, 64, inner_steps=0),
        "nn.GRU": torch.nn.GRU(48, 64), "nn.LSTM": torch.nn.LSTM(48, 64),
    }  # fmt: skip
    for row, module in wanted.items():
        assert isinstance(built[row], type(module)) and built[row].state_dict().keys() == module.state_dict().keys()
        for name in ("rule", "learned", "inner_steps"):
            assert getattr(built[row], name, None) == getattr(module, name, None), (row, name)


def test_the_input_weights_of_goku2016_have_the_range_that_they_had_there():
    cell = paper("goku2016").RUNS[0]
    torch.manual_seed(0)
    built = cell.setup.build()
    size = (built.recurrent.weight_ih_l0 * built.input_scale).abs().max().item()
    assert size == pytest.approx(math.sqrt(2 / 37), rel=0.01)


def test_the_page_is_that_of_the_committed_results():
    text = pages.page(ROOT / "results")
    assert (ROOT / "docs/papers.md").read_text(encoding="utf-8") == text, "run `fastweights reproduce NAME --render`"
    assert "of other settings" not in text


def test_the_committed_search_is_that_of_the_cells_as_they_are():
    module = paper("ba2016-retrieval")
    by_name = {cell.name: cell for cell in module.RUNS}
    for name, entry in search.read(ROOT / "results/ba2016-retrieval").items():
        cell = by_name[name]
        grid = list(search.grid_of(cell, module.GRID))
        assert entry["model"] == cell.setup.model, name
        younger = {setting: value for setting, value in Config().as_json().items() if setting not in grid[0]}
        assert json.loads(json.dumps(search.fixed_of(cell, grid[0]))) == {**younger, **entry["fixed"]}, name
        told = [{key: search.as_json(value) for key, value in each.items()} for each in grid]
        assert [{key: tried[key] for key in grid[0]} for tried in entry["tried"]] == told, name


def test_figure_2_has_losses_above_and_errors_in_per_cent_below():
    curve = {"update": [10, 20], "valid_loss": [1.0, 0.5], "valid_accuracy": [0.4, 0.9]}
    records = [{"cell": f"{row}-50", "curve": curve} for row in ("FW", "FW-soap")]
    axes = paper("ba2016-retrieval").figure(records).axes
    drawn = {place: {line.get_label(): list(line.get_ydata()) for line in axes[place].lines} for place in (1, 4)}
    assert drawn[1]["FW"] == drawn[1]["FW-soap"] == [1.0, 0.5]
    assert drawn[4]["FW"] == drawn[4]["FW-soap"] == pytest.approx([60, 10])
    assert "guess floor (1.19)" in drawn[1] and "guess floor (61.7)" in drawn[4]
    named = {text.get_text() for text in axes[5].get_legend().get_texts()}  # beside the last panel, for all of them
    assert named == {"FW", "FW-soap", "guess floor (61.7)"}


def test_the_table_of_the_readme_is_that_of_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    module = paper("ba2016-retrieval")
    found, _ = results.read(ROOT / "results/ba2016-retrieval", module.RUNS)
    rows = {cell.name: results.summarise(cell, found[cell.name], module.REPORTED["error"]) for cell in module.RUNS}
    for name, row in {"fast weights": "FW", "LSTM": "LSTM", "A-LSTM": "A-LSTM", "IRNN": "IRNN"}.items():
        of_row = [rows[f"{row}-{size}"] for size in (20, 50, 100)]
        shown = [f"{each.reported:.2f} / {each.error.mean:.2f}" for each in of_row if each.error]
        assert f"| {' | '.join([name, *shown])} |" in text


def test_the_table_of_differences_has_what_differs_and_nothing_else():
    module = paper("ba2016-retrieval")
    head, _, *rows = differences.text(module.RUNS).split("\n\n")[1].splitlines()
    columns = [name.strip() for name in head.strip("|").split("|")]
    assert {"cell", "model", "rule", "learning rate", "groups", "epochs"} <= set(columns)
    assert not {"train size", "schedule", "num pairs", "seed"} & set(columns)
    cells_of = {row.split("|")[1].strip(): [each.strip() for each in row.strip("|").split("|")] for row in rows}
    assert list(cells_of) == [cell.name for cell in module.RUNS] and {len(row) for row in cells_of.values()} == {
        len(columns)
    }
    twenty = dict(zip(columns, cells_of["FW-20"], strict=True))
    assert (twenty["clip"], twenty["rule"], twenty["epochs"], twenty["seeds"]) == ("1", "Hebbian 0.9 0.5", "120", "5")


def test_the_network_without_rate_is_the_one_without_memory_and_the_one_without_decay_is_not():
    tokens = AssociativeRetrieval(4).draw(64, torch.Generator().manual_seed(0)).inputs

    def logits(model, network=None):
        torch.manual_seed(0)
        config = replace(paper("ba2016-retrieval").SETTINGS, hidden_size=20)
        built = Setup(model, AssociativeRetrieval(4), config, network).build()
        torch.nn.init.normal_(built.recurrent.weight_ih_l0)
        return built(tokens)

    assert torch.equal(logits("RNN-LN-FW0"), logits("RNN-LN"))
    assert not torch.allclose(logits("RNN-LN-FW", FastWeights(Hebbian(decay=0.0))), logits("RNN-LN"), atol=0.01)
