import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.errors import UserError
from fastweights.tasks import Adding, Batch


def draw(task, count=100, seed=0):
    return task.draw(count, torch.Generator().manual_seed(seed))


@given(st.integers(2, 60), st.integers(0, 99))
def test_the_target_is_the_sum_of_one_number_of_each_half(length, seed):
    inputs, targets, _ = draw(Adding(length), 20, seed)
    numbers, marks = inputs.unbind(2)
    assert inputs.shape == (20, length, 2) and inputs.dtype == targets.dtype == torch.float32
    assert bool((marks[:, : length // 2].sum(1) == 1).all()) and bool((marks[:, length // 2 :].sum(1) == 1).all())
    assert bool(((marks == 0) | (marks == 1)).all()) and bool(((numbers >= 0) & (numbers < 1)).all())
    assert torch.equal(targets, (numbers * marks).sum(1))  # a sum of two: the order does not matter


def test_the_same_seed_gives_the_same_data_everywhere():
    """Recorded once: if this fails, the task needs a new VERSION."""
    assert draw(Adding(), 1000).hash == "dabaf4c39e1141e0535a203762f91114b670b1d37d712a8973d64cdb04343c16"
    assert draw(Adding(3), 5, seed=1).hash == "7eb330bcda6444c4a087de776554c1b6510382d9e50a8a4c77ae02dbe427d4b6"


def test_every_step_of_a_half_is_marked_as_often():
    marks = draw(Adding(5), 12_000).inputs[:, :, 1].mean(0)
    assert torch.allclose(marks, torch.tensor([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]), atol=0.02)


def test_loss_and_stats():
    batch = Batch(torch.zeros(4, 5, 2), torch.tensor([1.0, 1.0, 0.5, 2.0]))
    answer = torch.tensor([[1.0], [1.03], [1.0], [1.95]], requires_grad=True)
    loss, stats = Adding(5).loss(lambda inputs: answer, batch)
    squares = 0.03**2 + 0.5**2 + 0.05**2
    assert loss.item() == pytest.approx(squares / 4)
    assert {name: (float(s), float(n)) for name, (s, n) in stats.items()} == {
        "loss": (pytest.approx(squares), 4), "accuracy": (2, 4),
    }  # fmt: skip
    loss.backward()
    assert answer.grad is not None and answer.grad[3].item() == pytest.approx(2 * -0.05 / 4)
    assert not any(tensor.requires_grad for pair in stats.values() for tensor in pair)


@pytest.mark.parametrize("length", [1, 0, 10_001, 2.0])
def test_bad_settings(length, as_users_have_it):
    with pytest.raises(UserError, match="length: got .*, wanted an integer from 2 to 10000"):
        Adding(length)
