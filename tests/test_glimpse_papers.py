"""The tables of glimpses: rows that are trained alike, a search over settings of the task, and a folder of one's own."""

import json
from dataclasses import replace

import numpy as np
import torch
from in_process import run_jobs_here
from PIL import Image
from toy_runs import reproduce

from fastweights import cli
from fastweights.explorer import glimpse_figure
from fastweights.jobs.runner import Status
from fastweights.papers import paper
from fastweights.papers.table import search
from fastweights.training.setup import Setup


def test_the_rows_of_table_2_are_trained_alike_on_all_pictures():
    module = paper("ba2016-mnist")
    assert [cell.name for cell in module.RUNS if cell.kind == "paper"] == [
        f"{row}-{size}" for row in ("FW", "IRNN", "LSTM", "ConvNet") for size in (50, 100, 200)
    ]
    for cell in module.RUNS:
        config = cell.setup.config
        assert replace(config, hidden_size=1) == replace(module.SETTINGS, hidden_size=1) and cell.seeds == 3
        assert cell.setup.task == module.TASK and module.TASK.validation == "test"
        assert (config.train_size, config.test_size) == (60_000, 10_000)
        tried = search.shortened(cell).setup
        assert tried.task.validation == "held-out" and tried.config.test_size == 0


def test_settings_of_the_task_are_searched_too(tmp_path):
    module = paper("ba2016-mnist")
    cell = module.RUNS[0]
    jobs = search.search_jobs([cell], module.GRID, tmp_path)
    asked = [(job.setup.task.shift, job.setup.config.head_dropout) for _, _, job in jobs]  # pyright: ignore
    assert asked == [(0, 0.0), (0, 0.2), (1, 0.0), (1, 0.2)] and len({job.folder for *_, job in jobs}) == 4
    rows = [{"update": 9, "valid_loss": loss, "valid_accuracy": 0.5} for loss in (0.4, 0.3, 0.1, 0.2)]
    statuses = [Status(job, state="done", row=row) for (_, _, job), row in zip(jobs, rows, strict=True)]
    search.record(tmp_path, search.outcome(jobs, statuses))
    assert search.chosen(tmp_path) == {(cell.name, cell.setup.model): {"shift": 1, "head_dropout": 0.0}}
    assert "shift" not in search.read(tmp_path)[cell.name]["fixed"]["task"]
    again = Setup.from_json(jobs[2][2].setup.as_json())
    assert again == jobs[2][2].setup == replace(again, task=replace(again.task, shift=1))  # pyright: ignore


def test_the_protocol_on_a_folder_of_ones_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("neutral", "smile", "scream")):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for person in range(12):
            image = np.full((8, 8), 20 * place + person, np.uint8)
            Image.fromarray(image).save(tmp_path / "faces" / name / f"{person:02}_1.png")
    run_jobs_here(monkeypatch)
    code, out, err = reproduce(capsys, "ba2016-faces", "--data-dir", "faces", "--only", "FW|ConvNet", "--seeds", "1")
    assert code == 0, err
    assert "glimpses: 10 updates of 30 sequences" in out and "drawn-" not in out
    assert {path.name for path in (tmp_path / "results/ba2016-faces").iterdir()} == {
        "FW-seed0.json",
        "ConvNet-seed0.json",
    }
    asked = ["train", "GRU", "--task", "glimpses", "--pictures", "folder", "--data-dir", "faces", "--epochs", "1"]
    assert cli.main([*asked, "--test-size", "2"]) == 0
    config = json.loads((tmp_path / "runs/GRU/config.json").read_text())["config"]
    assert [config[f"{name}_size"] for name in ("train", "valid", "test", "batch")] == [30, 3, 2, 30]
    assert "note: faces is read as glimpses: 3 classes, 30 pictures train" in capsys.readouterr().err
    (tmp_path / "faces/smile/03_1.png").write_bytes(b"no picture")
    from fastweights.tasks import pictures

    pictures.from_folder.cache_clear()
    code, _, err = reproduce(capsys, "ba2016-faces", "--data-dir", "faces", "--run", "other")
    assert code == 2 and "03_1.png: got a file that cannot be read as a picture" in " ".join(err.split())
    assert not (tmp_path / "other").exists()


def test_a_picture_of_glimpses_has_all_of_them_and_the_reads(tmp_path, capsys, monkeypatch, made_up_pictures):
    monkeypatch.chdir(tmp_path)
    small = ["--train-size", "32", "--batch-size", "16", "--valid-size", "8", "--epochs", "1", "--workers", "1"]
    run_jobs_here(monkeypatch)
    for model in ("MULTI-LEVEL", "LSTM"):
        assert cli.main(["train", model, "--task", "glimpses", *small]) == 0
        assert cli.main(["sample", model, "--figure", f"{model}.svg"]) == 0
    assert "Weight of each earlier glimpse" in (tmp_path / "MULTI-LEVEL.svg").read_text()
    assert "This network reads no memory." in (tmp_path / "LSTM.svg").read_text()
    assert cli.main(["sample", "LSTM", "5"]) == 2
    said = "no text, in which sequences could be written: `fastweights sample LSTM --figure memory.png` draws one"
    assert said in " ".join(capsys.readouterr().err.split())
    assert cli.main(["sample", "LSTM", "5", "--figure", "other.svg"]) == 2
    assert "glimpses has pictures, and one is drawn" in " ".join(capsys.readouterr().err.split())
    task = paper("ba2016-mnist").TASK
    batch = task.draw(1, torch.Generator())
    attention = torch.zeros(24, 24)
    attention[5, 0], attention[23, 6] = 2.0, -1.0
    whole, *quadrants, strip, table = glimpse_figure.draw(task, batch.inputs[0], attention).axes
    assert [text.get_text() for text in whole.texts] == [str(n) for n in range(24) if n % 6 not in (0, 5)]
    for place, axes in enumerate(quadrants):
        shown = axes.images[0].get_array()
        top, left = 14 * (place // 2), 14 * (place % 2)
        assert np.allclose(shown[:14], task.picture(batch.inputs)[0, top : top + 14, left : left + 14])
        assert np.allclose(shown[16:, 3:10].ravel(), batch.inputs[0, 6 * place])
    ends = [tuple(sorted({int(x) for x, _ in patch.get_path().vertices})) for patch in strip.patches]
    assert ends == [(0, 5), (6, 23)] and np.allclose(table.images[0].get_array(), attention)
