"""Reproductions: cells, test set, statistics, runner, results, page. A toy paper stands in for the long ones."""

import json
import math
import random
import re
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch
from toy_runs import FILES, no_processes, reproduce, start

from fastweights.errors import UserError
from fastweights.jobs.job import Job, finished
from fastweights.papers import paper
from fastweights.papers.table import pages, results, tables
from fastweights.tasks import AssociativeRetrieval
from fastweights.training import data, provenance, run_folder
from fastweights.training.config import Config
from fastweights.training.description import load_run
from fastweights.training.evaluation import over_seeds
from fastweights.training.run import train
from fastweights.training.setup import Setup


def test_a_done_run_is_not_done_again_and_its_table_fits_a_terminal(toy, capsys, monkeypatch):
    no_processes(monkeypatch)
    code, out, err = reproduce(capsys, "toy")
    assert code == 0, err
    lines = out.splitlines()
    assert re.match(r"model paper +ours +95% seeds guess to 99% updates +time params$", lines[3])
    assert re.match(r"A-8 +1\.50 \d\d\.\d\d [\d.]+-[\d.]+ +2 45\.00 +never +12 +\d+s +\d+$", lines[4])
    assert re.match(r"B-8 +\d\d\.\d\d +1 45\.00", lines[5])
    assert all(len(line) <= 80 for line in lines)


def test_missing_trains_only_what_has_no_result_wherever_that_was_trained(toy, tmp_path, capsys, monkeypatch):
    there = tmp_path / "results/toy"
    there.mkdir(parents=True)
    for name in FILES - {"B-8-seed0.json"}:
        (there / name).write_text((toy / "results/toy" / name).read_text())
    arguments = ["toy", "--missing", "--results", there.parent, "--run", tmp_path / "runs"]
    stale = there / "A-8-seed1.json"
    stale.write_text(stale.read_text().replace('"learning_rate": ', '"learning_rate": 1'))
    code, out, err = reproduce(capsys, *arguments)
    assert code == 0 and "A-8" in out, err
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"A-8-seed1", "B-8-seed0"}
    assert {path.name for path in there.iterdir()} == FILES
    no_processes(monkeypatch)  # nothing is missing now
    assert reproduce(capsys, *arguments)[0] == 0


def test_two_runners_at_once_share_the_runs_of_a_table(folder, tmp_path):
    given = ["--run", str(tmp_path / "runs"), "--results", str(tmp_path)]
    both = [
        start(folder, "toy", "--workers", "2", "--seeds", "1", *given),
        start(folder, "toy", "--workers", "1", *given),
    ]
    for runner in both:
        out, err = runner.communicate(timeout=200)
        assert runner.returncode == 0, err
    assert {path.name for path in (tmp_path / "toy").iterdir()} == FILES
    assert "A-8" in out
    for name in FILES:  # in a process of its own a run comes out as it does here
        one, other = (json.loads((there / "toy" / name).read_text()) for there in (folder / "results", tmp_path))
        assert one["weights_hash"] == other["weights_hash"] and other["machine"]["threads"] == 1


def test_the_widest_row_fits_80_columns(capsys):
    from rich.console import Console

    row = results.Summary(
        "RNN-LN-FW-fast", 61.65, 62.11, over_seeds([50.0, 62.5]), 5, 187_440, 187_440, 7300.0, 269_360
    )
    Console(width=80).print(tables.terminal(tables.Titled("", tables.HEADS, [tables.error_fields(row)])))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(len(line) <= 80 for line in lines)
    assert lines[1].split() == "RNN-LN-FW-fast 62.11 56.25 50.00-62.50 5 61.65 187k 187k 2.0h 269k".split()


def test_a_result_says_where_it_comes_from(toy):
    found = json.loads((toy / "results/toy/A-8-seed1.json").read_text())
    drawn = data.draw(AssociativeRetrieval(2), 256, 64, 1, 64)
    assert found["data"] == drawn.describe() and found["data"]["test_hash"] == drawn.test.hash
    assert found["seed"] == found["settings"]["seed"] == 1
    assert found["machine"]["threads"] == 1 and found["versions"]["torch"] == torch.__version__
    assert re.match(r"[0-9a-f]{40}\+?$|fastweights ", found["commit"])
    assert found["curve"]["update"] == [4, 8, 12] and found["updates"] == 12
    model, _, _ = load_run(toy / "runs/toy/A-8-seed1")
    right = (model(drawn.test.inputs).argmax(1) == drawn.test.targets).float().mean().item()
    assert found["test_error"] == pytest.approx(1 - right, abs=1e-6)


