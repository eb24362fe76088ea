"""Lines of a task that is none of ours."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from fastweights.errors import UserError
from fastweights.tasks import NOTHING, AssociativeRetrieval, Batch, Spec
from fastweights.tasks.lines import from_lines, to_lines


@dataclass(frozen=True)
class Custom:
    """Whatever a test wants to see written."""

    NAME: ClassVar[str] = "custom"
    VERSION: ClassVar[int] = 1
    spec: Spec = Spec(4, 3)
    draw = AssociativeRetrieval.draw

    def loss(self, model, batch):
        raise AssertionError


FLOATS = torch.tensor([[0.1, -0.0], [1e-45, 3.4e38], [1 / 3, 16777216.0], [1.0, 2.0**-24]])


@pytest.mark.parametrize(
    "spec, batch, line",
    [
        (Spec(4, 3), Batch(torch.tensor([[0, 3], [1, 2]]), torch.tensor([2, 0])), "0 3,2"),
        (
            Spec(4, 3, every=True),
            Batch(torch.tensor([[0, 3], [1, 2]]), torch.tensor([[NOTHING, 0], [1, 2]])),
            "0 3,- 0",
        ),
        (Spec(4, 3, every=True), Batch(torch.tensor([[3], [1]]), torch.tensor([[1], [NOTHING]])), "3,1"),
        (Spec(4, 3), Batch(torch.tensor([[0, 3], [1, 2]]), torch.tensor([2, 0]), torch.tensor([1, 2])), "0 3,2,1"),
        (
            Spec(1, 1, symbols=False),
            Batch(FLOATS[:, :, None], torch.tensor([1.0, 0.5, 3e38, -2.0])),
            "0.100000001:-0,1.0",
        ),
        (Spec(2, 2, symbols=False), Batch(FLOATS[:, None], FLOATS), None),
        (Spec(2, 2, symbols=False), Batch(FLOATS[:, None], FLOATS.reshape(2, 4).T.reshape(4, 1, 2)), None),
        (
            Spec(2, 2, symbols=False),
            Batch(FLOATS[:, None], torch.arange(16).reshape(4, 2, 2)),
            "0.100000001:-0,0:1 2:3",
        ),
    ],
)
def test_numbers_come_back_bit_for_bit(spec, batch, line):
    task = Custom(spec)
    lines = to_lines(task, batch)
    assert line is None or lines[0] == line.replace(":", " " if spec.inputs == 1 else ":")
    assert from_lines(task, lines).hash == batch.hash


@pytest.mark.parametrize(
    "targets",
    [torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2).double(), torch.zeros(2, 2, 2, 2)],
    ids=lambda t: str(t.shape),
)
def test_what_no_line_gives_back_is_refused(targets):
    with pytest.raises(UserError, match="task custom: got inputs .*targets .*, which lines of text do not give back"):
        to_lines(Custom(), Batch(torch.tensor([[0, 3], [1, 2]]), targets))


def test_text_with_answers_at_some_steps_only():
    @dataclass(frozen=True)
    class Echo(Custom):
        """Each b asks for the symbol before it."""

        SYMBOLS: ClassVar[str] = "ab"
        CLASSES: ClassVar[str] = "ab"
        spec: Spec = Spec(2, 2, every=True)

        def encode(self, text):
            return torch.tensor([self.SYMBOLS.index(symbol) for symbol in text])

        def answer(self, text):
            found = "".join(text[i - 1] if i and text[i] == "b" else "-" for i in range(len(text)))
            return found.lstrip("-") or "-"

    targets = torch.tensor(
        [[NOTHING, 0, NOTHING, 0], [NOTHING] * 4, [NOTHING, 0, NOTHING, NOTHING], [NOTHING, 1, 1, 1]]
    )
    batch = Batch(torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]]), targets)
    lines = to_lines(Echo(), batch)
    assert lines == ["abab,a-a", "aaaa,-", "abaa,a--", "bbbb,bbb"] and from_lines(Echo(), lines).hash == batch.hash
    assert to_lines(replace(Echo()), batch.select(slice(0))) == []
