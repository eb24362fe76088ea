"""Runs as TensorBoard reads them."""

import sys

import pytest

from fastweights import cli
from fastweights.tensorboard import scalars, write_events
from fastweights.training import run_folder

ROWS = [
    {"model": "GRU", "epoch": n, "update": 4 * n, "train_loss": 2.0 / n, "valid_loss": 3.0 / n, "gradient_norm": 0.5}
    for n in (1, 2)
]


@pytest.fixture
def runs(tmp_path):
    for name in ("one/GRU", "two/GRU", "two/LSTM"):
        (tmp_path / name).mkdir(parents=True)
        for row in ROWS:
            run_folder.append_row(tmp_path / name / run_folder.METRICS, row)
    return tmp_path


def test_a_quantity_is_named_by_its_part():
    assert scalars(ROWS[0]) == {"train/loss": 2.0, "valid/loss": 3.0, "gradient_norm": 0.5}


def test_each_run_has_its_scalars_by_updates(runs):
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is an extra (`make extras`)"
    )
    folders = [runs / name for name in ("one/GRU", "two/GRU", "two/LSTM")]
    for _ in range(2):  # written again, nothing is there twice
        written = write_events(folders, runs / "out")
    assert [path.name for path in written] == ["one-GRU", "two-GRU", "LSTM"]
    events = reading.EventAccumulator(str(written[1]))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["gradient_norm", "train/loss", "valid/loss"]
    assert [(each.step, each.value) for each in events.Scalars("valid/loss")] == [(4, 3.0), (8, 1.5)]
    assert len(list(written[1].iterdir())) == 1


def test_without_the_package_it_is_named_and_nothing_is_written(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    (runs / "one/GRU/config.json").write_text("{}")
    assert cli.main(["plot", str(runs / "one"), "--tensorboard"]) == 2
    assert "wanted it: pip install 'fastweights[tensorboard]'" in capsys.readouterr().err
    assert not (runs / "one/figures").exists()
