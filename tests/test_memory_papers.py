"""The tables that compare memories: what is measured, and which rows are told to be apart."""

from dataclasses import replace

import pytest
import torch

from fastweights.papers import measures, paper
from fastweights.papers.measures import accuracy, state_bytes
from fastweights.papers.table import cells, results
from fastweights.papers.table.order import order
from fastweights.papers.table.tables import tables
from fastweights.tasks import Parity
from fastweights.training.config import Config
from fastweights.training.data import draw
from fastweights.training.networks import Blocks
from fastweights.training.run import train
from fastweights.training.setup import Setup

NAMES = ("overwrite", "state-tracking", "mqar", "capacity")


def test_a_state_is_measured_in_the_bytes_of_its_tensors():
    task = Parity(length=12)
    config = Config(hidden_size=16)
    blocks = Setup("FastWeightsModel", task, config, Blocks(layers=3, heads=2))
    assert state_bytes(blocks.build(), task) == 4 * 3 * (2 * 8 * 8 + 3 * 48)  # the memory, and three inputs of q, k, v
    attention = Setup("FastWeightsModel", task, config, Blocks(layers=1, heads=2, attention=(1,)))
    grows = [state_bytes(attention.build(), replace(task, judged_length=length)) for length in (12, 24)]
    assert grows == [4 * (2 * length * 16 + 3 * 48) for length in (12, 24)]
    assert state_bytes(Setup("nn.LSTM", task, config).build(), task) == 4 * 2 * 16


def test_an_accuracy_at_another_length_is_that_of_the_last_answers():
    class Right(torch.nn.Module):
        def forward(self, inputs, asked):
            right = torch.nn.functional.one_hot(inputs.cumsum(1) % 2, 2)
            right[:, 30:] = right[:, 30:].flip(-1)  # from there on it is wrong
            return right[asked].float()

    assert accuracy(Right(), Parity(10), judged_length=30) == 1.0
    assert accuracy(Right(), Parity(10), judged_length=31) == 0.0


def record(name, values, statistic="accuracy"):
    return [{"cell": name, "test_error": 1 - each, "test_loss": 0.0, "test": {statistic: each}} for each in values]


def test_rows_are_apart_where_no_interval_touches():
    module = paper("overwrite")
    mine = [cell for cell in module.RUNS if cell.name in ("sum", "delta", "gated-delta", "GLA")]
    found = {"sum": record("sum", [0.1, 0.2, 0.3]), "delta": record("delta", [0.9, 0.95, 1.0])}
    found |= {"gated-delta": record("gated-delta", [0.8, 0.9, 0.95]), "GLA": record("GLA", [0.4, 0.5])}
    assert order(mine, found, "accuracy") == [
        ("delta", "95.00%", "90.00%-100.00%", "sum"),
        ("gated-delta", "88.33%", "80.00%-95.00%", "sum"),
        ("sum", "20.00%", "10.00%-30.00%", "none"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_of_a_table_are_trained_alike(name):
    module = paper(name)
    assert {cell.seeds for cell in module.RUNS} == {3}
    by_task = {}
    for cell in module.RUNS:
        config = replace(cell.setup.config, hidden_size=1)
        by_task.setdefault(cell.setup.task, set()).add(config)
    assert all(len(configs) == 1 for configs in by_task.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_run_becomes_a_row_and_a_point_of_the_figure(name, tmp_path, monkeypatch):
    """One tiny run of a cell, in the place of all seeds."""
    monkeypatch.setattr(measures, "SEQUENCES", 20)
    module = paper(name)
    cell = module.RUNS[3].with_settings(train_size=64, epochs=2, valid_size=20, test_size=20)
    ((_, job),) = cells.jobs_of([replace(cell, seeds=1)], tmp_path, None)
    config = job.setup.config
    train(job.setup, draw(job.setup.task, 0, config.valid_size, config.seed, config.test_size), job.folder)
    made = results.record(cell, job, module.measure)
    assert {"accuracy", *made["measured"]} == set(module.METRICS[cell.setup.task.NAME].values())
    found = {each.name: [made] if each.name == cell.name else [] for each in module.RUNS}
    shown = [row for table in tables(module, module.RUNS, found) for row in table.rows if row[0] == cell.row]
    assert any(f"{made['measured']['state_bytes']:,.0f}" in row for row in shown)
    drawn = module.figure([made])
    assert any(cell.row.startswith(str(line.get_label())) for axes in drawn.axes for line in axes.lines)
