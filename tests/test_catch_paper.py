"""The table and the figure of partially observable Catch, from results that are made up."""

import math

import pytest

from fastweights.papers import ba2016_catch as paper
from fastweights.papers.table import tables


def record(cell, rewards, final):
    curve = {"update": [40 * (place + 1) for place in range(len(rewards))], "valid_reward": rewards}
    return {
        "cell": cell,
        "curve": curve,
        "test": {"reward": final},
        "test_loss": 0.0,
        "seconds": 60.0,
        "parameters": 1000,
    }


def test_frames_are_those_of_all_episodes_until_the_reward_is_there():
    assert paper.frames_to(record("FW-16", [0.2, 0.91, 0.5], 0.5), 16) == 80 * 16 * 64
    assert paper.frames_to(record("FW-16", [0.2, 0.89], 0.5), 16) == math.inf


def test_what_is_gathered_is_the_mean_over_the_training():
    assert paper.gathered(record("FW-16", [0.0, 1.0, 1.0], 1)) == pytest.approx(2 / 3)


def test_all_networks_have_as_many_tries_and_the_same_learning_rates():
    for size in paper.SIZES:
        several = [paper.tries(row, size) for row in paper.MODELS]
        assert len({tuple(tried.learning_rate for tried in each) for each in several}) == 1
        assert several[0] == paper.tries("FW", size) and len(several[0]) == paper.TRIES[size]
    seeds = {cell.kind: cell.setup.config.seed for cell in paper.RUNS}
    assert seeds["search"] >= seeds["paper"] + paper.SEEDS


def test_the_table_has_both_ways_to_tell_of_a_search():
    cells = [cell for cell in paper.RUNS if cell.kind in ("paper", "search")]
    found = {cell.name: [] for cell in paper.RUNS}
    found["FW-16"] = [
        record("FW-16", [0.0, reward], final) for reward, final in ((0.95, 0.9), (0.95, 0.92), (0.5, 0.7))
    ]
    for place in range(paper.TRIES[16]):
        found[f"FW-16-try{place}"] = [record(f"FW-16-try{place}", [0.0, 1.0], place / 10)]
    *_, last = tables.tables(paper, cells, found)
    assert last.rows == [("FW-16", "4", "81.9k", "81.9k", "never", "0.500", "0.840")]
    drawn = paper.figure([each for of in found.values() for each in of])
    assert len(drawn.axes) == 2 and len(drawn.axes[0].lines) == 4  # the mean, the five best, chance, and 0.9
