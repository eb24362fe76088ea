"""A user's own network in the table of a paper, and in that of `train`."""

import json
import re
import sys

import pytest
from in_process import run_jobs_here
from toy_runs import reproduce

from fastweights import cli
from fastweights.optim import Group
from fastweights.papers import paper
from fastweights.training import run_folder

TINY = "--hidden-size 8 --epochs 2 --train-size 256 --valid-size 64 --batch-size 64 --num-pairs 2".split()


def test_a_model_of_ones_own_is_a_row(toy, capsys):
    (toy / "my_package.py").write_text("from torch import nn\nclass MyCell(nn.GRU):\n    pass\n")
    code, out, err = reproduce(
        capsys, "toy", "--model", "my_package:MyCell", "--only", "own-8", "--seeds", 1, "--run", "o",
        "--results", "own",
    )  # fmt: skip
    assert code == 0 and re.search(r"^MyCell-8 +\d", out, re.M), err
    assert json.loads((toy / "own/toy/MyCell-8-seed0.json").read_text())["model"] == "my_package:MyCell"


OWN = """import torch
from torch import nn


class {name}(nn.Module):
    def __init__(self, input_size, hidden_size, batch_first):
        super().__init__()
        self.cell = nn.GRU(input_size, hidden_size, batch_first={first})
        self.register_buffer("mask", torch.triu(torch.full((4, 4), -torch.inf), 1))
        self.{weight} = nn.Parameter(torch.ones(hidden_size, input_size))

    def forward(self, input):
        if len(input) == 64:
            print('{{"error": 3, "update": "x"}}')
        output, state = self.cell(input)
        return output + input @ self.{weight}.T, state
"""


def own(toy, module, name="Own", weight="weight_ih_l0", first="True"):
    (toy / f"{module}.py").write_text(OWN.format(name=name, weight=weight, first=first))
    return "toy", "--model", f"{module}:{name}", "--only", f"{name}-8", "--seeds", 1, "--run", f"runs/{module}"


def test_what_a_model_prints_is_no_event_and_a_mask_of_infinities_is_no_broken_weight(
    toy_in_processes, capsys, monkeypatch
):
    toy = toy_in_processes
    given = own(toy, "prints")
    code, out, err = reproduce(capsys, *given, "--results", "of-prints")
    assert code == 0 and re.search(r"^Own-8 +\d", out, re.M), err
    folder = toy / "runs/prints/Own-8-seed0"
    (folder / run_folder.FINAL).unlink()  # a run that goes on from its checkpoint
    run_jobs_here(monkeypatch)
    code, _, err = reproduce(capsys, *given, "--results", "of-prints")
    assert code == 0 and (folder / run_folder.FINAL).exists(), err
    described = json.loads((folder / run_folder.CONFIG).read_text())
    assert len(described["sources"]["prints:Own"]) == 64


def test_what_learns_at_a_rate_of_its_own_in_a_model_is_told(toy, capsys, monkeypatch):
    module = paper("toy")
    slow = (Group(r"head\..*|recurrent\..*weight_ih_l0", share=0.1),)
    monkeypatch.setattr(module, "RUNS", [cell.with_settings(groups=slow) for cell in module.RUNS])
    code, _, err = reproduce(capsys, *own(toy, "unknown", weight="mixing"), "--results", "of-unknown")
    assert code == 0 and "note: unknown:Own learns at the row's learning rate, cell.weight_ih_l0 at 0.1\n" in err
    monkeypatch.setattr(module, "RUNS", [cell.with_settings(groups=()) for cell in module.RUNS])
    code, _, err = reproduce(capsys, *own(toy, "known"), "--results", "of-known")
    assert code == 0 and "learning rate, no weight of its own at another" in err


def test_a_model_that_mixes_sequences_is_refused(toy, capsys):
    code, out, err = reproduce(capsys, *own(toy, "mixing", first="False"), "--results", "of-mixing")
    assert code == 2 and out == "" and "got other outputs for a sequence when another is asked beside it" in err
    assert not (toy / "of-mixing").exists() and not (toy / "runs/mixing").exists()


