"""SIGKILL at random moments: nothing is lost, and the end is that of a run that nobody killed.

FASTWEIGHTS_KILLS=200 kills each command so often, and also commands with processes as users start them.
"""

import json
import os
import random
import shutil
import time

import pytest
from kills import Forks, started
from toy_runs import TOY

from fastweights.training import checkpoints, run_folder
from fastweights.training.run_folder import CHECKPOINT, FINAL, METRICS, TIMINGS

KILLS = int(os.environ.get("FASTWEIGHTS_KILLS", 1))
LONG = KILLS >= 100
SMALL = "--hidden-size 8 --train-size 128 --valid-size 64 --test-size 64 --batch-size 32 --num-pairs 2".split()
TRAIN = ["train", "CONTROL", "GRU", "--epochs", "12" if LONG else "6", "--run", "run", "--resume", *SMALL]
COMMANDS = {
    "train": TRAIN,
    "data": "data associative-retrieval --train 6000 --valid 3000 --output data".split(),
    "plot": "plot there/run --output figures".split(),
    "bench": "bench --batch 2 --steps 3 --hidden 4 --rounds 1 --json bench.json".split(),
    "search": "reproduce toy --search".split(),
    "render": "reproduce toy --render --results there/results".split(),
}


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def there(forks, tmp_path_factory):
    """Runs and results that commands read."""
    folder = tmp_path_factory.mktemp("there")
    for arguments in (TRAIN, "reproduce toy --run runs --results results".split()):
        command = forks.start(arguments, folder, tmp_path_factory.mktemp("beside"))
        assert command.ended(300) == 0, command.said.read_text()
    return folder


def fresh(folder, there):
    folder.mkdir()
    (folder / "there").symlink_to(there)
    return folder


def contents(folder):
    """What is the same after any kills: all files but times, locks and what a killed process was just writing."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name.startswith(".") or path.is_dir() or name.split("/")[0] == "there":
            continue
        if path.name == TIMINGS:
            found[name] = [row["update"] for row in run_folder.read_rows(path)]
        elif path.name == "bench.json":
            found[name] = sorted(json.loads(path.read_text()))
        elif path.parent.name == "toy":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key != "seconds"}
        else:
            found[name] = path.read_bytes()
    return found


def check_whole(folder, wanted, reached):
    """No file is half there, and no run is further back than it was: `reached` has the update of each."""
    for path in folder.rglob("*.json"):
        if not path.name.startswith("."):
            json.loads(path.read_text())
    for name, content in contents(folder).items():
        if name.endswith((".png", ".svg", ".csv", ".md")):
            assert content == wanted[name], f"{name} is half there"
    for path in folder.rglob(CHECKPOINT):
        if "there" not in path.parts:
            update = checkpoints.load_checkpoint(path)[1]["progress"]["update"]
            assert update >= reached.get(path, 0)
            reached[path] = update


def through(start, arguments, folder, beside):
    """What the command comes to, and the seconds that it takes."""
    began = time.monotonic()
    command = start(arguments, folder, beside)
    assert command.ended(300) == 0, command.said.read_text()
    return contents(folder), time.monotonic() - began


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed(name, forks, there, tmp_path):
    kill_and_compare(forks.start, COMMANDS[name], KILLS, there, tmp_path, ["all"])


def kill_and_compare(start, arguments, times, there, tmp_path, whom):
    folder, generator = fresh(tmp_path / "through", there), random.Random(os.urandom(8))
    (folder / "toy_paper.py").write_text(TOY)
    wanted, seconds = through(start, arguments, folder, tmp_path)
    killed, reached, folder = 0, {}, fresh(tmp_path / "0", there)
    while True:
        command = start(arguments, folder, tmp_path)
        code = command.ended(generator.uniform(0, 1.1 * seconds) if killed < times else 300)
        if code is None:
            killed += 1
            command.kill(generator.choice(whom))
        check_whole(folder, wanted, reached)
        if (code is not None and whom == ["all"]) or code == 0:
            said, found = command.said.read_text(), contents(folder)
            assert code == 0 or "data/train.csv: already there" in said, said  # all was written before the kill
            assert found.keys() == wanted.keys() - {"toy_paper.py"} and all(found[n] == wanted[n] for n in found)
            if killed >= times:
                return
            shutil.rmtree(folder)
            reached, folder = {}, fresh(tmp_path / str(killed), there)


def test_four_runners_of_one_table_that_are_killed(forks, tmp_path):
    arguments = "reproduce toy --run runs --results results".split()
    (tmp_path / "through").mkdir()
    wanted, seconds = through(forks.start, arguments, tmp_path / "through", tmp_path)
    killed, generator = 0, random.Random(os.urandom(8))
    while killed < KILLS:
        folder, reached = tmp_path / f"at{killed}", {}
        folder.mkdir()
        runners = [forks.start(arguments, folder, tmp_path) for _ in range(4)]
        while any(runner.alive() for runner in runners):
            time.sleep(generator.uniform(0, seconds / 2))
            place = generator.randrange(4)
            if runners[place].alive() and killed < KILLS:
                runners[place].kill()
                killed += 1
                check_whole(folder, wanted, reached)
                runners[place] = forks.start(arguments, folder, tmp_path)
        assert [runner.ended(0) for runner in runners] == [0] * 4, [runner.said.read_text() for runner in runners]
        found = contents(folder)
        assert found.keys() == wanted.keys() and all(found[name] == wanted[name] for name in found)


def test_train_with_processes_of_its_own_that_are_killed(forks, there, tmp_path):
    """The command, the processes that train, or all of them at once."""
    arguments, whom = [*TRAIN, "--epochs", "200"], ["all", "command", "workers"]
    if LONG:
        return kill_and_compare(started, arguments, KILLS // 10, there, tmp_path, whom)
    folders = fresh(tmp_path / "through", there), fresh(tmp_path / "cut", there)
    wanted, _ = through(forks.start, arguments, folders[0], tmp_path)
    command = started(arguments, folders[1], tmp_path)
    while not list((folders[1] / "run").rglob(CHECKPOINT)):
        assert command.ended(0) is None, command.said.read_text()
        time.sleep(0.002)
    command.kill(random.choice(whom))
    check_whole(folders[1], wanted, {})
    assert contents(folders[1]) != wanted and through(forks.start, arguments, folders[1], tmp_path)[0] == wanted


def test_what_is_compared_is_all_there(there):
    names = {path.split("/")[-1] for path in contents(there)}
    assert {METRICS, TIMINGS, CHECKPOINT, FINAL, "A-8-seed0.json"} <= names
