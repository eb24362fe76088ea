"""Environments of gymnasium: ours, and those that this library did not write."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch

from fastweights import cli, load
from fastweights.errors import UserError
from fastweights.tasks import Catch, Gym, make_task

gymnasium = pytest.importorskip("gymnasium", reason="needs the extra [rl]: gymnasium")
import own_games  # noqa: E402
from gymnasium import spaces  # noqa: E402
from gymnasium.utils.env_checker import check_env  # noqa: E402
from own_games import Own  # noqa: E402

import fastweights.rl  # noqa: E402, F401


@pytest.fixture(autouse=True)
def forget():
    yield
    from fastweights.tasks.gym import games

    games.cache_clear()
    for name in [name for name in gymnasium.registry if name.startswith("Own")]:
        del gymnasium.registry[name]


def register(name, **options):
    gymnasium.register(name, entry_point=lambda: Own(**options), disable_env_checker=True)
    return name


def test_catch_is_an_environment():
    for options in ({}, {"size": 5, "visible": 2, "paddle": "random"}):
        check_env(gymnasium.make("fastweights/Catch-v0", **options).unwrapped, skip_render_check=True)
    shown = gymnasium.make("fastweights/Catch-v0", size=4, render_mode="ansi")
    shown.reset(seed=0)
    assert shown.render().count("#") == 3 and len(shown.render().splitlines()) == 4
    pictures = gymnasium.make("fastweights/Catch-v0", size=4, render_mode="rgb_array")
    pictures.reset(seed=0)
    assert pictures.render().shape == (64, 64, 3) and pictures.render().dtype == numpy.uint8
    for over in (False, False, True):
        assert pictures.step(1)[2] is over
    with pytest.raises(UserError, match=r"step: got no game under way, wanted reset\(\) first"):
        pictures.step(1)
    with pytest.raises(UserError, match="size: got 1"):
        gymnasium.make("fastweights/Catch-v0", size=1)


def test_catch_by_gymnasium_is_the_task():
    task, found = Gym(env="fastweights/Catch-v0"), Catch()
    batch = task.draw(50, torch.Generator().manual_seed(0))
    assert task.spec == found.spec and batch.inputs.shape == (50, 15, 256) and batch.lengths is None
    assert not batch.inputs[:, 3:].any() and set(batch.targets[:, -1, 1].tolist()) == {-1.0, 1.0}


def test_an_observation_is_one_vector_and_episodes_are_ragged():
    task = Gym(env=register("Own-v0"))
    assert task.spec[:2] == (3 + 4 + 2 + 1, 4)
    batch = task.draw(20, torch.Generator().manual_seed(1))
    assert batch.hash == task.draw(20, torch.Generator().manual_seed(1)).hash
    assert set(batch.lengths.tolist()) == {2, 3, 4, 5} and batch.inputs.shape[1] == 5
    for sample, length in zip(batch.inputs, batch.lengths.tolist(), strict=True):
        assert not sample[length:].any() and torch.equal(sample[:length], sample[:1].expand(length, -1))
        assert sorted(sample[0, :4].tolist()) == pytest.approx([0.2] * 4) and sample[0, 4:7].sum() == 1


@pytest.mark.parametrize(
    "options, says",
    [
        ({"breaks": "raises"}, "got RuntimeError: out of paper in step 1, wanted an environment that goes on"),
        ({"breaks": "four"}, r"in step 1, wanted \(observation, reward, terminated, truncated, info\)"),
        ({"breaks": "nan"}, "an observation that is not finite in step 1"),
        ({"breaks": "nan reward"}, "got the reward nan in step 1, wanted"),
        ({"breaks": "no reward"}, "got the reward None in step 1, wanted"),
        ({"breaks": "nothing seen"}, r"an observation that is none of its space .* in step 0"),
    ],
)
def test_an_environment_that_breaks_is_one_line(options, says):
    with pytest.raises(UserError, match=says):
        Gym(env=register("Own-v1", **options)).draw(3, torch.Generator())


def test_warnings_of_gymnasium_do_not_come_before_the_error(recwarn):
    gymnasium.register("Own-v4", entry_point=lambda: TooMuch(space=spaces.Box(-1.0, 1.0, (3,))))
    with pytest.raises(UserError, match="--env Own-v4: got an observation that is none of its space .* in step 0"):
        Gym(env="Own-v4").draw(1, torch.Generator())
    assert not recwarn.list


def test_an_environment_says_what_its_actions_are_called():
    gymnasium.register("Own-v5", entry_point=Named, disable_env_checker=True)
    assert Gym(env="Own-v5").ACTION_NAMES == ["up", "down", "stay"]
    assert Gym(env=register("Own-v6")).ACTION_NAMES is None


class TooMuch(Own):
    def seen(self):
        return numpy.full(2, 9.0)


class Named(Own):
    def get_action_meanings(self):
        return ["up", "down", "stay"]


def test_the_command_line_says_so_and_writes_nothing(tmp_path):
    asked = ["train", "GRU", "--task", "gym", "--env", "nowhere:Own-v0", "--run", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-m", "fastweights", *asked], capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert re.fullmatch(r"fastweights: error: --env nowhere:Own-v0: got ModuleNotFoundError.*\n", done.stderr)


@pytest.mark.parametrize(
    "name, says",
    [
        ("Own-v2", "got the actions Box.*wanted Discrete actions"),
        ("Own-v3", r"got the observations Text.*wanted numbers \(Box, Discrete"),
        ("Own-v9", "--env Own-v9: got VersionNotFound.*wanted a registered environment"),
        ("nowhere:Own-v0", "--env nowhere:Own-v0: got ModuleNotFoundError"),
    ],
)
def test_an_environment_that_cannot_be_taken(name, says):
    register("Own-v2", actions=spaces.Box(-1.0, 1.0, (1,)))
    register("Own-v3", space=spaces.Text(3))
    with pytest.raises(UserError, match=says):
        assert Gym(env=name).spec


def test_an_agent_learns_there_and_a_folder_imports_no_package(tmp_path, capsys, monkeypatch):
    (tmp_path / "kept.py").write_text(
        Path(own_games.__file__).read_text()
        + "\ngymnasium.register('OwnKept-v0', entry_point=Own, disable_env_checker=True)\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = ["--task", "gym", "--env", "kept:OwnKept-v0", "--hidden-size", "16", "--batch-size", "32", "--epochs", "4",
             "--train-size", "640", "--valid-size", "64", "--learning-rate", "0.02", "--discount", "0"]  # fmt: skip
    assert cli.main(["train", "RNN-LN-FW", *asked, "--run", "run"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["valid_reward"] > 3  # at random a third of 3.5 steps
    capsys.readouterr()
    assert cli.main(["play", "--run", "run"]) == 2
    assert "add `--task kept:OwnKept-v0`" in capsys.readouterr().err
    assert cli.main(["play", "--run", "run", "--task", "kept:OwnKept-v0"]) == 0
    shown = capsys.readouterr().out
    assert re.match(
        r"frame 1: action \d \(probability .*\), reward [01]\n  sees 0.2 0.2 0.2 0.2 ([01] ){3}1 \.\.\. \(10 numbers\)",
        shown,
    )
    assert "--gif" not in shown  # it has no pictures
    assert load("run", task="kept:OwnKept-v0").task == make_task(
        {"name": "gym", "env": "kept:OwnKept-v0", "discount": 0.0}
    )
