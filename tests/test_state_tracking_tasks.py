"""Parity, modular arithmetic, word problems: every answer is that of a slow reader."""

import pytest
import torch

from fastweights.errors import UserError
from fastweights.tasks import NOTHING, ModularArithmetic, Parity, WordProblem
from fastweights.tasks.word_problem import elements


def draw(task, count=50, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


def test_parity_counts_the_ones_so_far():
    for inputs, targets in zip(*(part.tolist() for part in draw(Parity(11))[:2]), strict=True):
        assert targets == [sum(inputs[: step + 1]) % 2 for step in range(11)] and set(inputs) <= {0, 1}


@pytest.mark.parametrize("modulus", [2, 5, 7])
def test_arithmetic_is_what_python_makes_of_the_text(modulus):
    for inputs, targets in zip(*(part.tolist() for part in draw(ModularArithmetic(9, modulus))[:2]), strict=True):
        text = "".join(str(token) if token < modulus else "+-*"[token - modulus] for token in inputs)
        assert targets == [NOTHING if step % 2 else eval(text[: step + 1]) % modulus for step in range(17)]


@pytest.mark.parametrize("numbers", [1, 2, 3])
def test_the_floor_of_short_sums_is_that_of_the_likeliest_answer(numbers):
    task = ModularArithmetic(judged_numbers=numbers)
    last = task.held_out("test", 40_000, torch.Generator().manual_seed(0)).targets[:, -1]
    share = torch.bincount(last, minlength=5) / 40_000
    assert task.floors["accuracy"] == pytest.approx(share.max().item(), abs=0.01)
    assert task.floors["loss"] == pytest.approx(-(share * share.log()).sum().item(), abs=0.01)


@pytest.mark.parametrize("group, size", [("S2", 2), ("S3", 6), ("S4", 24), ("A5", 60), ("S5", 120)])
def test_a_word_is_the_permutation_that_its_letters_make_one_after_the_other(group, size):
    known = elements(group)
    assert len(known) == size == WordProblem(group).spec.inputs and known[0] == tuple(range(int(group[1])))
    for inputs, targets in zip(*(part.tolist() for part in draw(WordProblem(group, 6), 20)[:2]), strict=True):
        things = known[0]
        for token, target in zip(inputs, targets, strict=True):
            things = tuple(known[token][place] for place in things)
            assert known[target] == things


@pytest.mark.parametrize(
    "task, steps", [(Parity(8, 20), 20), (ModularArithmetic(8, judged_numbers=20), 39), (WordProblem("S3", 8, 20), 20)]
)
def test_the_last_answer_alone_is_judged(task, steps):
    for part in ("valid", "test"):
        batch = task.held_out(part, 9, torch.Generator().manual_seed(1))
        assert batch.inputs.shape == (9, steps) and bool((batch.targets[:, :-1] == NOTHING).all())
        assert bool((batch.targets[:, -1] != NOTHING).all())
    same = type(task)()
    judged, drawn = same.held_out("test", 9, torch.Generator().manual_seed(1)), draw(same, 9, 1)
    assert torch.equal(judged.inputs, drawn.inputs) and torch.equal(judged.targets[:, -1], drawn.targets[:, -1])


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: Parity(0), "length: got 0, wanted an integer from 1"),
        (lambda: Parity(judged_length=0), "judged_length: got 0, wanted an integer from 1"),
        (lambda: ModularArithmetic(modulus=1), "modulus: got 1, wanted an integer from 2 to 20"),
        (lambda: WordProblem("S6"), "group: got 'S6', wanted S2, S3, S4, A5, S5"),
    ],
)
def test_bad_settings(make, says, as_users_have_it):
    with pytest.raises(UserError, match=says):
        make()


def test_the_same_seed_gives_the_same_data_everywhere():
    """Recorded once: if this fails, the task needs a new VERSION."""
    assert [draw(kind()).hash[:16] for kind in (Parity, ModularArithmetic, WordProblem)] == [
        "6766c6e6a7974960",
        "403b4ac1165b66d0",
        "fe1212718c73f85b",
    ]
