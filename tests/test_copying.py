import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.errors import UserError
from fastweights.tasks import NOTHING, BadSequence, Copying

tasks = st.builds(Copying, length=st.integers(1, 30), delay=st.integers(1, 30))


def draw(task, count=100, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


@given(tasks, st.integers(0, 99))
def test_symbols_come_back_in_their_order_at_the_last_steps(task, seed):
    batch, length = draw(task, 5, seed), task.length
    assert batch.inputs.shape == batch.targets.shape == (5, 2 * length + task.delay)
    assert torch.equal(batch.inputs[:, :length], batch.targets[:, -length:]) and bool(
        (batch.inputs[:, :length] < 8).all()
    )
    assert bool((batch.targets[:, :-length] == NOTHING).all())
    after = batch.inputs[:, length:]
    assert bool((after[:, task.delay - 1] == 9).all()) and int((after != 8).sum()) == 5


@given(tasks, st.integers(0, 99))
def test_a_text_has_its_last_blanks_or_not(task, seed):
    batch = draw(task, 1, seed)
    text = task.decode(batch.inputs[0])
    assert task.answer(text) == task.decode(batch.targets[0, -task.length :])
    for form in (text, text[: -task.length]):
        assert torch.equal(task.encode(form), batch.inputs[0])
        assert task.answer(form) == text[: task.length]
        assert Copying.from_text(form, length=3, delay=9) == task


def test_the_drawing_of_the_docstring():
    task = Copying(length=3, delay=4)
    assert task.answer("bad...:...") == task.answer("bad...:") == "bad"
    assert task.decode(task.encode("bad...:")) == "bad...:..."


def test_the_same_seed_gives_the_same_data_everywhere():
    """Recorded once: if this fails, the task needs a new VERSION."""
    assert draw(Copying(), 1000).hash == "775f804459ad9ac2385d9133d3ffb89fdccb32d54d64c687216028a45a3d0ebd"
    assert draw(Copying(200, 1), 10, seed=1).hash == "872eeea9af89d719f23955f366d43c1f51bf4f470349352ddd85a6f3c49299f9"


def test_symbols_are_uniform():
    counts = torch.bincount(draw(Copying(10, 1), 8000).inputs[:, :10].flatten(), minlength=8)
    assert len(counts) == 8 and bool(((counts - 10_000).abs() < 500).all())


@pytest.mark.parametrize(
    "text",
    ["", "bad", "bad..:", "bad....:", "ba...:", "bai...:", "bad...:..", "bad...:....", "bad...:...\n", "x" * 10**6],
    ids=lambda value: repr(value)[:30],
)
def test_bad_sequences(text):
    for ask in (Copying(3, 4).encode, Copying(3, 4).answer):
        with pytest.raises(
            BadSequence,
            match="^got '.{,80}'?(\\.\\.\\.)?, wanted 3 letters a-h, 3 blanks '.', the deli.* and 3 blanks or",
        ):
            ask(text)


def test_a_text_of_no_task():
    for text in ("", "bad", "bad...", ":", "x" * 10**6):
        with pytest.raises(
            BadSequence, match="^got .{,90} wanted letters a-h, blanks and the delimiter, as in bad...:$"
        ):
            Copying.from_text(text)


@pytest.mark.parametrize("bad", [{"length": 0}, {"length": 201}, {"delay": 0}, {"length": 2.0}, {"delay": True}])
def test_bad_settings(bad, as_users_have_it):
    with pytest.raises(UserError, match=f"{next(iter(bad))}: got .*, wanted an integer from 1 to"):
        Copying(**bad)
