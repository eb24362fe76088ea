"""Tasks of kinds that this library has none of yet: acting, ragged sequences, a metric of their own."""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from fastweights import cli
from fastweights.tasks import Batch, Spec, answers
from fastweights.training import checkpoints, data, loop, run, run_folder, source
from fastweights.training.config import Config
from fastweights.training.setup import Setup
from fastweights.training.trial import try_out

SMALL = Config(hidden_size=12, epochs=3, train_size=320, valid_size=64, test_size=64, batch_size=32, learning_rate=2e-2)


@dataclass(frozen=True)
class Remember:
    """Acting: which of two signs was shown in the first of `length` steps? The reward is +1 or -1, at the end."""

    NAME: ClassVar[str] = "remember"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "return"
    ACTS: ClassVar[bool] = True
    spec = Spec(3, 3, symbols=False, every=True)
    floors = {"return": 0.0}  # noqa: RUF012

    length: int = 4

    @torch.no_grad()
    def draw(self, count, generator, model=None):
        sign, state, seen, did = torch.randint(2, (count,), generator=generator), None, [], []
        for step in range(self.length):
            shown = torch.zeros(count, 3)
            shown[:, 0], shown[:, 1] = step / self.length, float(step == self.length - 1)
            shown[:, 2] = (2.0 * sign - 1) * (step == 0)
            out, state = model.step(shown, state)
            seen.append(shown)
            did.append(torch.multinomial(out[:, :2].softmax(-1), 1, generator=generator))
        actions = torch.cat(did, 1)
        reward = torch.where(actions[:, -1] == sign, 1.0, -1.0)[:, None].expand(-1, self.length)
        return Batch(torch.stack(seen, 1), torch.stack([actions.float(), reward], 2))

    def loss(self, model, batch):
        out, actions, returns = model(batch.inputs), batch.targets[..., 0].long(), batch.targets[..., 1]
        log, value = out[..., :2].log_softmax(-1), out[..., 2]
        policy = -(log.gather(-1, actions[..., None])[..., 0] * (returns - value.detach())).mean()
        loss = policy + 0.5 * (returns - value).square().mean() + 0.01 * (log.exp() * log).sum(-1).mean()
        return loss, {"return": (returns[:, -1].sum(), torch.tensor(len(returns)))}


@dataclass(frozen=True)
class LastOne:
    """Ragged: which symbol was the last of a sequence of 1 to 6 steps?"""

    NAME: ClassVar[str] = "last-one"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    spec = Spec(4, 4)
    floors = {"accuracy": 0.25}  # noqa: RUF012
    loss = staticmethod(answers)

    def draw(self, count, generator, model=None):
        symbols = torch.randint(4, (count, 6), generator=generator)
        lengths = torch.randint(1, 7, (count,), generator=generator)
        return Batch(symbols, symbols.gather(1, lengths[:, None] - 1)[:, 0], lengths)


TASKS = [Remember(), LastOne()]


def train(model, task, config, folder, **options):
    drawn = data.draw(task, config.train_size, config.valid_size, config.seed, config.test_size)
    return run.train(Setup(model, task, config), drawn, folder, **options)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", ["RNN-LN-FW", "GRU"])
