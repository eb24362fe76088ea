"""A file of anybody's symbols: what is read out of it, and what is said of one that is broken."""

import json
import random
import re

import pytest
import torch

from fastweights import cli
from fastweights.errors import UserError
from fastweights.tasks import NOTHING, OwnLines, describe, make_task, task_told
from fastweights.tasks.own_lines_reader import MOST_NAMES
from fastweights.training import data

TINY = "--hidden-size 8 --epochs 2 --batch-size 16".split()


def lines_of(seed, alphabet="ABCDEF", count=40, each=False):
    """Sequences of three symbols, the answer the first of them, or each of them."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        row = [draw.choice(alphabet) for _ in range(3)]
        found.append((row, row if each else [row[0]]))
    return found


def written(path, rows, between="", head=None):
    text = [f"{between.join(row)},{between.join(answer)}" for row, answer in rows]
    path.write_text("\n".join([*([head] if head else []), *text]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("head", [None, "symbols,answer", "a sentence,its mood"])
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("between", ["", " "])
@pytest.mark.parametrize(
    "alphabet", ["ABCdef#;", "äß한😀Ω→é\u0301", ["dog", "кот", "-a-", "x:y"]], ids=["ascii", "unicode", "words"]
)
def test_the_file_tells_symbols_classes_and_form(alphabet, between, each, head, tmp_path):
    if isinstance(alphabet, list) and not between:
        between = "\t"
    rows = lines_of(1, alphabet, each=each)
    path = written(tmp_path / "own.csv", rows, between, head)
    found = data.load(path, OwnLines())
    task, used = found.task, sorted({symbol for row, _ in rows for symbol in row})
    assert task.symbols == tuple(used) and task.classes == tuple(sorted({a for _, answer in rows for a in answer}))
    assert (task.answers == "each", task.header == "yes", task.separated) == (each, head is not None, bool(between))
    assert sum(task.counts) == 40 * (3 if each else 1) and found.train.lengths is None
    train = [row for place, (row, _) in enumerate(rows) if place % 5 < 4]
    assert [[task.symbols[n] for n in line] for line in found.train.inputs.tolist()] == train
    right = [[task.classes[n] for n in (line if each else [line])] for line in found.valid.targets.tolist()]
    assert right == [answer for place, (_, answer) in enumerate(rows) if place % 5 == 4]
    assert make_task(json.loads(json.dumps(describe(task)))) == task
    assert torch.equal(task.encode((between or "").join(train[0])), found.train.inputs[0])
    assert max(task.floors["accuracy"], 1 - task.floors["accuracy"]) < 1 < task.floors["loss"] * 10


def test_sequences_may_differ_in_length(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("a b,A B\na,A\nb a b,B - B\nb b a,B B A\na b a b,A B A -\n" * 2)
    batch = data.load(path, OwnLines()).train
    assert batch.inputs.tolist()[:3] == [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]] and batch.lengths.tolist()[:3] == [
        2,
        1,
        3,
    ]
    assert batch.targets.tolist()[:3] == [[0, 1, NOTHING, NOTHING], [0] + [NOTHING] * 3, [1, NOTHING, 1, NOTHING]]
    path.write_text("ab,x\na,y\nbab,x\n" * 4)
    task = data.load(path, OwnLines()).task
    assert (task.length, task.answers, task.floors["accuracy"]) == (3, "one", pytest.approx(2 / 3))


def test_cells_in_quotes_are_those_of_a_spreadsheet(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text('"no, not me",sad\nwell done,"glad, and ""so"""\nsay "x",sad\n' * 4)
    task = data.load(path, OwnLines()).task
    assert task.classes == ('glad, and "so"', "sad") and '"x"' in task.symbols and "no," in task.symbols


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "own.csv: got an empty file, wanted lines such as A1B2C3"),
        ("ab,x\n" * 9, "own.csv, line 9: got the answer 'x' in every line up to this one, wanted at least two classes"),
        ("ab,x\nba,y\nab\nab,x\n", "own.csv, line 3: got 'ab' with 1 column, wanted symbols, a comma and the answer"),
        ("ab,x\nba,y\na,b,c\n", "own.csv, line 3: got 'a,b,c' with 3 columns"),
        ("ab,x\nba,y\n\nab,x\n", "own.csv, line 3: got ''"),
        ("ab,x\n,y\n", "own.csv, line 2: got no symbol"),
        ("ab,x\nba,\n", "own.csv, line 2: got no answer"),
        ("a b,X Y\nb a,Y X\na b,X\na b,X Y\n", "own.csv, line 3: got 1 answers to the 2 symbols of 'a b', wanted one each"),
        ("symbols,answer\n", "own.csv, line 1: got "),
        ("ab,x\nba,y\n", "own.csv: got 2 lines, wanted at least 5, to validate on some"),
        ("".join(f"ab,{n}\n" for n in range(MOST_NAMES + 1)), "own.csv, line .*: got .* classes .* wanted at most"),
    ],
    ids=["empty", "one class", "ragged", "three", "blank", "no symbol", "no answer", "answers", "header", "few", "many"],
)  # fmt: skip
def test_a_broken_file_is_one_line_and_nothing_is_written(text, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text(text)
    assert cli.main(["train", "GRU", *TINY, "--data", "own.csv", "--task", "own-lines", "--run", "run"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and re.search(says, said.err), said.err
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]


@pytest.mark.parametrize(
    "line, says",
    [("aZ,x", "line 3: got 'Z', wanted one of the 2 symbols that were trained on \\(a b\\)"),
     ("ab,z", "line 3: got 'z', wanted one of the 2 classes that were trained on \\(x y\\)")],
)  # fmt: skip
def test_what_was_not_trained_on_is_named(line, says, tmp_path):
    (tmp_path / "train.csv").write_text("ab,x\nba,y\n" * 3)
    (tmp_path / "valid.csv").write_text(f"ab,x\nba,y\n{line}\n")
    with pytest.raises(UserError, match=f"valid.csv, {says}"):
        data.load(tmp_path, OwnLines())


def test_a_header_may_stand_in_each_file_or_in_one(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n" + "ab,x\nba,y\n" * 3)
    for head in ("text,label\n", ""):
        (tmp_path / "valid.csv").write_text(f"{head}ba,y\n")
        found = data.load(tmp_path, OwnLines())
        assert (found.train.size, found.valid.size, found.task.classes) == (6, 1, ("x", "y"))


def test_a_first_line_that_is_as_the_others_is_data(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("ab,z\n" + "ab,x\nba,y\n" * 4)
    assert data.load(path, OwnLines()).task.classes == ("x", "y", "z")
    assert data.load(path, OwnLines(header="yes")).task.classes == ("x", "y")


def test_words_as_long_as_their_classes_may_be_one_answer(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("abc,dog\ncba,cat\n" * 4)
    assert data.load(path, OwnLines()).task.answers == "each"
    assert data.load(path, OwnLines(answers="one")).task.classes == ("cat", "dog")


@pytest.mark.parametrize(
    "first, told",
    [("a1b2??a,1", "associative-retrieval"), ("a1b2??a,2", "own-lines"), ("A1B2??A,1", "own-lines"), ("a,b,c", "own-lines"),
     ("", "associative-retrieval")],
)  # fmt: skip
def test_a_file_is_taken_as_the_usual_task_where_its_first_line_is_one(first, told, tmp_path):
    (tmp_path / "own.csv").write_text(first + "\n")
    assert task_told(tmp_path / "own.csv", "associative-retrieval") == told
    assert task_told(tmp_path / "own.csv", "adding") == "adding"
    assert task_told(tmp_path / "nowhere.csv", "copying") == "copying"


def test_what_the_data_command_wrote_is_no_file_of_ones_own(tmp_path, capsys):
    where = str(tmp_path / "d")
    assert cli.main(["data", "copying", "--train", "5", "--valid", "5", "--output", where]) == 0
    assert cli.main(["train", "GRU", "--data", where, "--run", str(tmp_path / "run")]) == 2
    assert (
        "holds sequences of copying, not of associative-retrieval; name its task by --task" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("jobs_here")
def test_a_sweep_takes_the_file_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "own.csv", lines_of(3))
    command = ["sweep", "GRU", *TINY, "--data", "own.csv", "--seeds", "2", "--run", "runs"]
    assert cli.main(command) == 0 == cli.main(command)
    said = capsys.readouterr()
    assert "note: own.csv is read as own-lines: 6 symbols" in said.err and "GRU" in said.out


@pytest.mark.usefixtures("jobs_here")
def test_trained_asked_resumed_plotted_and_without_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "own.csv", lines_of(2, ["dog", "cat", "Ω"], 60, each=True), " ", "text,tags")
    command = ["train", "RNN-LN-FW", *TINY, "--data", "own.csv", "--run", "run"]
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert (
        "note: own.csv is read as own-lines: 3 symbols (between blanks), 3 classes, an answer for each symbol, line 1 is a header"
        in said.err
    )
    assert cli.main([*command, "--resume"]) == 0 and cli.main(["plot", "run"]) == 0
    capsys.readouterr()
    assert cli.main(["sample", "cat Ω", "--run", "run"]) == 0
    assert re.match(
        "cat Ω -> \\S+ \\S+   probability 0\\.\\d+\n  symbol  weight .*\\(Ω\\)\n  cat ", capsys.readouterr().out
    )
    assert cli.main(["diagnose", "--run", "run"]) == 0 and capsys.readouterr().out.startswith("layer  ")
    for wrong, says in (
        ("cow Ω", "got 'cow' as symbol 1 of 'cow Ω', wanted one of the 3 symbols"),
        (" ", "got ' ', wanted at least one symbol"),
    ):
        assert cli.main(["sample", wrong, "--run", "run"]) == 2
        assert says in capsys.readouterr().err
    (tmp_path / "own.csv").write_text("a b,A B\nb a,B A\n" * 20)
    assert cli.main([*command, "--resume"]) == 2
    assert "holds another run" in capsys.readouterr().err
    for arguments, says in (
        (["train", "GRU", "--task", "own-lines"], "own-lines: got no file, wanted one by --data"),
        (["data", "own-lines"], "got one whose sequences stand in a file of yours"),
    ):
        assert cli.main(arguments) == 2
        said = capsys.readouterr()
        assert says in said.err and said.err.count("\n") == 1
