"""A power cut between any two system calls leaves a run that goes on, and all that was said to be written."""

import json
import os
from dataclasses import replace

import pytest
from power_cut import states_of, write_state
from small_runs import SMALL, TASK, at_update, interrupt, sequences

from fastweights import files
from fastweights.training import checkpoints, data, run, run_folder
from fastweights.training.run_folder import CHECKPOINT, CONFIG, FINAL, METRICS, TIMINGS
from fastweights.training.setup import Setup

TINY = replace(SMALL, hidden_size=3, epochs=2, train_size=32, valid_size=8, test_size=8, batch_size=16)
DATA = data.draw(TASK, TINY.train_size, TINY.valid_size, TINY.seed, TINY.test_size)


def train(folder, config=TINY, **options):
    return run.train(Setup("CONTROL", TASK, config), DATA, folder, **options)


def cut(folder, update, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Loop", at_update(update, interrupt))
        with pytest.raises(KeyboardInterrupt):
            train(folder, **options)


def states_of_training(root, action, synced=lambda path: True):
    """With the update whose checkpoint had been written at that moment."""
    written = []

    class Told(run.Run):
        def save(self):
            super().save()
            written.append(self.progress.update)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Run", Told)
        return states_of(root, action, lambda: written[-1] if written else 0, synced)


def end(folder):
    final = json.loads((folder / FINAL).read_text())
    return {name: (folder / name).read_bytes() for name in (METRICS, CHECKPOINT)}, final


def lost(states, wanted, folder, config=TINY):
    """The states that no run can go on from, that come to another end, or of whose updates some are lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)  # what is gone on with is not cut again
        for place, (state, promised) in enumerate(states.items()):
            write_state(state, folder / str(place))
            there = folder / str(place) / "run"
            try:
                if promised:
                    reached = checkpoints.load_checkpoint(there / CHECKPOINT)[1]["progress"]["update"]
                    assert reached >= promised, f"update {reached} of {promised}"
                train(there, config, resume=True)
                assert end(there) == wanted, "another end"
                assert not list(there.glob(".*.part")), "a part is left"
            except (run_folder.RunError, AssertionError) as error:
                yield str(error)


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("through")
    train(folder)
    return end(folder)


def start(root):
    root.mkdir()
    return root


def test_of_a_run_from_its_first_call_to_its_last(tmp_path, wanted):
    root = start(tmp_path / "root")
    states = states_of_training(root, lambda: train(root / "run"))
    assert len(states) > 40 and max(states.values()) == 4
    assert list(lost(states, wanted, start(tmp_path / "states"))) == []


def test_of_a_run_that_is_stopped_in_an_epoch_and_goes_on(tmp_path, wanted):
    root = start(tmp_path / "root")
    states = states_of_training(root, lambda: cut(root / "run", 3))
    row = run_folder.read_rows(root / "run" / METRICS)[-1]
    run_folder.append_row(root / "run" / METRICS, row | {"update": 4, "epoch": 2})  # of a kill before the checkpoint
    states |= states_of_training(root, lambda: train(root / "run", resume=True))
    assert len(states) > 40
    assert list(lost(states, wanted, start(tmp_path / "states"))) == []


def test_of_a_done_run_that_is_trained_longer(tmp_path, wanted):
    root = start(tmp_path / "root")
    train(root / "run", replace(TINY, epochs=1))
    states = states_of_training(root, lambda: train(root / "run", resume=True))
    assert list(lost(states, wanted, start(tmp_path / "states"))) == []


def test_of_a_run_whose_checkpoint_was_deleted(tmp_path, wanted):
    root = start(tmp_path / "root")
    train(root / "run")
    (root / "run" / CHECKPOINT).unlink()
    states = states_of_training(root, lambda: train(root / "run", resume=True))
    assert list(lost(states, wanted, start(tmp_path / "states"))) == []


@pytest.mark.parametrize("unsynced", [METRICS, CHECKPOINT, "run", "root"])
def test_a_sync_that_is_left_out_is_found(unsynced, tmp_path, wanted):
    """The harness itself: without the syncs of this file or folder something is lost."""
    root = start(tmp_path / "root")

    def states():
        action = lambda: train(root / "run", replace(TINY, epochs=1))  # noqa: E731
        return states_of_training(root, action, lambda path: unsynced not in path.name)

    assert next(lost(states(), wanted, start(tmp_path / "states")), None) is not None


def test_of_a_file_that_is_written_whole(tmp_path):
    root = start(tmp_path / "root")
    files.write(root / "file", b"old")
    written = []

    def write():
        files.write(root / "file", b"the new one")
        written.append(1)
        (root / "another").touch()

    states = states_of(root, write, lambda: len(written))
    for state, promised in states.items():
        assert dict(state)["file"] in ([b"the new one"] if promised else [b"old", b"the new one"])
    assert {dict(state)["file"] for state in states} == {b"old", b"the new one"}


def test_of_data_that_are_written(tmp_path):
    """The same command again makes of every state what it would have made."""
    drawn = sequences(TINY)
    data.write(drawn, tmp_path / "through", 0)
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "through").iterdir()}
    root = start(tmp_path / "root")
    states = states_of(root, lambda: data.write(drawn, root / "data", 0))
    assert len(states) > 10
    for place, state in enumerate(states):
        folder = tmp_path / str(place)
        write_state(state, folder)
        if "data/data.json" not in dict(state):
            data.write(drawn, folder / "data", 0)
        assert {path.name: path.read_bytes() for path in (folder / "data").glob("[!.]*")} == wanted


def test_the_folder_of_a_run_has_no_other_files(tmp_path):
    train(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, METRICS, TIMINGS, CHECKPOINT, FINAL, ".lock"}
