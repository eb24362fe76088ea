"""Curves of runs: those that differ by their seed alone are one, with a band."""

import json
from pathlib import Path

import pytest

from fastweights.files import FileError
from fastweights.plotting import STYLES, draw, read_curves, style, title
from fastweights.tasks import AssociativeRetrieval
from fastweights.training.config import Config
from fastweights.training.setup import Setup


def run(folder, values, model="GRU", data=None, rule=None, **config):
    """A run folder as `train` leaves it, with these accuracies."""
    setup = Setup(model, AssociativeRetrieval(), Config(**config))
    drawn = {f"{part}_size": getattr(setup.config, f"{part}_size") for part in ("train", "valid")}
    drawn |= {f"{part}_hash": f"of seed {setup.config.seed}" for part in ("train", "valid")}
    metric = {"name": "accuracy", "better": "higher", "floors": {"accuracy": 0.43}}
    folder.mkdir(parents=True)
    described = {**setup.as_json(), "data": data or drawn, "metric": metric, "fastweights": "0", "torch": "0"}
    (folder / "config.json").write_text(json.dumps(described))
    rows = [
        {"epoch": n + 1, "update": 10 * (n + 1), "valid_accuracy": v, "valid_loss": 1 - v, "gradient_norm": 1 + v}
        for n, v in enumerate(values)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def shown(folders):
    return {curve.name: len(curve.runs) for curve in read_curves(folders)}


def test_seeds_are_one_curve_with_a_band(tmp_path):
    folders = [run(tmp_path / f"GRU-seed{seed}", [0.2 + seed, 0.4 + seed], seed=seed) for seed in range(3)]
    folders.append(run(tmp_path / "LSTM", [0.3, 0.5], "LSTM"))
    curves = read_curves(folders)
    assert [(curve.name, len(curve.runs)) for curve in curves] == [("GRU (3 seeds)", 3), ("LSTM", 1)]
    axes = draw(curves, "accuracy").axes[0]
    line = next(line for line in axes.get_lines() if line.get_label() == "GRU (3 seeds)")
    assert list(line.get_ydata()) == pytest.approx([1.2, 1.4]) and list(line.get_xdata()) == [10, 20]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.2, 2.4))
    assert axes.get_legend().get_title().get_text() == "mean and range of seeds"


def test_one_run_has_no_band(tmp_path):
    axes = draw(read_curves([run(tmp_path / "a", [0.3, 0.5])]), "accuracy").axes[0]
    assert not axes.collections and axes.get_legend().get_title().get_text() == ""


def test_a_curve_goes_as_far_as_all_its_seeds(tmp_path):
    folders = [
        run(tmp_path / "a", [0.2, 0.4, 0.6]),
        run(tmp_path / "b", [0.3], seed=1),
        run(tmp_path / "c", [], seed=2),
    ]
    (curve,) = read_curves(folders)
    assert curve.name == "GRU (2 seeds)" and curve.of("valid_accuracy") == ([10], [[0.2, 0.3]])


def test_settings_tell_curves_of_one_model_apart(tmp_path):
    folders = [
        run(tmp_path / f"{rate}-{seed}", [0.3], learning_rate=rate, seed=seed)
        for rate in (0.1, 0.2)
        for seed in range(2)
    ]
    folders.append(run(tmp_path / "LSTM", [0.3], "LSTM"))
    assert shown(folders) == {"GRU, learning rate 0.1 (2 seeds)": 2, "GRU, learning rate 0.2 (2 seeds)": 2, "LSTM": 1}


def test_folders_tell_apart_what_differs_in_much_or_in_no_setting(tmp_path):
    many = {"learning_rate": 0.5, "batch_size": 8, "epochs": 3, "clip": 1.0}
    assert shown([run(tmp_path / "a/one", [0.3]), run(tmp_path / "a/two", [0.3], **many)]) == {
        "GRU (one)": 1,
        "GRU (two)": 1,
    }
    again = [run(tmp_path / name, [0.3]) for name in ("first", "second")]  # the same seed: no band of two
    assert shown(again) == {"GRU (first)": 1, "GRU (second)": 1}


def test_seeds_on_one_file_are_one_curve_and_other_files_are_not(tmp_path):
    files = [{"train_size": 80, "train_hash": name, "valid_size": 20, "valid_hash": name} for name in "xy"]
    same = [run(tmp_path / f"same/{seed}", [0.3], seed=seed, data=files[0]) for seed in range(2)]
    assert shown(same) == {"GRU (2 seeds)": 2}
    other = [run(tmp_path / f"other/{seed}", [0.3], seed=seed, data=files[seed]) for seed in range(2)]
    assert shown(other) == {"GRU (0)": 1, "GRU (1)": 1}


def test_a_curve_has_one_style_in_all_figures(tmp_path):
    folders = [run(tmp_path / str(rate), [rate], learning_rate=rate) for rate in (0.1, 0.3, 0.2)]
    curves = read_curves(folders)
    seen = []
    for quantity in ("accuracy", "loss", "gradient_norm"):
        lines = draw(curves, quantity).axes[0].get_lines()
        seen.append(
            {line.get_label(): (line.get_color(), line.get_marker()) for line in lines if line.get_marker() != "None"}
        )
    assert len(seen[0]) == 3 and seen[0] == seen[1] == seen[2]


def test_a_name_in_brackets_is_more_than_the_model(tmp_path):
    many = {"learning_rate": 0.5, "batch_size": 8, "epochs": 3, "clip": 1.0}
    assert shown([run(tmp_path / "a/GRU", [0.3]), run(tmp_path / "b/GRU", [0.3])]) == {
        "GRU (a/GRU)": 1,
        "GRU (b/GRU)": 1,
    }
    other = [run(tmp_path / f"c/GRU-seed{seed}", [0.3], seed=seed, **many) for seed in range(2)]
    other += [run(tmp_path / f"d/seed{seed}", [0.3], seed=seed) for seed in range(2)]
    assert shown(other) == {"GRU (c/GRU) (2 seeds)": 2, f"GRU ({tmp_path.name}/d) (2 seeds)": 2}


@pytest.mark.parametrize("count, ending", [(2, "a, b"), (3, "a, b and 1 more task"), (4, "a, b and 2 more tasks")])
def test_a_title_counts_the_tasks_it_leaves_out(count, ending):
    assert title("loss", [{"name": name} for name in "abcd"[:count]]) == f"Loss: {ending}"


def test_styles_do_not_come_back_soon():
    assert len({str(style(place)) for place in range(3 * len(STYLES))}) == 3 * len(STYLES)


def test_a_folder_of_a_sweep_is_drawn(tmp_path, monkeypatch, capsys):
    from fastweights import cli

    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        run(Path(f"runs/sweep/GRU-seed{seed}"), [0.3, 0.5], seed=seed)
    Path("runs/sweep/runs.jsonl").write_text("{}\n")
    assert cli.main(["plot", "runs/sweep"]) == 0
    assert "runs/sweep/figures/accuracy.png" in capsys.readouterr().out
    with pytest.raises(FileError):
        read_curves([Path("runs/sweep")])
