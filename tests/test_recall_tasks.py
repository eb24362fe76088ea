"""MQAR, overwritten keys, selective copying, induction heads: what is asked is what a slow reader finds."""

from collections import Counter

import numpy
import pytest
import torch

from fastweights.errors import UserError
from fastweights.tasks import MQAR, NOTHING, InductionHeads, OverwrittenKeys, SelectiveCopying
from fastweights.tasks.drawing import distinct


def draw(task, count=100, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chosen, among", [(1, 1), (5, 5), (3, 7), (64, 4095)])
def test_distinct_numbers_in_random_order(chosen, among):
    found = distinct(20_000, chosen, among, torch.Generator().manual_seed(0))
    assert found.min() == 0 and found.max() == among - 1
    assert all(len(set(row)) == chosen for row in found[:200].tolist())
    counts = Counter(map(tuple, found[:, :3].tolist())) if among == 7 else {}
    assert all(abs(count - 20_000 / 210) < 50 for count in counts.values()) and len(counts) in (0, 210)


def reader(inputs, pairs):
    """The answers by a dictionary, {step: value}: the first `pairs` pairs are written, whatever follows is asked."""
    known, found = {}, {}
    for step, token in enumerate(inputs):
        if step < 2 * pairs:
            if step % 2 == 0:
                known[token] = inputs[step + 1]
        elif token in known:
            found[step] = known[token]
    return found


def asked(targets):
    return {step: target for step, target in enumerate(targets) if target != NOTHING}


@pytest.mark.parametrize("filler", ["zeros", "random"])
@pytest.mark.parametrize("pairs, length, vocabulary", [(4, 64, 8192), (1, 4, 4), (31, 130, 64), (16, 64, 34)])
def test_mqar_is_what_a_dictionary_answers(filler, pairs, length, vocabulary):
    """So no filler is a key of its sequence: the dictionary would answer it."""
    task = MQAR(pairs, length, vocabulary, filler=filler)
    batch = draw(task, 50)
    assert batch.inputs.shape == (50, length)
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        answers = asked(targets)
        assert answers == reader(inputs, pairs) and len(set(answers.values())) == pairs
        assert all(step % 2 == 0 for step in answers) and len({inputs[step] for step in answers}) == pairs
        assert all(1 <= inputs[step] < vocabulary // 2 <= value < vocabulary for step, value in answers.items())


def test_a_colliding_filler_is_as_frequent_as_in_the_published_code():
    """Of 64 steps, 8 pairs and 128 tokens 8.6% of the queries have met their key before, among the fillers."""
    task = MQAR(8, 64, 128, filler="colliding")
    met = total = 0
    for inputs, targets in zip(*(part.tolist() for part in draw(task, 4000)[:2]), strict=True):
        for step in asked(targets):
            total += 1
            met += inputs[step] in inputs[16:step]
    assert met / total == pytest.approx(0.086, abs=0.006)


def test_queries_lie_where_the_published_code_has_them():
    """numpy.random.choice(space, size, replace=False, p), by which the published code draws."""
    task, random = MQAR(4, 64), numpy.random.default_rng(0)
    weights = numpy.arange(1, 29) ** (0.01 - 1)
    theirs = numpy.concatenate(
        [random.choice(28, 4, replace=False, p=weights / weights.sum()) for _ in range(8000)]
    )  # fmt: skip
    ours = (draw(task, 20_000).targets[:, 8::2] != NOTHING).float().mean(0)
    assert ours.numpy() == pytest.approx(numpy.bincount(theirs, minlength=28) / 8000, abs=0.025)
    even = (draw(MQAR(4, 64, power=1.0), 20_000).targets[:, 8::2] != NOTHING).float().mean(0)
    assert torch.allclose(even, torch.full((28,), 4 / 28), atol=0.02)


@pytest.mark.parametrize("keys, writes, vocabulary", [(8, 24, 128), (1, 1, 4), (3, 3, 12), (2, 9, 20)])
def test_overwritten_keys_are_what_a_dictionary_answers(keys, writes, vocabulary):
    batch = draw(OverwrittenKeys(keys, writes, vocabulary), 50)
    assert batch.inputs.shape == (50, 2 * (writes + keys))
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        answers = asked(targets)
        assert answers == reader(inputs, writes)
        assert len(answers) == keys == len(set(inputs[0 : 2 * writes : 2])) == len(set(inputs[0 : 2 * keys : 2]))
        assert len(set(inputs[1 : 2 * writes : 2])) == writes


@pytest.mark.parametrize("keys, writes", [(8, 24), (3, 3), (2, 9), (1, 5)])
def test_the_ceiling_of_a_memory_that_cannot_tell_the_last_write(keys, writes):
    """It has the values of the key that is asked for, each as often as it was written."""
    batch, right, total = draw(OverwrittenKeys(keys, writes), 4000), 0.0, 0
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        for step in asked(targets):
            right, total = right + 1 / inputs[0 : 2 * writes : 2].count(inputs[step]), total + 1
    assert OverwrittenKeys(keys, writes).marks["some value of the key"] == pytest.approx(right / total, abs=0.01)


def test_selective_copying_leaves_out_the_blanks():
    batch = draw(SelectiveCopying(5, 12, 9), 100)
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        said = [token for token in inputs[:12] if token]
        assert len(said) == 5 and max(said) <= 7 and inputs[12:] == [8] * 5
        assert targets == [NOTHING] * 12 + said
    share = (draw(SelectiveCopying(5, 12, 9), 20_000).inputs[:, :12] > 0).float().mean(0)
    assert torch.allclose(share, torch.full((12,), 5 / 12), atol=0.02)


@pytest.mark.parametrize("length", [3, 4, 64])
def test_induction_heads_ask_what_followed_the_marker(length):
    batch = draw(InductionHeads(length, 6), 300)
    before = (batch.inputs[:, :-1] == 5).nonzero()
    assert torch.equal(before[:, 0], torch.arange(300)) and bool((batch.inputs[:, -1] == 5).all())
    assert torch.equal(batch.targets, batch.inputs[before[:, 0], before[:, 1] + 1]) and int(batch.targets.max()) == 4
    assert set(before[:, 1].tolist()) == set(range(length - 2)) or length == 64


@pytest.mark.parametrize(
    "task, shape, floor",
    [
        (MQAR(4, 64, judged_length=128, judged_pairs=9), (7, 128), 1 / 9),
        (OverwrittenKeys(judged_writes=40), (7, 96), 1 / 8),
        (SelectiveCopying(judged_length=100), (7, 108), 1 / 14),
        (InductionHeads(judged_length=100), (7, 100), 1 / 15),
    ],
)
def test_what_is_judged_may_be_longer(task, shape, floor):
    for part in ("valid", "test"):
        batch = task.held_out(part, 7, torch.Generator().manual_seed(0))
        assert batch.inputs.shape == shape != draw(task, 7).inputs.shape
    assert task.floors["accuracy"] == pytest.approx(floor)
    same = type(task)()
    assert same.held_out("test", 7, torch.Generator().manual_seed(0)).hash == draw(same, 7).hash


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: MQAR(4, 14), "length: got 14, wanted an integer from 16 to"),
        (lambda: MQAR(4, 65), "length: got 65, wanted an even number of steps"),
        (lambda: MQAR(4, 64, 8), "num_pairs: got 4, wanted an integer from 1 to 3"),
        (lambda: MQAR(judged_pairs=20), "judged_length: got 64, wanted an integer from 80 to"),
        (lambda: MQAR(power=0), "power: got 0, wanted a number above 0"),
        (lambda: MQAR(filler="noise"), "filler: got 'noise', wanted zeros, random, colliding"),
        (lambda: OverwrittenKeys(8, 7), "writes: got 7, wanted an integer from 8 to 64"),
        (lambda: OverwrittenKeys(judged_writes=65), "judged_writes: got 65, wanted an integer from 8 to 64"),
        (lambda: SelectiveCopying(8, 7), "length: got 7, wanted an integer from 8"),
        (lambda: InductionHeads(2), "length: got 2, wanted an integer from 3"),
    ],
)
def test_bad_settings(make, says, as_users_have_it):
    with pytest.raises(UserError, match=says):
        make()


def test_the_same_seed_gives_the_same_data_everywhere():
    """Recorded once: if this fails, the task needs a new VERSION."""
    tasks = [*(MQAR(filler=filler) for filler in ("zeros", "random", "colliding")), OverwrittenKeys()]
    tasks += [SelectiveCopying(), InductionHeads()]
    assert [draw(task).hash[:16] for task in tasks] == [
        "d135dcd56b3d5276",
        "2b0b3f4a8021599a",
        "4164817fd1ff8b5f",
        "1daac3b9e9aca810",
        "5b73cc2fb533ced5",
        "2e0f767db8be6aad",
    ]