def test_two_classes_of_one_name_do_not_take_each_others_places(toy, capsys):
    one, two = own(toy, "one"), own(toy, "two")
    code, _, err = reproduce(capsys, *one, "--model", "one:Own", "two:Own")
    assert code == 2 and "--model two:Own: got one:Own too, and both are Own-8" in err
    for given, extra in ((one, []), (two, ["--search"])):
        code, _, err = reproduce(capsys, *given, "--results", "of-two", *extra)
        assert code == 0, err
    before = {path: path.read_bytes() for path in (toy / "of-two/toy").iterdir()}
    path = toy / "two.py"
    path.write_text(path.read_text() + "# changed\n")
    code, _, err = reproduce(
        capsys, *two, "--results", "of-two", "--search"
    )  # its runs are others: nothing is recorded
    assert code == 2 and "before the file of two:Own was changed" in err
    for given, extra in ((two, []), (one, ["--search"])):
        code, out, err = reproduce(capsys, *given, "--results", "of-two", *extra)
        assert code == 2 and out == "" and "choose another --results" in err.splitlines()[-1]
    assert {path: path.read_bytes() for path in before} == before


def test_a_class_that_was_changed_is_another_run(toy, capsys, monkeypatch):
    (toy / "changes").mkdir()
    given = own(toy, "changes/cell")
    (toy / "changes/__init__.py").write_text("from changes.cell import Own\n")
    given = tuple("changes:Own" if each == "changes/cell:Own" else each for each in given)
    assert reproduce(capsys, *given, "--results", "of-changes")[0] == 0
    path = toy / "changes/cell.py"
    path.write_text(path.read_text().replace("output + input", "output - input"))
    for name in ("changes", "changes.cell"):  # the next runs are those of another process
        monkeypatch.delitem(sys.modules, name)
    code, out, err = reproduce(capsys, *given, "--results", "of-changes")
    assert code == 2 and "holds a run from before the file of changes:Own was changed; choose another --run" in err
    assert "left out, of other settings: of-changes/toy/Own-8-seed0.json" in out
    code, out, err = reproduce(capsys, *given[:-1], "runs/changed", "--results", "of-changes")
    assert code == 0 and "left out" not in out, err


def test_a_run_that_breaks_down_is_named_after_the_table(toy, capsys, monkeypatch):
    (toy / "diverging.py").write_text(
        "from torch import nn\nclass Diverging(nn.GRU):\n    def forward(self, x, s=None):\n"
        "        o, s = super().forward(x, s)\n        return (o * float('nan') if len(x) == 64 else o), s\n"
    )
    own, only = "diverging:Diverging", "Diverging-8|B-8"
    arguments = ["toy", "--model", own, "--only", only, "--run", "runs/toy", "--seeds", 1]
    code, out, err = reproduce(capsys, *arguments)
    assert code == 2 and re.search("^B-8 ", out, re.M), err
    assert re.match("fastweights: error: Diverging-8-seed0: .*the loss became nan at update 1", err.splitlines()[-1])


@pytest.mark.usefixtures("jobs_here")
def test_a_network_of_ones_own_is_named_by_its_class_where_that_is_enough(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for module in ("first_nets", "second_nets"):
        (tmp_path / f"{module}.py").write_text("from torch import nn\nclass Net(nn.GRU):\n    pass\n")
    assert cli.main(["train", "first_nets:Net", "--run", "one", *TINY]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^Net +\d", out, re.M) and re.search(r"^Net: update ", err, re.M), err
    assert cli.main(["train", "first_nets:Net", "second_nets:Net", "--run", "two", *TINY]) == 0
    out, err = capsys.readouterr()
    for name in ("first", "second"):
        assert re.search(rf"^{name}_nets:Net +\d", out, re.M) and re.search(rf"^{name}_nets:Net: update ", err, re.M)