def test_the_same_cell_again_gives_the_same_weights(toy, capsys):
    code, _, err = reproduce(capsys, "toy", "--only", "A-8", "--seeds", 1, "--run", "again", "--results", "r")
    assert code == 0, err
    one, other = (json.loads((toy / f / "toy/A-8-seed0.json").read_text()) for f in ("results", "r"))
    assert one["weights_hash"] == other["weights_hash"] and one["test_error"] == other["test_error"]
    assert not (toy / "r/toy/B-8-seed0.json").exists()


def test_a_killed_runner_goes_on_and_ends_where_an_uncut_run_ends(toy_in_processes, tmp_path, capsys, monkeypatch):
    arguments = ["toy", "--only", "A-8", "--seeds", "1", "--run", str(tmp_path / "cut"), "--results", str(tmp_path)]
    runner = start(toy_in_processes, *arguments, TOY_EPOCHS="100")
    run = tmp_path / "cut" / "A-8-seed0"
    deadline = time.monotonic() + 100
    while len(run_folder.read_rows(run / run_folder.METRICS)) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    assert not (run / run_folder.FINAL).exists() and not any((tmp_path / "toy").iterdir())
    module = paper("toy")
    monkeypatch.setattr(module, "RUNS", [cell.with_settings(epochs=100) for cell in module.RUNS])
    code, _, err = reproduce(capsys, *arguments)
    assert code == 0, err
    found = json.loads((tmp_path / "toy/A-8-seed0.json").read_text())
    config = Config.from_json(found["settings"])
    assert config.epochs == 100 and 20 < len(found["curve"]["update"]) <= results.CURVE_POINTS
    task = AssociativeRetrieval(2)
    train(Setup("CONTROL", task, config), data.draw(task, 256, 64, 0, 64), tmp_path / "uncut")
    assert run_folder.read_final(tmp_path / "uncut")["weights_hash"] == found["weights_hash"]


def test_a_run_that_another_process_trains_is_waited_for(toy, capsys, monkeypatch):
    no_processes(monkeypatch)
    monkeypatch.setattr("fastweights.jobs.runner.LOOK_AGAIN", 0.1)
    run = toy / "runs/toy/B-8-seed0"
    held = threading.Event()

    def hold():
        with run_folder.only_one(run):
            held.set()
            time.sleep(1)

    assert not run_folder.is_locked(run)
    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10) and run_folder.is_locked(run)
    code, _, err = reproduce(capsys, "toy", "--only", "B-8")
    assert code == 0 and not other.is_alive(), err


def test_a_run_is_finished_only_as_the_very_same_job(toy):
    found = json.loads((toy / "results/toy/B-8-seed0.json").read_text())
    job = Job(Setup("GRU", paper("toy").TASK, Config.from_json(found["settings"])), toy / "runs/toy/B-8-seed0")
    assert finished(job)
    for other in (
        replace(job, setup=replace(job.setup, model="LSTM")),
        replace(job, setup=replace(job.setup, config=replace(job.setup.config, epochs=4))),
        replace(job, setup=replace(job.setup, task=replace(job.setup.task, num_pairs=3))),
        replace(job, folder=toy / "nowhere"),
    ):
        assert not finished(other)


def test_search_is_recorded_repeatable_and_draws_no_test_sequences(toy, capsys, monkeypatch):
    code, out, err = reproduce(capsys, "toy", "--search", "--only", "A-8", "--run", "s", "--results", "found")
    assert code == 0 and "A-8: learning_rate=" in out, err
    path = toy / "found/toy/search.json"
    first = path.read_bytes()
    entry = json.loads(first)["cells"]["A-8"]
    best = min(entry["tried"], key=lambda each: each["valid_loss"])
    assert len(entry["tried"]) == 2 and entry["chosen"] == {"learning_rate": best["learning_rate"]}
    stored = run_folder.read_description(toy / "s/search/A-8-0.01")
    settings = {n: v for n, v in stored["config"].items() if n != "learning_rate"}
    assert entry["fixed"] == {"network": stored["network"], "task": stored["task"], **settings}
    assert stored["config"]["seed"] == 1000 and "test_hash" not in stored["data"]
    no_processes(monkeypatch)
    reproduce(capsys, "toy", "--search", "--only", "A-8", "--run", "s", "--results", "found")
    assert path.read_bytes() == first
    assert "| A-8 | 4 | " in pages.page(toy / "found")


