"""The classes of examples/, as somebody's own, through the command line."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from fastweights import cli
from fastweights.ops import fast_weights_rnn
from fastweights.training.description import load_run

ROOT = Path(__file__).parent.parent
TINY = "--hidden-size 8 --epochs 2 --train-size 256 --valid-size 64 --batch-size 64".split()
EXAMPLES = {
    "task": (["RNN-LN-FW", "GRU-LN", "--task", "examples.n_back:NBack", "--back", "3"], ["examples.n_back:NBack"]),
    "cell": (["examples.minimal_gated_unit:MinimalGatedUnit"], ["examples.minimal_gated_unit:MinimalGatedUnit"]),
    "cell by --model": (["--model", "examples.minimal_gated_unit:MinimalGatedUnit"], ["examples.minimal_gated_unit:MinimalGatedUnit"]),
    "rule": (["RNN-LN-FW", "--rule", "examples.oja:Oja", "--rate", "0.2"], ["examples.oja:Oja"]),
    "all three": (
        ["RNN-LN-FW", "examples.minimal_gated_unit:MinimalGatedUnit", "--task", "examples.n_back:NBack", "--rule",
         "examples.oja:Oja", "--learned", "rate"],
        ["examples.minimal_gated_unit:MinimalGatedUnit", "examples.n_back:NBack", "examples.oja:Oja"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains_resumes_and_is_loaded_only_where_it_is_named(name, tmp_path, monkeypatch, capsys):
    arguments, named = EXAMPLES[name]
    monkeypatch.chdir(ROOT)
    run = tmp_path / "runs"
    assert cli.main(["train", *arguments, *TINY, "--run", str(run)]) == 0
    assert cli.main(["train", *arguments, *TINY, "--run", str(run), "--resume"]) == 0
    assert cli.main(["plot", str(run), "--output", str(tmp_path / "figures")]) == 0
    assert (tmp_path / "figures/accuracy.png").exists()
    for folder in [path.parent for path in run.rglob("config.json")]:
        described = json.loads((folder / "config.json").read_text())
        load_run(folder, named)
        own = [described["model"], described["task"]["name"], described["network"].get("rule", {}).get("name", "")]
        if any(":" in each for each in own):
            with pytest.raises(ValueError, match="to have that imported"):
                load_run(folder)


def test_the_rule_of_the_example_stays_bounded(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from examples.oja import Oja

    inputs, recurrent = torch.randn(3, 60, 7), 0.1 * torch.randn(7, 7)
    _, state = fast_weights_rnn(inputs, recurrent, torch.ones(7), torch.zeros(7), rule=Oja(rate=0.5))
    assert torch.linalg.matrix_norm(state.weights, 2).max() < 1.5
    assert Oja(decay=0.5).write(torch.ones(2, 2), torch.ones(2), torch.ones(2)).shape == (2, 2)


def test_a_task_of_ones_own_has_forty_lines_or_less():
    lines = (ROOT / "examples/n_back.py").read_text().splitlines()
    assert len(lines) <= 42, "the README promises a short file"
    assert "fastweights.tasks" in sys.modules


def test_a_swap_in_a_small_model_learns_with_each_network():
    found = runpy.run_path(str(ROOT / "examples/swap.py"))["main"](updates=20)
    floor = found.pop("guess floor")
    assert set(found) == {"nn.LSTM", "FastWeightsRNN", "without its memory"}
    assert all(0 < loss < floor + 1 for loss in found.values())


def test_a_memory_looked_into_answers_right_and_by_its_memory_alone(capsys):
    looked = runpy.run_path(str(ROOT / "examples/look_into_memory.py"))
    looked["main"](updates=800)
    out = capsys.readouterr().out
    answers = dict(line.split(", ", 1)[::-1] for line in out.splitlines() if "c9k8??c -> " in line)
    assert [answer[-1] for answer in answers.values()][::3] == ["9", "8"] and "read/boundary" in out, out
    assert "c9k8??c -> 9" not in list(answers.values())[1:], out
    weights = {line[0] + str(place): float(line.split()[1]) for place, line in enumerate(out.splitlines()[:7])}
    assert max(weights, key=lambda name: weights[name]) in ("91", "c0"), out
