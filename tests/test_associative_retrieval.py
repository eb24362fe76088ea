import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.tasks import TASKS, AssociativeRetrieval, BadSequence, Batch


def draw(task, count=2000, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


tasks = st.booleans().flatmap(
    lambda distinct: st.builds(
        AssociativeRetrieval, num_pairs=st.integers(1, 10 if distinct else 26), distinct_values=st.just(distinct)
    )
)


@given(tasks, st.integers(0, 99))
def test_drawn_sequences_belong_to_the_task(task, seed):
    batch = draw(task, 20, seed)
    assert task.first_bad(batch) is None
    for tokens, target in zip(*batch, strict=True):
        text = task.decode(tokens)
        assert torch.equal(task.encode(text), tokens)
        assert task.answer(text) == task.CLASSES[target]
        assert AssociativeRetrieval.from_text(text).num_pairs == task.num_pairs


@given(tasks, st.integers(0, 99), st.data())
def test_a_changed_symbol_is_found(task, seed, data):
    """What the vectorised check finds is what the one that explains finds."""
    batch = draw(task, 3, seed)
    row, place = data.draw(st.integers(0, 2)), data.draw(st.integers(0, task.length - 1))
    batch.tokens[row, place] = data.draw(st.integers(0, 36))
    text, target = task.decode(batch.tokens[row]), task.CLASSES[batch.targets[row]]
    try:
        good = task.answer(text) == target
    except BadSequence:
        good = False
    assert task.first_bad(batch) == (None if good else row)


def test_the_same_seed_gives_the_same_data_everywhere():
    """Recorded once: if this fails, the task needs a new VERSION."""
    assert (
        draw(AssociativeRetrieval(3), 20_000).hash == "524454763f99401bf0a80f1b4a780c2bfdc063c48e2f65bc2448374a6c97ea16"
    )
    assert (
        draw(AssociativeRetrieval(4, distinct_values=True), 100).hash
        == "38295dfa49772652c2aacfbd8ddaa06460ad1ff70c72f3791690743f1b036a30"
    )
    assert draw(AssociativeRetrieval(3), 100, seed=1).hash != draw(AssociativeRetrieval(3), 100, seed=2).hash


def test_keys_values_and_queries_are_uniform():
    task = AssociativeRetrieval(4)
    tokens = draw(task, 50_000).tokens
    for place, choices in [(0, 26), (2, 26), (6, 26), (1, 10), (7, 10), (10, 26)]:
        counts = Counter(tokens[:, place].tolist())
        expected = 50_000 / choices
        assert len(counts) == choices
        assert sum((n - expected) ** 2 / expected for n in counts.values()) < choices + 6 * math.sqrt(2 * choices)
    asked = (tokens[:, 0:8:2] == tokens[:, -1:]).float().mean(0)
    assert torch.allclose(asked, torch.full((4,), 0.25), atol=0.01)
    pairs = Counter(zip(tokens[:, 0].tolist(), tokens[:, 2].tolist(), strict=True))
    assert len(pairs) == 26 * 25


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 4, 5])
def test_guess_floor_by_enumeration(num_pairs):
    best, loss = [], []
    for values in itertools.product(range(10), repeat=num_pairs):
        counts = Counter(values)
        best.append(max(counts.values()) / num_pairs)
        loss.append(-sum(n / num_pairs * math.log(n / num_pairs) for n in counts.values()))
    task = AssociativeRetrieval(num_pairs)
    assert task.guess_floor == pytest.approx(math.fsum(best) / 10**num_pairs, abs=1e-12)
    assert task.guess_loss == pytest.approx(math.fsum(loss) / 10**num_pairs, abs=1e-12)


def test_guess_floor_of_the_paper_and_of_distinct_values():
    assert AssociativeRetrieval(3).guess_floor == pytest.approx(0.43)
    assert AssociativeRetrieval(4).guess_floor == pytest.approx(0.3835)
    assert AssociativeRetrieval(4).guess_loss == pytest.approx(1.187, abs=5e-4)
    assert AssociativeRetrieval(4, True).guess_floor == 0.25
    assert AssociativeRetrieval(4, True).guess_loss == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    "text, message",
    [
        ("g5o8k1??z", "got 'z' as the query of 'g5o8k1\\?\\?z', wanted one of its keys: g, o, k"),
        ("g5o8k1??", "of 8 symbols, wanted 9"),
        ("g5o8k1??gg", "of 10 symbols, wanted 9"),
        ("", "of 0 symbols, wanted 9"),
        ("g5o8K1??g", "got 'K' as symbol 5"),
        ("g5ob8k??g", "got 'b' as symbol 4"),
        ("g5o8k1!?g", "got '!' as symbol 7"),
        ("g5g8k1??g", "got the key 'g' twice"),
        ("g5o8k1??5", "got '5' as symbol 9"),
        ("gß51o8??g", "got 'ß' as symbol 2"),
    ],
)
def test_bad_sequences(text, message):
    with pytest.raises(BadSequence, match=message):
        AssociativeRetrieval(3).encode(text)


def test_distinct_values_are_checked():
    with pytest.raises(BadSequence, match="got a value twice"):
        AssociativeRetrieval(3, distinct_values=True).encode("g5o5k1??g")


@pytest.mark.parametrize("bad", [{"num_pairs": 0}, {"num_pairs": 27}, {"num_pairs": 11, "distinct_values": True}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match=r"num_pairs: got \d+, wanted an integer from 1 to"):
        AssociativeRetrieval(**bad)


def test_nothing_drawn():
    batch = draw(AssociativeRetrieval(2), 0)
    assert batch.tokens.shape == (0, 7) and batch.targets.shape == (0,)


def test_it_is_registered():
    assert TASKS["associative-retrieval"] is AssociativeRetrieval


@pytest.mark.parametrize("num_pairs", [1, 4, 26])
def test_renamed_keys_leave_values_and_answers(num_pairs):
    task = AssociativeRetrieval(num_pairs)
    batch = task.draw(500, torch.Generator().manual_seed(1))
    before = batch.tokens.clone()
    renamed = task.rename_keys(batch.tokens, torch.Generator().manual_seed(2))
    assert task.first_bad(Batch(renamed, batch.targets)) is None
    assert torch.equal(batch.tokens, before) and torch.equal(renamed[:, 1:-1:2], before[:, 1:-1:2])
    assert (renamed[:, 0] != before[:, 0]).float().mean() > 0.9
    assert torch.equal(renamed, task.rename_keys(before, torch.Generator().manual_seed(2)))