def test_quick_says_that_it_is_not_the_table_and_leaves_the_results_alone(toy, capsys):
    before = {path: path.read_bytes() for path in (toy / "results").rglob("*.json")}
    code, out, err = reproduce(capsys, "toy", "--quick")
    assert code == 0 and "not the table" in out and "B-8" not in out, err
    assert {path: path.read_bytes() for path in (toy / "results").rglob("*.json")} == before
    assert json.loads((toy / "runs/toy-quick/results/A-8-seed0.json").read_text())["updates"] == 4


def test_the_page_and_the_figure_come_from_the_results_alone(toy, capsys):
    code, out, err = reproduce(capsys, "toy", "--render")
    assert code == 0, err
    assert out.splitlines() == ["docs/papers.md", "docs/figures/toy.png", "docs/figures/toy.svg"]
    first = {path: (toy / path).read_bytes() for path in out.splitlines()}
    reproduce(capsys, "toy", "--render")
    assert {path: (toy / path).read_bytes() for path in first} == first
    text = first["docs/papers.md"].decode()
    assert (
        "1. It is small." in text
        and re.search(r"^\| A-8 \| 1\.50 \|", text, re.M)
        and "3 runs on one thread each, by the commits" in text
    )


@pytest.mark.parametrize("part, change", [
    ("settings", {"epochs": 99}), ("task", {"num_pairs": 3}), ("task", {"version": 2}), ("network", {"inner_steps": 9}),
])  # fmt: skip
def test_results_of_another_setup_are_left_out(part, change, toy, tmp_path):
    content = json.loads((toy / "results/toy/A-8-seed0.json").read_text())
    content[part] |= change
    (tmp_path / "A-8-seed0.json").write_text(json.dumps(content))
    found, stale = results.read(tmp_path, paper("toy").RUNS)
    assert found["A-8"] == [] and stale == [tmp_path / "A-8-seed0.json"]
    (tmp_path / "A-8-seed0.json").write_text("[]")
    with pytest.raises(UserError, match="A-8-seed0.json: got \\[\\], wanted an object, in the result of a run"):
        results.read(tmp_path, paper("toy").RUNS)


def test_a_result_that_is_older_than_a_setting_had_its_default(toy, tmp_path):
    content = json.loads((toy / "results/toy/A-8-seed0.json").read_text())
    del content["settings"]["linear_embeddings"]
    (tmp_path / "A-8-seed0.json").write_text(json.dumps(content))
    found, stale = results.read(tmp_path, paper("toy").RUNS)
    assert len(found["A-8"]) == 1 and not stale


def bad_input(*arguments, says):
    return pytest.param(arguments, says, id=" ".join(map(str, arguments))[:50])


