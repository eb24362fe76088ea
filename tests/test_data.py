"""CSV files of sequences, and what is wrong with those that cannot be read."""

import json
import re
import sys

import pytest
import torch
from command_line import run

from fastweights.errors import UserError
from fastweights.tasks import Adding, AssociativeRetrieval, Copying
from fastweights.tasks.lines import to_lines
from fastweights.training import data

RETRIEVAL = ["a1b2??a,1", "c3d4??d,4", "e5f6??e,5"]
COPYING = ["ab.:..,ab", "cd.:..,cd", "ef.:..,ef"]
ADDING = ["0.5:1 0.25:1,0.75", "0.5:1 0.5:1,1.0", "0.125:1 0:1,0.125"]


@pytest.mark.parametrize(
    "task, good, line, says",
    [
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??a,2", "line 3: got the answer '2' to 'a1b2\\?\\?a', wanted '1'"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??a", "line 3: .*wanted a sequence, a comma and its answer, as in (..)+\\?\\?.,\\d$"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??c,1", "line 3: got 'c' as the query"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1a2??a,1", "line 3: got the key 'a' twice"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2c3??a,1", "line 3: .*of 9 symbols, wanted 7"),
        (AssociativeRetrieval(5), RETRIEVAL, "", "line 3: got '', wanted a sequence"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??a,x", "line 3: got the answer 'x'"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??a,", "line 3: got the answer ''"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??a,1,1", "line 3: got .* with 3 columns, wanted 2 as in line 1"),
        (AssociativeRetrieval(5), RETRIEVAL, "\ufeffa1b2??a,1", "line 3"),
        (AssociativeRetrieval(5), RETRIEVAL, "a1b2??é,1", "line 3: got 'é'"),
        (AssociativeRetrieval(5, distinct_values=True), RETRIEVAL, "a1b1??a,1", "line 3: got a value twice"),
        (Copying(), COPYING, "ab.:..,ba", "line 3: got the answer 'ba' to 'ab.:..', wanted 'ab'"),
        (Copying(), COPYING, "ab..:..,ab", "line 3: got 'ab..:..', wanted 2 letters a-h, 1 blanks"),
        (Adding(), ADDING, "0.5:1 0.25:1 0.25:0,0.75", "line 3: got 3 steps, wanted 2 as in line 1"),
        (Adding(), ADDING, "0.5:1 0.25,0.75", "line 3: got '0.25' among the steps, wanted 2 with a colon between two"),
        (Adding(), ADDING, "0.5:1 x:1,0.75", "line 3: got 'x', wanted a number"),
        (Adding(), ADDING, "0.5:1  0.25:1,0.75", "line 3: got 3 steps, wanted 2"),
        (Adding(), ADDING, "0.5:1 nan:1,0.75", "line 3: got nan in the inputs, wanted finite numbers"),
        (Adding(), ADDING, "0.5:1 0.25:1,1e99", "line 3: got inf in the targets, wanted finite numbers"),
        (Adding(), ADDING, "0.5:1 0.25:1,0.75 0.5", "line 3: got 2 answers, wanted 1 as in line 1"),
        (Adding(), ADDING, "0.5:1 0.25:1,", "line 3: got '', wanted a number"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(task, good, line, says, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("\n".join([*good[:2], line, good[2]]) + "\n")
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}, {says}") as caught:
        data.load(path, task)
    assert "\n" not in str(caught.value)
    path.write_text("\n".join([*good, *good]) + "\n")
    assert data.load(path, task).train.size == 5


@pytest.mark.parametrize("task", [AssociativeRetrieval(), Copying(), Adding()], ids=lambda task: task.NAME)
@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "got an empty file, wanted lines such as \\S"),
        (b"\n\n", "got an empty file"),
        (b"\xff\xfe\x00", "cannot be read as text"),
        (b"hello\n", "line 1: "),
        (b"x" * 10**6, "line 1: "),
        (b"x," * 10**6, "line 1: "),
        ("٣,٣\n".encode(), "line 1: "),
        (None, "no such file, wanted lines such as .* \\(`fastweights data` writes them\\)"),
    ],
    ids=["empty", "blank", "binary", "words", "one symbol", "commas", "other digits", "missing"],
)
def test_what_is_no_csv(content, says, task, tmp_path):
    path = tmp_path / "own.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        data.load(path, task)
    assert "\n" not in str(caught.value) and len(str(caught.value)) - len(str(path)) < 350


@pytest.mark.parametrize(
    "content, says",
    [
        (b"a1b2??a,1\n" + b"a" * 10**6, "line 2: got 'a{79}\\.\\.\\., wanted a sequence"),
        ("a1b2??a,1\u2028\na1b2??a,2\n".encode(), "line 2: got the answer '2'"),
        (b"a1b2??a,1\n" * 4, "got 4 lines, wanted at least 5, to validate on some"),
    ],
    ids=["long", "other line end", "few"],
)
def test_lines_are_counted_as_an_editor_does(content, says, tmp_path):
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(UserError, match=says):
        data.load(tmp_path / "own.csv", AssociativeRetrieval())


def test_a_csv_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"a1b2??a,1\r\nc3d4??d,4\r\n" * 5)
    found = data.load(path, AssociativeRetrieval())
    assert (found.train.size, found.valid.size) == (8, 2)


