"""What results have of answers: edits a word, how sure a difference is, and what the tables say of it."""

import numpy as np
import pytest

from fastweights.errors import UserError
from fastweights.jobs.job import Job
from fastweights.papers import g2p, reverse
from fastweights.papers.cell import Cell
from fastweights.papers.table import cells, results
from fastweights.papers.table.answers import Difference, Emptied, answered, differences, packed, rate, unpacked, wrong
from fastweights.tasks import Pronunciation
from fastweights.training import run_folder
from fastweights.training.config import Config
from fastweights.training.pair_networks import Between
from fastweights.training.setup import Setup
from fastweights.training.trained import train_setup

TINY = Config(hidden_size=8, batch_size=16, epochs=1, train_size=48, valid_size=10, test_size=10)


def record(edits, lengths, seed=0):
    return {"seed": seed, "measured": {"test": {"edits": packed(edits), "lengths": packed(lengths)}}}


def test_numbers_are_a_character_each():
    assert packed([0, 9, 10, 35, 99]) == "09azz" and unpacked("09az").tolist() == [0, 9, 10, 35]
    found = {"edits": "0120", "lengths": "2345"}
    assert rate(found) == 3 / 14 and wrong(found) == 0.5


def test_a_difference_is_that_of_the_same_words():
    """Words differ far more than the two rows: a bootstrap that is not paired would see nothing."""
    draw = np.random.default_rng(1)
    hard, lengths = draw.integers(0, 9, 400), np.full(400, 10)
    worse = differences([record(hard + 1, lengths)], [record(hard, lengths)])
    assert worse["rate"].mean == pytest.approx(0.1) and worse["rate"].interval == pytest.approx((0.1, 0.1))
    noisy = differences([record(hard + draw.integers(-1, 2, 400).clip(-hard), lengths)], [record(hard, lengths)])
    assert noisy["rate"].interval[0] < noisy["rate"].mean < noisy["rate"].interval[1]
    assert noisy["rate"].interval[1] - noisy["rate"].interval[0] == pytest.approx(4 * 0.08 / 20, rel=0.2)


def test_seeds_in_common_are_compared():
    even, odd = [record([0, 1], [2, 2], seed) for seed in (0, 2)], [record([1, 1], [2, 2], seed) for seed in (1, 3)]
    assert differences(even, odd) is None and differences(even, []) is None
    assert differences(even, [*odd, record([1, 1], [2, 2], 2)])["rate"].mean == -0.25


@pytest.mark.parametrize(
    "interval, says",
    [((-0.01, 0.02), "equals"), ((0.0, 0.02), "equals"), ((0.01, 0.02), "worse"), ((-0.02, -0.01), "better")],
)
def test_equals_stands_where_the_interval_contains_zero_and_only_there(interval, says):
    assert g2p.told(Difference(sum(interval) / 2, interval))[2] == says


def test_a_result_has_what_was_measured_once(made_up_words, tmp_path, monkeypatch):
    setup = Setup("EncoderDecoder", Pronunciation(), TINY, Between(memory="delta", encoder_size=4))
    cell, job = Cell("delta", "delta", "paper", setup), Job(setup, tmp_path / "run")
    train_setup(setup, None, job.folder, resume=True)
    path, asked = tmp_path / "delta-seed0.json", []

    def measure(model, task):
        asked.append(model)
        return g2p.measure(model, task)

    for _ in range(2):
        results.write(path, results.record(cell, job, measure, path))
    found = results.load(path, cell, 0)
    assert len(asked) == 1 and found["processor_seconds"] >= 0 and set(found["measured"]) == {"test", "long", "emptied"}
    words = found["measured"]["test"]
    assert len(words["edits"]) == len(words["lengths"]) == len(words["letters"]) == 10
    assert rate(words) == pytest.approx(run_folder.read_final(job.folder)["test_phone_error_rate"])
    attention = found | {"measured": found["measured"] | {"test": words | {"edits": packed([0] * 10)}}}
    shown = g2p.tables(g2p.RUNS, {each.name: [] for each in g2p.RUNS} | {"delta": [found], "attention": [attention]})
    assert [table.title.split()[0] for table in shown] == ["Errors", "Against", "Phone"]
    (row,) = shown[1].rows
    assert row[0] == "delta" and row[3] == row[6] == "worse"
    assert {"attention": "0.0", "delta": f"{100 * rate(words):.1f}"}.items() <= {
        r[0]: r[1] for r in shown[0].rows
    }.items()
    curve = {"cell": "delta", "curve": {"update": [1], "valid_loss": [1.0]}}
    assert len(g2p.figure([found | curve]).axes) == 2


def test_an_emptied_model_has_an_empty_memory(made_up_words):
    task = Pronunciation()
    model = Setup("EncoderDecoder", task, TINY, Between(memory="delta", encoder_size=4)).build()
    batch = task.batch(task.words("test"))
    state = Emptied(model).encode(batch.inputs, batch.lengths)
    assert not state.memory[0].any() and model.encode(batch.inputs, batch.lengths).memory[0].any()
    assert len(answered(Emptied(model), task, batch)["edits"]) == 10


def test_lengths_of_reverse_are_measured_with_the_same_sequences():
    model = Setup("EncoderDecoder", reverse.TASK, TINY, Between(encoder_size=4)).build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reverse, "COUNT", 3)
        patch.setattr(reverse, "LENGTHS", (2, 5))
        found = reverse.measure(model, reverse.TASK)
    assert set(found) == {"2", "5"} and all(0 <= share <= 1 for share in found.values())


def test_a_memory_of_ones_own_is_a_row():
    (mine,) = cells.own_cells(g2p, "my:Memory", {})
    assert (mine.name, mine.kind, mine.setup.network) == ("Memory", "own", Between(memory="my:Memory"))
    with pytest.raises(UserError, match="wanted package.module:Class, called as Class\\(states_size, queries_size\\)"):
        cells.own_cells(g2p, "Memory", {})