@pytest.mark.parametrize(
    "arguments, says",
    [
        bad_input("ba2016-retrieval", "--missing", "--render", says="--missing: got --render too, which trains no run"),
        bad_input(says="got no paper, wanted one \\(papers: ba2016-retrieval, ba2016-mnist, "),
        bad_input("ba2016-retrival", says="unknown paper 'ba2016-retrival'; did you mean ba2016-retrieval\\?"),
        bad_input("ba2016-retreival", says="unknown paper 'ba2016-retreival'; did you mean ba2016-retrieval\\?"),
        bad_input("ba2016-retrieval", "--only", "FW-(", says="--only FW-\\(: got no regular expression"),
        bad_input("ba2016-retrieval", "--only", "fw-20", says="matches no cell; did you mean FW-20\\?"),
        bad_input("goku2016", "--seeds", 0, says="--seeds 0: wanted an integer >= 1"),
        bad_input("goku2016", "--workers", 0, says="--workers 0: wanted an integer >= 1"),
        bad_input("goku2016", "--model", "MyCell", says="--model MyCell: wanted package.module:Class"),
        bad_input("goku2016", "--model", "nowhere:Cell", says="model 'nowhere:Cell': got ModuleNotFoundError"),
        bad_input("goku2016", "--model", "torch.nn:Linear", says="torch.nn:Linear"),
        bad_input("goku2016", "--quick", "--search", says="got two of --quick, --search and --render"),
        bad_input("goku2016", "--quick", "--only", "CONTROL", says="--only CONTROL: none of it is in --quick"),
        bad_input("goku2016", "--cluster", "slurm", says="slurm"),
        bad_input(
            "goku2016", "--data-dir", "data", says="--data-dir data: no task of goku2016 reads files; leave it out"
        ),
        bad_input(
            "swap", "--only", "image-rows", says="train-images-idx3-ubyte.gz: no such file, .* folder .* by --data-dir"
        ),
        bad_input("goku2016", "--run", __file__, says="test_papers.py: got a file, wanted a folder for the runs"),
        bad_input("goku2016", "--render", "--results", "nowhere", says="--results nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = reproduce(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("fastweights: error: ") and err.count("\n") == 1, err
    assert re.search(says, err), err
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_error_names_the_way_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = reproduce(capsys, "goku2016", "--cluster", "ray")
    assert code == 2 and err.count("\n") == 1 and "pip install 'fastweights[cluster]'" in err


def test_a_local_ray_of_two_workers(toy, capsys):
    pytest.importorskip("ray", reason="ray is not installed (the extra [cluster])")
    before = signal.getsignal(signal.SIGTERM)
    intruder = toy / "dill.py"  # torch imports it where it is there
    intruder.write_text("with open('executed', 'w') as file:\n    file.write(__name__)\nraise ImportError\n")
    code, _, err = reproduce(capsys, "toy", "--cluster", "ray", "--workers", 2, "--run", "ray", "--results", "of-ray")
    assert code == 0, err
    assert signal.getsignal(signal.SIGTERM) == before, "Ray takes it, and ends a command with a traceback"
    intruder.unlink()
    assert not (toy / "executed").exists(), "Ray puts the current folder first on the path of its workers"
    assert {path.name for path in (toy / "of-ray/toy").iterdir()} == FILES
    for name in FILES:
        one, other = (json.loads((toy / f / "toy" / name).read_text()) for f in ("results", "of-ray"))
        assert one["weights_hash"] == other["weights_hash"] and other["machine"]["threads"] == 1
    code, _, err = reproduce(capsys, "toy", "--cluster", "ray", "--run", "ray", "--results", "of-ray")
    assert code == 0, err


def test_processors_of_one_name_are_told_apart():
    text = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: {}\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx {}\n\nprocessor\t: 1\n"
    assert provenance.describe_cpu(text.format(1, "avx2")) == "AMD EPYC (family 25, model 1, avx2)"
    assert provenance.describe_cpu(text.format(17, "avx2 avx512f")) == "AMD EPYC (family 25, model 17, avx512f)"
    assert provenance.describe_cpu("model name: Power\n") == "Power"
    with pytest.raises(KeyError):
        provenance.describe_cpu("processor : 0\nCPU implementer : 0x41\n")


def test_a_machine_that_does_not_see_the_run_folder_says_so(tmp_path):
    from fastweights.jobs.cluster import run_one

    job = Job(Setup("GRU", AssociativeRetrieval()), tmp_path / "runs/a")
    assert "wanted" in run_one(job.as_json()) and "a file system that all machines share" in run_one(job.as_json())


def test_a_test_set_leaves_train_and_valid_as_they_are():
    task = AssociativeRetrieval(4)
    without, with_test = data.draw(task, 300, 200, 7), data.draw(task, 300, 200, 7, 100)
    assert (without.train.hash, without.valid.hash) == (with_test.train.hash, with_test.valid.hash)
    assert without.test is None and "test_hash" not in without.describe()
    assert with_test.describe() == without.describe() | {"test_size": 100, "test_hash": with_test.test.hash}


def test_interval_over_seeds():
    assert over_seeds([3.0]) == (3.0, None)
    assert over_seeds([2.0, 2.0, 2.0]) == (2.0, (2.0, 2.0))
    values = [random.Random(1).gauss(5, 2) for _ in range(1)] + [random.Random(n).gauss(5, 2) for n in range(199)]
    estimate = over_seeds(values)
    spread = (sum((v - estimate.mean) ** 2 for v in values) / len(values)) ** 0.5 / math.sqrt(len(values))
    assert estimate == over_seeds(values)
    assert estimate.interval[0] == pytest.approx(estimate.mean - 1.96 * spread, abs=0.1 * spread)
    assert estimate.interval[1] == pytest.approx(estimate.mean + 1.96 * spread, abs=0.1 * spread)
