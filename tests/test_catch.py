"""Catch: its rules, its episodes, the agent that learns it, and what shows an episode."""

import re

import pytest
import torch

from fastweights import cli
from fastweights.commands import play
from fastweights.errors import UserError
from fastweights.nn import FastWeightsRNN, SequenceModel
from fastweights.rules import Delta
from fastweights.tasks import Batch, Catch
from fastweights.tasks.acting import Step, act, actor_critic
from fastweights.training import data, run, run_folder
from fastweights.training.config import Config
from fastweights.training.setup import Setup


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(ball, actions, size):
    """The reward of one game, frame by frame."""
    paddle = size // 2 - 1
    for action in actions:
        paddle = min(max(paddle + action - 1, 0), size - 2)
    return 1.0 if ball in (paddle, paddle + 1) else -1.0


@pytest.mark.parametrize("size, visible", [(3, 1), (6, 2), (7, 7)])
def test_the_rules(size, visible):
    task = Catch(size, visible)
    games = task.games(40, generator())
    balls, actions = games.ball.clone(), torch.randint(3, (40, size - 1), generator=generator(1))
    for frame in range(size):
        screen, seen = games.screen(), games.seen().view(40, size, size)
        assert torch.equal(screen[:, frame].argmax(-1) if frame < size - 1 else games.ball, balls)
        assert torch.equal(screen[:, -1].sum(-1), torch.full((40,), 2.0)) or frame == size - 1
        assert torch.equal(seen, screen if frame < visible else torch.zeros_like(screen))
        if frame < size - 1:
            _, reward, over = games.move(actions[:, frame])
            assert bool(over.all()) == (frame == size - 2) and (bool(over.all()) or not reward.any())
    want = [by_hand(ball, each, size) for ball, each in zip(balls.tolist(), actions.tolist(), strict=True)]
    assert reward.tolist() == want


def test_a_paddle_that_stays_is_the_floor():
    task, caught = Catch(8, 2), 0
    games = task.games(8_000, generator())
    for _ in range(7):
        caught = games.move(torch.ones(8_000, dtype=torch.long)).reward.mean()
    assert abs(float(caught) - task.floors["reward"]) < 0.03


def test_every_column_can_be_caught():
    for paddle in ("centre", "random"):
        task = Catch(9, 1, paddle)
        games = task.games(2_000, generator())
        for _ in range(8):
            step = games.move((games.ball - games.paddle).clamp(-1, 1) + 1)
        assert bool((step.reward == 1).all())


@pytest.fixture
def model():
    torch.manual_seed(0)
    spec = Catch(5, 2).spec
    return SequenceModel(FastWeightsRNN(spec.inputs, 7, batch_first=True), spec, 7)


def test_an_episode_is_acted_by_the_model_and_comes_again(model):
    task = Catch(5, 2)
    batch, again = task.draw(30, generator(), model), task.draw(30, generator(), model)
    assert batch.hash == again.hash and batch.inputs.shape == (30, 4, 25) and batch.lengths is None
    assert not batch.inputs[:, 2:].any() and not batch.targets[:, :-1, 1].any()
    with torch.no_grad():
        model.head[-1].bias[:3] = torch.tensor([50.0, 0, 0])  # always to the left
    assert not task.draw(30, generator(), model).targets[..., 0].any()


def test_the_pictures_are_those_of_the_episode(model):
    task = Catch(5, 2, "random")
    batch = task.draw(1, generator(4), model)
    frames = task.frames(batch.targets[0, :, 0].long().tolist(), generator(4))
    shown = [torch.from_numpy(frame).float() / 255 for frame in frames]
    assert len(shown) == 5 and all(torch.equal(shown[at].flatten(), batch.inputs[0, at]) for at in range(2))
    caught = bool(shown[-1].sum() == 2)  # the ball lies on the paddle
    assert batch.targets[0, -1, 1] == (1 if caught else -1)


def test_what_comes_after_the_end_of_an_episode_does_not_count():
    ends, at = torch.tensor([1, 3]), 0

    def move(action):
        nonlocal at
        at += 1
        return Step(torch.ones(2, 1), torch.ones(2), at >= ends)

    batch = act(None, torch.ones(2, 1), move, 2, 9, generator())
    assert batch.lengths.tolist() == [1, 3] and batch.targets[..., 1].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch.inputs[..., 0].tolist() == [[1, 0, 0], [1, 1, 1]]


def test_the_loss_is_that_of_its_equation(model):
    task = Catch(5, 2, discount=0.9, entropy=0.2)
    batch = task.draw(6, generator(), model)
    model, inputs, targets = model.double(), batch.inputs.double(), batch.targets.double()
    loss, stats = task.loss(model, batch._replace(inputs=inputs, targets=targets))
    answers, want = model(inputs), 0.0
    for game in range(6):
        for step in range(4):
            gain = sum(0.9 ** (later - step) * targets[game, later, 1] for later in range(step, 4))
            chances, value = answers[game, step, :3].softmax(-1), answers[game, step, 3]
            taken = chances[int(targets[game, step, 0])]
            want = want - taken.log() * (gain - value.detach()) + 0.5 * (gain - value) ** 2
            want = want + 0.2 * (chances * chances.log()).sum()
    assert torch.allclose(loss, want / 24, atol=1e-12)
    assert stats["reward"][0] / stats["reward"][1] == targets[:, -1, 1].mean()


