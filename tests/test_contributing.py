"""The recipes of CONTRIBUTING.md work as they stand there."""

import re
import sys
import types
from pathlib import Path

import pytest
import torch

from fastweights.nn import FastWeightsRNN
from fastweights.ops import fast_weights_scan
from fastweights.training.config import Config
from fastweights.training.pair_networks import Between
from fastweights.training.setup import Setup
from fastweights.training.trial import try_out

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
WHOLE = [body for body in re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) if body[0] != " "]
SMALL = Config(hidden_size=8, batch_size=8, epochs=1, train_size=16, valid_size=8, test_size=8)


@pytest.fixture
def recipes(monkeypatch):
    """All blocks that are whole files, by the names of what they define."""
    found = {}
    for place, body in enumerate(WHOLE):
        module = types.ModuleType(f"recipe{place}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(body, f"CONTRIBUTING.md, block {place}", "exec"), module.__dict__)
        found |= {
            name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__
        }
        found |= {"paper": module} if hasattr(module, "RUNS") else {}
    return found


def test_tasks_can_be_trained(recipes):
    for model, name in (("RNN-LN-FW", "Majority"), ("GRU", "Remember"), ("FastWeightsTransducer", "Doubled")):
        try_out(Setup(model, recipes[name](), SMALL))
    digits, majority = recipes["Majority"](length=5).draw(99, torch.Generator())[:2]
    assert torch.equal(majority, (digits.float().mean(1) > 0.5).long())
    task = recipes["Doubled"](length=2)
    batch = task.draw(3, torch.Generator())
    assert batch.targets.shape == (3, 5) and torch.equal(batch.targets[:, :-1], batch.inputs.repeat_interleave(2, 1))
    episodes = recipes["Remember"]().draw(200, torch.Generator())
    right = episodes.targets[:, -1, 0] == episodes.inputs[:, 0].argmax(1)
    assert torch.equal(episodes.targets[..., 1].sum(1), right.float()) and not episodes.inputs[:, 1:].any()


def test_a_memory_stands_between_encoder_and_decoder(recipes):
    kind = recipes["Sums"]
    try_out(Setup("EncoderDecoder", recipes["Doubled"](), SMALL, Between(memory=f"{kind.__module__}:Sums")))
    memory, states, lengths = kind(6, 5, key_size=4, value_size=7), torch.randn(2, 3, 6), torch.tensor([3, 1])
    state = memory.write(states[:, :0])
    for t in range(3):
        state = memory.append(state, *memory.project(states[:, t], t < lengths))
    torch.testing.assert_close(list(state), list(memory.write(states, lengths)))


def test_rules_run(recipes):
    assert FastWeightsRNN(3, 4, rule=recipes["Forgetful"](decay=0.5))(torch.randn(5, 2, 3))[0].shape == (5, 2, 4)
    draw = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(2, 40, 3, 4, generator=draw, dtype=torch.float64) for _ in range(3))
    gates = {"log_decay": -torch.rand(2, 40, 3, generator=draw, dtype=torch.float64)}
    ran = [fast_weights_scan(queries, keys, values, gates, rule=recipes["Fading"](), backend=backend)[0]
           for backend in ("chunkwise", "reference")]  # fmt: skip
    torch.testing.assert_close(*ran)


def test_a_paper_has_cells_and_a_figure(recipes):
    module = recipes["paper"]
    assert {cell.setup.build() is not None for cell in module.RUNS} == {True}
    assert set(module.QUICK) <= {cell.name for cell in module.RUNS} and len(module.figure([]).axes) == 1
