"""Tasks by name: registered ones, a user's own, and what is none."""

import sys

import pytest

from fastweights.errors import UserError
from fastweights.tasks import Copying, better, describe, find_task, has_text, make_task
from fastweights.training import data

OWN = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from fastweights.tasks import Batch, Spec, answers

@dataclass(frozen=True)
class Largest:
    \"\"\"At which step was the largest number?\"\"\"

    NAME: ClassVar[str] = "largest"
    VERSION: ClassVar[int] = 3
    METRIC: ClassVar[str] = "accuracy"
    spec = Spec(inputs=1, outputs=6, symbols=False)
    floors = {"accuracy": 1 / 6}
    loss = staticmethod(answers)

    length: int = 6
    sizes: tuple[int, ...] = (1, 2)

    def draw(self, count, generator, model=None):
        inputs = torch.randn(count, self.length, 1, generator=generator)
        return Batch(inputs, inputs[:, :, 0].argmax(1))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder in which the user's own task lies, as the current one."""
    (tmp_path / "own_task.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.delitem(sys.modules, "own_task", raising=False)
    yield tmp_path
    sys.modules.pop("own_task", None)


def test_a_task_of_the_user(own):
    kind = find_task("own_task:Largest")
    task = kind(length=4)
    stored = describe(task) | {"sizes": [1, 2]}  # as JSON has it
    assert stored == {"name": "own_task:Largest", "version": 3, "length": 4, "sizes": [1, 2]}
    assert make_task(stored, kind) == task
    assert str(own) not in sys.path and "own_task" in sys.modules
    drawn = data.draw(task, 20, 10, 0)
    data.write(drawn, own / "data", 0)
    assert data.load(own / "data", task).describe() == drawn.describe()
    assert better(task) == "higher" and not has_text(task)


def test_a_file_does_not_choose_what_is_imported(own):
    stored = {"name": "own_task:Largest", "version": 3, "length": 4}
    with pytest.raises(
        UserError, match="got the task 'own_task:Largest', wanted one of .*; name your own task yourself"
    ):
        make_task(stored)
    assert "own_task" not in sys.modules
    with pytest.raises(UserError, match="got the task 'copying', wanted own_task:Largest, which was named"):
        make_task({"name": "copying"}, find_task("own_task:Largest"))


@pytest.mark.parametrize(
    "stored, says",
    [
        ({}, "got the task None, wanted one of adding, "),
        ({"name": ["copying"]}, "got the task \\['copying'\\]"),
        ({"name": "copying", "version": 2}, "got version 2 of the task copying, wanted 1"),
        ({"name": "copying", "lenth": 2}, "got the task copying with 'lenth', wanted its options alone: length, delay"),
        ({"name": "copying", "length": "a"}, "task: length: got 'a', wanted an integer"),
    ],
)
def test_a_file_that_describes_no_task(stored, says, as_users_have_it):
    with pytest.raises(UserError, match=says):
        make_task(stored)


def test_a_registered_task_by_its_module():
    assert find_task("fastweights.tasks.copying:Copying") is Copying and describe(Copying())["name"] == "copying"


@pytest.mark.parametrize(
    "name, source, says",
    [
        ("copyin", "", "unknown task 'copyin'; did you mean copying\\? \\(tasks: adding, .*, or package.module:Class\\)"),
        ("zzz", "", "unknown task 'zzz' \\(tasks"),
        ("no_such_module:A", "", "got ModuleNotFoundError: No module named 'no_such_module'; wanted package.module:Class"),
        (":", "", "got ValueError"),
        ("broken:A", "def f(:", "got SyntaxError"),
        ("broken:A", "1 / 0", "got ZeroDivisionError"),
        ("broken:A", "raise SystemExit(0)", "got SystemExit"),
        ("broken:A", "", "got AttributeError: module 'broken' has no attribute 'A'"),
        ("broken:A", "A = 3", "got 3, wanted a class"),
        ("broken:A", "class A: pass", "got A, wanted a frozen dataclass: @dataclass\\(frozen=True\\)"),
        ("broken:A", "@dataclass\nclass A: pass", "got A, wanted a frozen dataclass"),
        ("broken:A", "@dataclass(frozen=True)\nclass A:\n    spec = 1", "got A without NAME, VERSION, METRIC, floors, draw, loss, wanted"),
        ("broken:A", "@dataclass(frozen=True)\nclass A:\n    length: int\n    NAME = VERSION = METRIC = spec = floors = draw = loss = 1",
         "got A without a default of length, wanted one for each field"),
        ("broken:A", "@dataclass(frozen=True)\nclass A:\n    SYMBOLS = NAME = VERSION = METRIC = spec = floors = draw = loss = 1",
         "got A without CLASSES, encode, decode, answer, from_text, wanted"),
        ("broken:A", "from fastweights.tasks import Copying\n@dataclass(frozen=True)\nclass A(Copying): CLASSES = 'ab-'",
         "got A with the symbols 'abcdefgh.:' and the classes 'ab-', wanted no comma and no blank, and no class -"),
    ],
)  # fmt: skip
def test_no_task(name, source, says, own, monkeypatch):
    (own / "broken.py").write_text(f"from dataclasses import dataclass\n{source}\n")
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    with pytest.raises(UserError, match=says) as caught:
        find_task(name)
    assert "\n" not in str(caught.value)
    sys.modules.pop("broken", None)