def test_ragged_episodes_learn_from_their_own_steps_alone(model):
    inputs, targets = torch.randn(2, 4, 25), torch.rand(2, 4, 2).round()
    lengths = torch.tensor([4, 2])
    whole = actor_critic(model, Batch(inputs, targets, lengths), 3, 0.9, 0.01)[0]
    targets[1, 2:], inputs[1, 2:] = 0.0, 9.0
    targets[1, 2:, 0] = 2
    other = actor_critic(
        model,
        Batch(inputs, torch.where(torch.arange(4)[:, None] < lengths[:, None, None], targets, 0.0), lengths),
        3,
        0.9,
        0.01,
    )[0]
    targets[1, 2:, 1] = 0
    assert torch.isfinite(whole) and torch.isfinite(other)
    alone = [
        actor_critic(model, Batch(inputs[[i], :n], targets[[i], :n]), 3, 0.9, 0.01)[0] * n for i, n in ((0, 4), (1, 2))
    ]
    assert torch.allclose(other, sum(alone) / 6, atol=1e-6)


SMALL = Config(
    hidden_size=32,
    batch_size=32,
    train_size=32 * 60,
    valid_size=320,
    test_size=320,
    epochs=3,
    learning_rate=8e-3,
    embedding_sizes=(32,),
    embedding_relu=True,
)


@pytest.mark.parametrize("model", ["RNN-LN-FW", "GRU"])
def test_an_agent_learns_and_goes_on_bit_for_bit(model, tmp_path):
    setup = Setup(model, Catch(5, 2), SMALL)
    drawn = data.draw(setup.task, 1, 1, 0)
    whole = run.train(setup, drawn, tmp_path / "whole")
    assert whole["valid_reward"] > 0.8 > setup.task.floors["reward"]

    class Cut(Exception):
        pass

    def cut(under_way):
        if under_way.progress.update >= 60:
            under_way.save()
            raise Cut

    with pytest.raises(Cut):
        run.train(setup, drawn, tmp_path / "cut", watch=cut)
    run.train(setup, drawn, tmp_path / "cut", resume=True)
    finals = [run_folder.read_final(tmp_path / name)["weights_hash"] for name in ("whole", "cut")]
    assert finals[0] == finals[1]


@pytest.mark.parametrize(
    "options, says",
    [
        ({"size": 2}, "size: got 2, wanted an integer from 3 to 200"),
        ({"visible": 20}, "visible: got 20, wanted an integer from 1 to 16"),
        ({"discount": 1.5}, "discount: got 1.5, wanted a number from 0 to 1"),
        ({"entropy": -0.1}, "entropy: got -0.1, wanted a number from 0 to 1"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(UserError, match=says):
        Catch(**options)


def test_play_shows_the_episode(tmp_path, capsys):
    place = str(tmp_path / "run")
    asked = ["train", "RNN-LN-FW", "--task", "catch", "--size", "4", "--visible", "1", "--hidden-size", "8", "--epochs", "1",
             "--train-size", "32", "--batch-size", "32", "--valid-size", "32"]  # fmt: skip
    assert cli.main([*asked, "--run", place]) == 0
    capsys.readouterr()
    gif = tmp_path / "episode.gif"
    assert cli.main(["play", "--run", place, "--seed", "3", "--gif", str(gif)]) == 0
    shown = capsys.readouterr().out
    assert re.search("^frame 3: (left|stay|right) ", shown, re.M)
    assert shown.count("what it sees") == 3 and "nothing is stored yet" in shown and "attends to frame   2" in shown
    assert shown.rstrip().endswith(str(gif)) and "reward" in shown
    from PIL import Image

    assert Image.open(gif).n_frames == 4
    assert cli.main(["sample", "--run", place]) == 2
    assert f"wanted one of catch: `fastweights play --run {place}` shows" in " ".join(capsys.readouterr().err.split())
    assert cli.main(["play", "--run", place, "--gif", str(gif)]) == 2
    assert "already there" in capsys.readouterr().err
    assert cli.main(["play", "--run", place, "--gif", "episode.png"]) == 2
    assert "wanted a name that ends in .gif" in capsys.readouterr().err


def test_an_episode_is_played_where_the_rule_has_no_attention():
    task = Catch(size=4, visible=1)
    rnn = FastWeightsRNN(task.spec.inputs, 8, batch_first=True, rule=Delta(), backend="reference")
    episode = play.acted(SequenceModel(rnn, task.spec, 8).eval(), task, 0)
    assert episode.attention is None and len(episode.actions) == 3


def test_play_refuses_what_does_not_act(trained, capsys):
    assert cli.main(["play", "CONTROL", "--run", str(trained)]) == 2
    assert "is no task of acting" in capsys.readouterr().err
