from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks.stats import Stats
from fastweights.tasks.task import Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor
    from torch.nn import Module

NEAR = 0.04  # an answer that is nearer to the sum counts as right


@dataclass(frozen=True)
class Adding:
    """What is the sum of the two marked numbers?

    0.3  0.9  0.4 | 0.1  0.7  0.2        numbers from [0, 1)
    0    1    0   | 0    0    1          marks: one in each half
                               1.1  <-   the answer, after the last step

    A step is a number and its mark. Where copying recalls symbols, adding recalls numbers, and answers with a number.
    The loss is the squared error. Accuracy is the share of answers within 0.04 of the sum.

    Papers: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735, section 5.4; in this form Le,
    Jaitly and Hinton 2015, https://arxiv.org/abs/1504.00941.
    """

    NAME: ClassVar[str] = "adding"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "loss"
    spec = Spec(inputs=2, outputs=1, symbols=False)

    length: int = 50
    """Steps: numbers, two of them marked."""

    def __post_init__(self) -> None:
        check_integer("length", self.length, 2, 10_000)

    @property
    def floors(self) -> Mapping[str, float]:
        """Of always answering 1: the variance of a sum, and how often it is near its mean."""
        return {"loss": 1 / 6, "accuracy": 1 - (1 - NEAR) ** 2}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs [count, length, 2], numbers beside marks, and targets [count], in float32."""
        import torch

        check_integer("count", count, 0)
        half = self.length // 2
        inputs = torch.zeros(count, self.length, 2)
        inputs[:, :, 0] = torch.rand(count, self.length, generator=generator)
        first = torch.randint(half, (count, 1), generator=generator)
        second = torch.randint(half, self.length, (count, 1), generator=generator)
        inputs[:, :, 1].scatter_(1, torch.cat([first, second], 1), 1.0)
        numbers = inputs[:, :, 0]
        return Batch(inputs, (numbers.gather(1, first) + numbers.gather(1, second)).squeeze(1))

    def loss(self, model: "Module", batch: Batch) -> "tuple[Tensor, Stats]":
        """Mean squared error; the model gives [batch, 1]."""
        import torch

        options = {} if batch.lengths is None else {"lengths": batch.lengths}
        error = model(batch.inputs, **options).squeeze(1) - batch.targets
        total = error.square().sum()
        near, count = (error.detach().abs() < NEAR).sum(), torch.tensor(batch.size)
        return total / max(batch.size, 1), {"loss": (total.detach(), count), "accuracy": (near, count)}
