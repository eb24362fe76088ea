from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from math import log
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from fastweights.errors import UserError, shown
from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import asked_last
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

Group = Literal["S2", "S3", "S4", "A5", "S5"]


@dataclass(frozen=True)
class WordProblem:
    """Where have five things come to after these permutations?

    g1  g2     g3                 elements of the group, each a token
    g1  g2 g1  g3 g2 g1      <-   the answers: the product so far; those that validate and test ask for the last alone

    S5 is the group of the permutations of five things, 120 tokens. It is not solvable: no constant number of layers
    with diagonal transitions tracks it at all lengths, if circuit classes differ as they are thought to. S2 is parity.

    Paper: Merrill, Petty and Sabharwal 2024, https://arxiv.org/abs/2404.08819.
    """

    NAME: ClassVar[str] = "word-problem"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    group: Group = "S5"
    """All permutations of so many things (S), or the even ones (A)."""
    length: int = 20
    """Permutations in a sequence."""
    judged_length: int | None = None
    """Permutations in the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        if self.group not in get_args(Group):
            raise UserError(f"group: got {shown(self.group)}, wanted {', '.join(get_args(Group))}")
        for name, length in (("length", self.length), ("judged_length", self.judged)):
            check_integer(name, length, 1, 2**20)

    @property
    def spec(self) -> Spec:
        size = len(elements(self.group))
        return Spec(inputs=size, outputs=size, every=True)

    @property
    def judged(self) -> int:
        """Permutations in the sequences that validate and test."""
        return self.length if self.judged_length is None else self.judged_length

    @property
    def floors(self) -> Mapping[str, float]:
        """One of the elements, whichever."""
        size = len(elements(self.group))
        return {"accuracy": 1 / size, "loss": log(size)}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, length], elements in the order of `elements`."""
        import torch

        check_integer("count", count, 0)
        table = products(self.group)
        inputs = torch.randint(len(table), (count, self.length), generator=generator)
        steps = [inputs[:, 0]]
        for given in inputs.unbind(1)[1:]:
            steps.append(table[given, steps[-1]])
        return Batch(inputs, torch.stack(steps, 1))

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged: of the length that was asked for, and by their last answer alone."""
        return asked_last(replace(self, length=self.judged).draw(count, generator))


@lru_cache
def elements(group: str) -> tuple[tuple[int, ...], ...]:
    """Where each thing goes, in lexical order: the first is the identity."""
    found = permutations(range(int(group[1:])))
    return tuple(each for each in found if group[0] == "S" or even(each))


def even(permutation: tuple[int, ...]) -> bool:
    pairs = [(one, other) for place, one in enumerate(permutation) for other in permutation[place + 1 :]]
    return sum(one > other for one, other in pairs) % 2 == 0


@lru_cache
def products(group: str) -> "Tensor":
    """[size, size]: the element that does the second, then the first."""
    import torch

    known = elements(group)
    index = {each: place for place, each in enumerate(known)}
    return torch.tensor([[index[tuple(first[place] for place in second)] for second in known] for first in known])