def test_it_learns_is_judged_and_resumes_bit_for_bit(task, model, tmp_path):
    try_out(Setup(model, task, SMALL))
    config = replace(SMALL, epochs=40)
    row = train(model, task, config, tmp_path / "through")
    assert row[f"valid_{task.METRIC}"] > 0.9
    assert run_folder.read_final(tmp_path / "through")[f"test_{task.METRIC}"] > 0.9

    class Cut(loop.Loop):
        def update(self):
            if self.progress.update == 57:
                raise SystemError("cut")
            return super().update()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Loop", Cut)
        with pytest.raises(SystemError):
            train(model, task, config, tmp_path / "cut")
    train(model, task, config, tmp_path / "cut", resume=True)
    one, other = (
        checkpoints.load_checkpoint(tmp_path / each / run_folder.CHECKPOINT)[0] for each in ("through", "cut")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    metrics = [(tmp_path / each / run_folder.METRICS).read_bytes() for each in ("through", "cut")]
    assert metrics[0] == metrics[1]


def test_what_update_k_sees_is_a_function_of_k():
    """In any order, again and again; a fixed set is another permutation in each epoch, each sequence once."""
    task = LastOne()
    drawn = task.draw(40, torch.Generator().manual_seed(0))
    model = torch.nn.Identity()
    for make in (lambda: source.epochs(drawn, 8, 3), lambda: source.fresh(task, 8, 3)):
        first, again = make(), make()
        seen = {update: first(update, model) for update in range(15)}
        for update in (14, 3, 3, 9, 0):
            assert again(update, model).hash == seen[update].hash
        assert len({batch.hash for batch in seen.values()}) == 15
    epochs = source.epochs(drawn, 8, 3)
    for epoch in range(3):
        rows = torch.cat([epochs(5 * epoch + place, model).inputs for place in range(5)])
        assert sorted(rows.tolist()) == sorted(drawn.inputs.tolist())


@pytest.mark.parametrize("damage, says", [
    ({"draw": lambda self, count, generator, model=None: 1 / 0}, "ZeroDivisionError when tried out"),
    ({"loss": lambda self, model, batch: model(batch.inputs, wrong=1)}, "TypeError when tried out"),
    ({"draw": lambda self, count, generator, model=None: Batch(torch.zeros(count, 3), torch.zeros(count))},
     "when tried out"),
])  # fmt: skip
def test_a_task_that_breaks_is_its_owners(damage, says, tmp_path):
    broken = dataclass(frozen=True)(type("Broken", (LastOne,), damage))
    with pytest.raises(ValueError, match=says):
        try_out(Setup("GRU", broken(), SMALL))


OWN = """import torch
from dataclasses import dataclass
from fastweights import cli
from fastweights.tasks import Batch, Spec, answers

@dataclass(frozen=True)
class Own:
    NAME, VERSION, METRIC = "own", 1, "accuracy"
    spec = Spec(4, 4)
    floors = {{"accuracy": 0.25}}
    loss = staticmethod(answers)
    length: int = 3
    {field}

    def draw(self, count, generator, model=None):
        x = torch.randint(4, (count, self.length), generator=generator)
        {draw}
        return Batch(x, x[:, 0])
    {more}
"""
TINY = "--hidden-size 8 --epochs 2 --train-size 256 --valid-size 64 --batch-size 64".split()


def own(tmp_path, monkeypatch, name, field="", draw="", more="", change=("", "")):
    (tmp_path / f"{name}.py").write_text(OWN.format(field=field, draw=draw, more=more).replace(*change))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return f"{name}:Own"


@pytest.mark.parametrize(
    "damage, says",
    [
        ({"draw": "x = x[:2]"}, "got 2 sequences from draw\\(3, ...\\), wanted 3"),
        ({"draw": "x = torch.randint(4, x.shape)"}, "got other sequences from the same generator"),
        ({"draw": "raise SystemExit(0)"}, "got SystemExit in draw \\(.*, line \\d+\\) when tried out"),
        ({"field": "name: str = 'x'"}, "got Own with the field 'name', wanted another name"),
        ({"field": "epochs: int = 3"}, "got the field 'epochs', wanted another name"),
        ({"change": ('"accuracy"\n', '"acuracy"\n')}, "got the statistics loss, accuracy, wanted .* with acuracy"),
        ({"change": ("Spec(4, 4)", "(4, 4)")}, "wanted Spec\\(inputs, outputs\\)"),
        ({"change": ('{"accuracy": 0.25}', "None")}, "got the floors None"),
        ({"more": "BETTER = 'larger'"}, "got BETTER = 'larger', wanted 'higher' or 'lower'"),
        ({"more": "def __post_init__(self): raise ValueError('odd')"}, "got ValueError: odd"),
        ({"change": ("staticmethod(answers)", "lambda self, model, batch: (model(batch.inputs).mean(), {})")},
         "got the statistics , wanted"),
        ({"change": ("staticmethod(answers)",
                     "lambda self, model, batch: (model(batch.inputs).mean(), {'accuracy': (1.0, 2)})")},
         "as its accuracy, wanted two tensors"),
        ({"change": ("staticmethod(answers)",
                     "lambda self, model, batch: (model(batch.inputs).mean() * float('nan'), "
                     "{'accuracy': (torch.ones(()), torch.ones(()))})")}, "got a loss of nan before anything is learnt"),
    ],
)  # fmt: skip
def test_a_task_that_is_none_is_told_before_anything_is_written(damage, says, tmp_path, monkeypatch, capsys, request):
    name = own(tmp_path, monkeypatch, f"own_{abs(hash(request.node.name))}", **damage)
    assert cli.main(["train", "GRU", *TINY, "--task", name, "--run", "run"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and re.search(says, err), err
    assert not (tmp_path / "run").exists()


def test_options_of_ones_own_that_are_called_as_parts_of_other_tasks(tmp_path, monkeypatch):
    fields = "sizes: tuple[int, ...] = (3, 4)\n    env: tuple[int, ...] = (5, 6)"
    name = own(tmp_path, monkeypatch, "own_words", field=fields)
    assert cli.main(["train", "GRU", *TINY, "--task", name, "--run", "run"]) == 0
    assert run_folder.read_final(tmp_path / "run")["update"] == 8


def test_what_breaks_later_in_a_class_of_ones_own_is_its_owners(tmp_path, monkeypatch, capsys):
    name = own(tmp_path, monkeypatch, "breaks_later", draw="assert count < 100 or count == 256, 'not so many'")
    assert cli.main(["train", "GRU", *TINY, "--valid-size", "128", "--task", name, "--run", "run"]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("fastweights: error: breaks_later.py, line ") and "not so many" in err
    assert "Traceback" not in err


def test_a_column_of_the_inputs_may_be_the_answer(tmp_path, monkeypatch, capsys):
    """Views with gaps hash and are written as what they show."""
    name = own(tmp_path, monkeypatch, "column")
    assert cli.main(["data", name, "--train", "20", "--valid", "10", "--length", "4"]) == 0
    code = cli.main(["train", "GRU", *TINY, "--batch-size", "4", "--task", name, "--data", "data", "--run", "run"])
    assert code == 0, capsys.readouterr().err
    assert run_folder.read_description(tmp_path / "run")["task"]["length"] == 4
    given = ["train", "GRU", *TINY, "--batch-size", "4", "--task", name, "--data", "data", "--run", "other"]
    assert cli.main([*given, "--length", "5"]) == 2
    assert "data: holds sequences of length 4, not 5" in capsys.readouterr().err
    assert cli.main([*given[:-4], "--task", "copying", "--data", "data", "--run", "other"]) == 2
    assert "holds sequences of column:Own, not of copying" in capsys.readouterr().err
    one = Batch(torch.arange(12).view(3, 4)[:1], torch.arange(12).view(3, 4)[:1, 1])
    assert one.hash == Batch(*(each.clone() for each in one[:2])).hash
