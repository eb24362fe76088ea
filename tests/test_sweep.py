"""A grid of settings and seeds: which runs it has, what its table says, what becomes of it when it is stopped or wrong."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import run_jobs_here
from toy_runs import no_processes

from fastweights import cli
from fastweights.commands import grid, many, outcome
from fastweights.jobs import runner
from fastweights.tasks import Adding, AssociativeRetrieval, Copying
from fastweights.training import pace
from fastweights.training.config import Config
from fastweights.training.evaluation import over_seeds
from fastweights.training.setup import Setup

TINY = "--hidden-size 8 --epochs 2 --train-size 128 --valid-size 64 --batch-size 64".split()
DECAYS = ["sweep", "RNN-LN-FW", *TINY, "--decay", ".9", ".95", "--seeds", "2"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    where = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        run_jobs_here(patch)
        assert cli.main(DECAYS) == 0
    return where


def sweep(capsys, *arguments):
    code = cli.main(["sweep", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_row_a_setting_and_a_run_that_is_done_is_not_done_again(swept, monkeypatch, capsys):
    monkeypatch.chdir(swept)
    no_processes(monkeypatch)
    code, out, err = sweep(capsys, *DECAYS[1:])
    lines = out.splitlines()
    assert code == 0 and "with" not in err
    assert lines[0] == "associative-retrieval: means and ranges of seeds; guess: guess floor"
    assert lines[1].split() == "decay accuracy range guess seeds time".split()
    assert re.match(r"0\.9 +\d+\.\d\d% +[\d.]+%-[\d.]+% 43\.00% +2/2 +\d+s", lines[2]) and lines[3].startswith("0.95 ")
    assert lines[4] == "no setting is apart from the guess floor on validation sequences"
    assert lines[-1] == "runs: runs/sweep; results: runs/sweep/runs.jsonl, runs/sweep/table.csv"
    assert all(len(line) <= 80 for line in lines)
    runs = [json.loads(line) for line in Path("runs/sweep/runs.jsonl").read_text().splitlines()]
    assert {(run["decay"], run["seed"]) for run in runs} == {(0.9, 0), (0.9, 1), (0.95, 0), (0.95, 1)}
    assert {path.name for path in Path("runs/sweep").iterdir() if path.is_dir()} == {run["folder"] for run in runs}
    with open("runs/sweep/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        values = [run["valid_accuracy"] for run in runs if str(run["decay"]) == row["decay"]]
        known = over_seeds(values)
        assert float(row["valid_accuracy"]) == pytest.approx(known.mean)
        assert (float(row["valid_accuracy_low"]), float(row["valid_accuracy_high"])) == pytest.approx(known.interval)


@pytest.mark.usefixtures("jobs_here")
def test_more_values_and_seeds_go_on_from_the_runs_there_are(swept, monkeypatch, capsys):
    monkeypatch.chdir(swept)
    code, out, err = sweep(capsys, "RNN-LN-FW", *TINY, "--decay", 0.9, 0.95, 1, "--seeds", 3, "--workers", 1)
    assert code == 0 and re.search(
        r"^5 runs \(4 more are done\), about \d+ seconds with 1 worker on free cores$", err, re.M
    )
    assert re.findall(r" (\d/\d) ", out) == ["3/3"] * 3


def test_another_sweep_in_the_same_folder_is_refused_before_it_writes(swept, monkeypatch, capsys):
    monkeypatch.chdir(swept)
    no_processes(monkeypatch)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, out, err = sweep(capsys, *DECAYS[1:], "--epochs", 3)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert "holds another run (config epochs 2, not 3); choose another --run" in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def rows_of(monkeypatch, *arguments):
    """The settings of the runs that a command would begin."""
    found = []

    def start(jobs, *rest):
        found.extend(jobs)
        return []

    monkeypatch.setattr("fastweights.commands.sweep.train", start)
    monkeypatch.setattr("fastweights.training.trial.try_out", lambda *given: None)
    assert cli.main(["sweep", *arguments]) == 0
    return found


@pytest.mark.parametrize("arguments, seeds, settings", [
    ("RNN-LN-FW GRU-LN --decay .9 .95", 3, [("RNN-LN-FW", .9), ("RNN-LN-FW", .95), ("GRU-LN", None)]),
    ("RNN-LN-FW --rule Hebbian Cosine --decay .5 .6 --seeds 1", 1,
     [("RNN-LN-FW", d, rule) for rule in ("Hebbian", "Cosine") for d in (.5, .6)]),
    ("GRU LSTM --rule Hebbian Cosine", 3, "unknown"),
    ("GRU --head-sizes none 10 10,5 --seed 7 --seeds 2", 2, [("GRU", None, None, h) for h in ((), (10,), (10, 5))]),
    ("GRU --like ba2016-retrieval/FW-20 --learning-rate 1e-3 2e-3", 3, None),
])  # fmt: skip
def test_the_grid(arguments, seeds, settings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if settings == "unknown":
        assert cli.main(["sweep", *arguments.split()]) == 2 and "--rule: no such option" in capsys.readouterr().err
        return
    jobs = rows_of(monkeypatch, *arguments.split())
    first = 7 if "--seed " in arguments else 0
    order = [job.setup.config.seed for job in jobs]
    assert order == sorted(order) and set(order) == set(range(first, first + seeds))
    assert len({job.folder for job in jobs}) == len(jobs)
    if settings is None:
        assert len(jobs) == 2 * seeds and {job.setup.config.embedding_sizes for job in jobs} == {(50, 100)}
        return
    assert len(jobs) == len(settings) * seeds
    for job, (model, decay, *more) in zip(jobs, settings, strict=False):
        assert job.setup.model == model
        if decay is not None:
            assert job.setup.network.rule.decay == decay
        if more and more[0]:
            assert type(job.setup.network.rule).__name__ == more[0]
        if len(more) == 2:
            assert job.setup.config.head_sizes == more[1]


@pytest.mark.usefixtures("jobs_here")
def test_tasks_have_a_table_each_and_test_sequences_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = sweep(
        capsys, "GRU", "CONTROL", *TINY, "--task", "copying", "adding", "--seeds", 1, "--test-size", 64
    )
    heads = [line.split() for line in out.splitlines() if line.startswith("model")]
    assert code == 0 and heads == ["model accuracy accuracy guess seeds time".split(),
                                   "model loss loss guess seeds time".split()]  # fmt: skip
    assert "copying: one seed; guess: guess floor" in out
    assert "test_loss" in json.loads(Path("runs/sweep/runs.jsonl").read_text().splitlines()[-1])


def summary(model="GRU", task=None, found=(0.99, 1.0), seeds=10, **values):
    setup, known = Setup(model, task or AssociativeRetrieval()), over_seeds(found)
    return outcome.Summary(grid.Setting(setup, values), known, known, seeds, seeds, 3599.0)


@pytest.mark.parametrize("seeds, named", [(1, ""), (2, "range"), (3, "range"), (4, "95%"), (10, "95%")])
def test_an_interval_is_called_what_it_is(seeds, named):
    values = [0.5 + 0.01 * seed**2 for seed in range(seeds)]
    rows = [summary(found=values, seeds=seeds, decay=decay) for decay in (0.1, 0.2)]
    assert outcome.interval_name(rows) == named
    is_range = over_seeds(values).interval == pytest.approx((min(values), max(values)))
    assert seeds == 1 or is_range == (named == "range")
    heads = [column.header.split() for column in outcome.table_of(rows).columns]
    assert [head for head in heads if "range" in head or "95%" in head] == [
        [part, named] for part in ("valid", "test") if named
    ]


BEST = "best on validation sequences: "
NONE = "no setting is apart from the guess floor on validation sequences"


@pytest.mark.parametrize("task, found, said", [
    (None, {"A": (.9, .95), "B": (.6, .7)}, BEST + "A"),
    (None, {"A": (.9, .95), "B": (.6, .92), "C": (.6, .7)}, BEST + "A\nnot apart from it: B"),
    (None, {name: (.9, .95) for name in "ABCDEF"}, BEST + "A\nnot apart from it: B; C; D; 2 more"),
    (None, {"A": (.42, .48), "B": (.3, .35)}, NONE),
    (None, {"A": (.42, .99), "B": (.5, .55)}, BEST + "B\nnot apart from it: A"),
    (None, {"A": (.5,), "B": (.6,)}, BEST + "B, of one seed each"),
    (None, {"A": (.9, .95)}, ""),
    (Adding(), {"A": (.1, .12), "B": (.01, .02)}, BEST + "B"),
    (Adding(), {"A": (.17, .18), "B": (.16, .17)}, NONE),
])  # fmt: skip
def test_the_best_is_above_the_floor_and_names_what_is_not_apart(task, found, said):
    rows = [summary("GRU", task, values, len(values), decay=name) for name, values in found.items()]
    assert outcome.best(rows).replace("GRU --decay ", "") == said


def test_the_help_shows_no_empty_default(capsys):
    for command in ("train", "sweep"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        said = capsys.readouterr().out
        assert "(default: )" not in said and "[OPTIONS] MODEL ..." in said and "[[" not in said, said


@pytest.mark.parametrize("names", [[], ["decay"], ["learning_rate", "head_sizes"], ["a_very_long_option", "b", "c", "d_e", "f"]])  # fmt: skip
def test_the_table_fits_80_columns(names, capsys):
    from fastweights.commands.tables import print_table

    rows = [summary(model, **dict.fromkeys(names, 0.012345)) for model in ("RNN-LN-FW", "LSTM-LN")]
    print_table(outcome.table_of(rows))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    assert shown.count("99.50%") >= 2 and shown.count("10/10") == 2 and shown.count("0.012345") == 2 * len(names)


def test_a_sweep_that_is_stopped_says_how_it_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def stopped(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_start", stopped)
    assert cli.main(DECAYS) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "fastweights: stopped; the same command goes on with it"


@pytest.mark.usefixtures("jobs_here")
def test_a_run_that_breaks_down_is_told_of_and_the_others_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["CONTROL", *TINY, "--learning-rate", 1e-3, 1e30, "--clip", 1e30, "--seeds", 1]
    code, out, err = sweep(capsys, *given)
    assert (
        code == 2 and " 1/1 " in out and " 0/1" in out and re.search(r"error: CONTROL-learning_rate1e\+30-seed0: ", err)
    )


WRONG = {
    "RNN-LN-FW --decay .9 1.5": "Cosine(decay=1.5): wanted a number in [0, 1]",
    "RNN-LN-FW --decay .9 x": "--decay: Could not find valid parse",
    "RNN-LN-FW --decay": "--decay: got no value, wanted one or several",
    "RNN-LN-FW --decay .9 .9": "--decay: got 0.9 twice, wanted each value once",
    "RNN-LN-FW --dekay .9 1": "--dekay: no such option; did you mean --decay?",
    "GRU-LN --decay .9 1": "--decay: no such option here; --decay is an option of `train RNN-LN-FW`",
    "RNN-LN-FW --decay .9 --seeds 1": "got one setting and one seed, wanted several values",
    "RNN-LN-FW --seeds 0": "--seeds 0: wanted an integer >= 1",
    "RNN-LN-FW --seeds 1001": "got a grid of 1,001 runs, wanted at most 1,000",
    "RNN-LN-FW --epochs 1 2 3 4 5 6 7 8 9 10 11 --batch-size 1 2 3 4 5 6 7 8 9 10 --hidden-size 1 2 3 4 5 6 7 8 9 10":
        "got a grid of 1,100 settings, wanted at most 1,000",
    "RNN-LN-FW --seed 1 2": "--seed 1 2: wanted one, the first; `--seeds 3`",
    "RNN-LN-FW RNN-LN-FW": "got the model RNN-LN-FW twice",
    "RNN-LN-FV --seeds 2": "unknown model 'RNN-LN-FV'; did you mean RNN-LN-FW?",
    "RNN-LN-FW --head-sizes 10,x": "--head-sizes 10,x: wanted a list as one word, such as 50,100, or none",
    "RNN-LN-FW --task copying coping": "unknown task 'coping'; did you mean copying?",
    "RNN-LN-FW --rule Hebbian Hebbian": "got the rule Hebbian twice",
    "RNN-LN-FW --resume": "--resume: got it where it always holds",
    "RNN-LN-FW --run .": "--run '.': wanted a folder for the runs",
    "RNN-LN-FW --data nowhere": "nowhere",
    "--decay .9 1": "got no model, wanted at least one",
}  # fmt: skip


@pytest.mark.parametrize("arguments", WRONG)
def test_bad_input_is_one_line_and_writes_nothing(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    no_processes(monkeypatch)
    code, out, err = sweep(capsys, *arguments.split())
    assert code == 2 and out == "" and err.count("\n") == 1 and WRONG[arguments] in err, err
    assert list(tmp_path.iterdir()) == []


# how long it takes


def test_runs_of_one_shape_are_timed_once_and_counted_in_updates(tmp_path, monkeypatch):
    timed = []

    def known(setup, given=None):
        timed.append(setup.model)
        return pace.Pace(update=1.0, drawn=0.0, judged=0.5)

    monkeypatch.setattr(pace, "pace_of", known)
    config = Config(epochs=10, batch_size=64, train_size=640, valid_size=20)
    setups = [Setup("GRU", AssociativeRetrieval(), replace(config, learning_rate=rate)) for rate in (1e-3, 1e-2)]
    setups.append(Setup("GRU", Copying(), replace(config, target=0.5)))
    jobs = [many.Job(setup, tmp_path / str(place)) for place, setup in enumerate(setups)]
    each = 10 * (10 * 1.0 + 20 * 0.5) + pace.BEGIN
    assert many.durations(jobs) == [each] * 3 and len(timed) == 2
    monkeypatch.setattr(many, "usable", lambda: 2)
    assert many.foretold(jobs[:2], 2, None) == "2 runs, about 3 minutes with 2 workers on free cores"
    assert many.foretold(jobs, 8, None) == "3 runs, at most about 7 minutes with 8 workers on free cores"
    assert many.foretold(jobs[:1], 1, "ray").startswith("1 run, about 3 minutes of one core")


def test_a_pace_is_measured_on_the_batches_of_the_run():
    batches = []

    class Watched(AssociativeRetrieval):
        def loss(self, model, batch):
            batches.append(batch.size)
            return super().loss(model, batch)

    measured = pace.pace_of(Setup("GRU", Watched(), Config(hidden_size=8, batch_size=32)))
    assert set(batches) == {32} and min(measured.update, measured.judged) > 0


@pytest.mark.parametrize("seconds, said", [
    (0.2, "1 second"), (59, "59 seconds"), (61, "1 minute"), (3600, "1 hour"), (20_000, "5.6 hours"), (90_000, "25 hours"),
])  # fmt: skip
def test_durations_in_words(seconds, said):
    assert many.duration(seconds) == said


@pytest.mark.parametrize(
    "seconds, workers, took", [([3, 3, 3], 1, 9), ([3, 3, 3], 2, 6), ([1, 1, 4], 2, 5), ([2], 4, 2)]
)
def test_runs_share_the_workers(seconds, workers, took):
    assert many.makespan(seconds, workers) == took