def test_the_file_decides_what_its_text_tells(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("\n".join(RETRIEVAL * 2))
    asked = AssociativeRetrieval(9, renamed_keys=True)
    assert data.load(path, asked).task == AssociativeRetrieval(2, renamed_keys=True)
    path.write_text("\n".join(line.replace("..,", ",") for line in COPYING * 2))  # without the last blanks
    found = data.load(path, Copying())
    assert found.task == Copying(2, 2) and to_lines(found.task, found.valid) == [COPYING[1]]
    path.write_text("a1b1??a,1\n" * 5)
    with pytest.raises(UserError, match="line 1: got a value twice"):
        data.load(path, AssociativeRetrieval(9, distinct_values=True))
    path.write_text("a1" * 11 + "??a,1\n" * 5)
    with pytest.raises(UserError, match="line 1: num_pairs: got 11, wanted an integer from 1 to 10"):
        data.load(path, AssociativeRetrieval(9, distinct_values=True))


def test_two_files_of_other_tasks(tmp_path):
    (tmp_path / "train.csv").write_text("\n".join(RETRIEVAL))
    (tmp_path / "valid.csv").write_text("a1b2c3??a,1")
    with pytest.raises(UserError, match="valid.csv: got num_pairs 3, wanted 2 as in train.csv"):
        data.load(tmp_path, AssociativeRetrieval())
    (tmp_path / "valid.csv").unlink()
    with pytest.raises(UserError, match="valid.csv: no such file"):
        data.load(tmp_path, AssociativeRetrieval())


def test_a_test_set_leaves_the_others_as_they_are():
    without, having = data.draw(Copying(), 30, 20, 7), data.draw(Copying(), 30, 20, 7, 10)
    assert without.test is None and having.test is not None and having.test.size == 10
    assert list(having.describe()) == [
        f"{part}_{what}" for part in ("train", "valid", "test") for what in ("size", "hash")
    ]
    assert having.describe() == without.describe() | {"test_size": 10, "test_hash": having.test.hash}


def test_a_task_that_acts_is_not_drawn_beforehand(tmp_path):
    class Acting(Copying):
        ACTS = True

    drawn = data.draw(Acting(), 1, 1, 0)
    assert drawn.parts() == {} and drawn.describe() == {}
    with pytest.raises(UserError, match="task copying: got a task that acts with its model"):
        data.write(drawn, tmp_path / "data", 0)
    assert not (tmp_path / "data").exists()


def test_a_task_that_draws_what_its_spec_does_not_say():
    class Wrong(Copying):
        def draw(self, count, generator, model=None):
            batch = super().draw(count, generator)
            return batch._replace(inputs=batch.inputs + 1)

    with pytest.raises(UserError, match="task copying: got 10 in the inputs, wanted symbols from 0 to 9"):
        data.draw(Wrong(), 10, 1, 0)


# the command


@pytest.mark.parametrize(
    "task, options, first",
    [
        ("associative-retrieval", ["--num-pairs", 2], r"([a-z]\d){2}\?\?[a-z],\d"),
        ("copying", ["--length", 3, "--delay", 2], r"[a-h]{3}\.:\.\.\.,[a-h]{3}"),
        ("adding", ["--length", 2], r"0\.\d+:1 0\.\d+:1,[01]\.\d+"),
    ],
)
def test_any_task_is_drawn_by_its_options(task, options, first, tmp_path, capsys):
    where = ["--train", 20, "--valid", 5, "--seed", 4, "--output", tmp_path / "data"]
    code, out, err = run(capsys, "data", task, *options, *where)
    line = (tmp_path / "data/train.csv").read_text().splitlines()[0]
    assert code == 0 and re.fullmatch(first, line), err
    assert "train.csv (20 lines), valid.csv (5) and data.json" in out and out.endswith(f"the first line: {line}\n")
    stored = json.loads((tmp_path / "data/data.json").read_text())
    assert stored["task"]["name"] == task and stored["seed"] == 4
    named = {f"--{name.replace('_', '-')}": value for name, value in stored["task"].items()}
    assert dict(zip(options[::2], options[1::2], strict=True)).items() <= named.items()


def test_a_task_of_ones_own_is_drawn(tmp_path, monkeypatch, capsys):
    (tmp_path / "count_task.py").write_text(
        "from dataclasses import dataclass, field\nfrom fastweights.tasks import Copying\n\n"
        "@dataclass(frozen=True)\nclass Count(Copying):\n    NAME = 'count'\n    twice: bool = False\n\n"
        "@dataclass(frozen=True)\nclass Bad(Copying):\n    train: int = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code, out, err = run(capsys, "data", "count_task:Count", "--twice", "--train", 5, "--valid", 5, "--length", 2)
    assert code == 0 and re.search(r"the first line: [a-h]{2}\.{19}:\.\.,[a-h]{2}\n", out), err
    stored = json.loads((tmp_path / "data/data.json").read_text())["task"]
    assert stored == {"name": "count_task:Count", "version": 1, "length": 2, "delay": 20, "twice": True}
    code, out, err = run(capsys, "data", "count_task:Bad")
    assert code == 2 and "got a field train, wanted another name, for the command has --train" in err
    monkeypatch.delitem(sys.modules, "count_task")


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "got no task \\(tasks: adding, "),
        (["copyin"], "unknown task 'copyin'; did you mean copying"),
        (["nope:Nope"], "task 'nope:Nope': got ModuleNotFoundError"),
        (["copying", "--length", "0"], "length: got 0, wanted an integer from 1 to 200"),
        (["copying", "--num-pairs", "3"], "num-pairs"),
        (["copying", "--train", "0"], "--train: got 0, wanted an integer from 1"),
    ],
)
def test_what_cannot_be_drawn(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "data", *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and re.search(says, err), err
    assert not any(tmp_path.iterdir())


def test_data_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "valid.csv").write_text("mine")
    code, _, err = run(capsys, "data", "copying", "--output", tmp_path)
    assert code == 2 and "already there" in err
    assert [path.name for path in tmp_path.iterdir()] == ["valid.csv"]


def test_reading_keeps_the_dtypes(tmp_path):
    for task, inputs, targets in ((Copying(), torch.int64, torch.int64), (Adding(), torch.float32, torch.float32)):
        data.write(data.draw(task, 5, 5, 0), tmp_path / task.NAME, 0)
        found = data.load(tmp_path / task.NAME, task).train
        assert (found.inputs.dtype, found.targets.dtype) == (inputs, targets)
