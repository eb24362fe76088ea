from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import asked_last
from fastweights.tasks.task import NOTHING, Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator

PLUS, MINUS, TIMES = range(3)  # tokens after the numbers
SETTLED = 60  # numbers, after which the chances of the answers stay what they are


@dataclass(frozen=True)
class ModularArithmetic:
    """What does this come to, modulo 5?

    1 + 2 * 3 - 4
    1   3   2   3   <-  the answers, one a number; those that validate and test ask for the last alone

    Multiplication goes before addition and subtraction; there are no brackets. So a state needs the sum so far and the
    product that is under way.

    Paper: Deletang et al. 2022, https://arxiv.org/abs/2207.02098 ("modular arithmetic (simple)"), who ask for the last
    answer alone in training, too.
    """

    NAME: ClassVar[str] = "modular-arithmetic"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    numbers: int = 20
    """Numbers in a sequence; an operator stands between two."""
    modulus: int = 5
    """The numbers are those from 0 to one less."""
    judged_numbers: int | None = None
    """Numbers in the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        check_integer("modulus", self.modulus, 2, 20)
        for name, numbers in (("numbers", self.numbers), ("judged_numbers", self.judged)):
            check_integer(name, numbers, 1, 2**19)

    @property
    def spec(self) -> Spec:
        return Spec(inputs=self.modulus + 3, outputs=self.modulus, every=True)

    @property
    def judged(self) -> int:
        """Numbers in the sequences that validate and test."""
        return self.numbers if self.judged_numbers is None else self.judged_numbers

    @property
    def floors(self) -> Mapping[str, float]:
        """One of the numbers, the likeliest: the product favours 0, and in short sequences the answer does."""
        chances = answer_chances(self.modulus, min(self.judged, SETTLED))
        return {"accuracy": max(chances), "loss": -sum(p * log(p) for p in chances if p)}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, 2 numbers - 1], numbers and operators, and numbers."""
        import torch

        check_integer("count", count, 0)
        numbers = self.numbers
        drawn = torch.randint(self.modulus, (count, numbers), generator=generator)
        operators = torch.randint(3, (count, numbers - 1), generator=generator)
        inputs = torch.empty(count, 2 * numbers - 1, dtype=torch.int64)
        inputs[:, ::2], inputs[:, 1::2] = drawn, self.modulus + operators
        targets = torch.full_like(inputs, NOTHING)
        total, product = torch.zeros_like(drawn[:, 0]), drawn[:, 0]
        targets[:, 0] = product
        for place in range(1, numbers):
            number, operator = drawn[:, place], operators[:, place - 1]
            times = operator == TIMES
            signed = torch.where(operator == MINUS, -number, number)
            total = torch.where(times, total, total + product) % self.modulus
            product = torch.where(times, product * number, signed) % self.modulus
            targets[:, 2 * place] = (total + product) % self.modulus
        return Batch(inputs, targets)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged: with as many numbers as were asked for, and by their last answer alone."""
        return asked_last(replace(self, numbers=self.judged).draw(count, generator))


@lru_cache
def answer_chances(modulus: int, numbers: int) -> list[float]:
    """How often each number is the last answer."""
    now = {(0, number): 1 / modulus for number in range(modulus)}  # of the sum so far and the product under way
    for _ in range(numbers - 1):
        after = dict.fromkeys(((total, product) for total in range(modulus) for product in range(modulus)), 0.0)
        for (total, product), chance in now.items():
            summed = (total + product) % modulus
            for number in range(modulus):
                for state in ((summed, number), (summed, -number % modulus), (total, product * number % modulus)):
                    after[state] += chance / (3 * modulus)
        now = after
    found = [0.0] * modulus
    for (total, product), chance in now.items():
        found[(total + product) % modulus] += chance
    return found
