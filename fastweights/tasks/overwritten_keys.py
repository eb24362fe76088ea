from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any, ClassVar

from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import distinct, shuffled
from fastweights.tasks.task import NOTHING, Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator


@dataclass(frozen=True)
class OverwrittenKeys:
    """Which value was written last under each of these keys?

    a 5 b 8 a 2 b 9 a 7 . b . a .        num_keys 2, writes 5
                          9   7      <-  the answers, each at the step of its key
    |                 |
    '- every key once, then any of them again and again

    Every key is asked for once. All values of a sequence differ. A memory that adds has all values of a key; to answer
    it has to have forgotten those that were overwritten. Where MQAR asks how much is held, this asks what is let go.

    Paper: after Schlag, Irie and Schmidhuber 2021, https://arxiv.org/abs/2102.11174, section 6.1.2, who ask for one key
    and draw values anew.
    """

    NAME: ClassVar[str] = "overwritten-keys"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    num_keys: int = 8
    """Keys in a sequence."""
    writes: int = 24
    """Pairs that are written, at least one a key."""
    vocabulary: int = 128
    """Tokens: a zero, keys, and values in the upper half."""
    judged_writes: int | None = None
    """Pairs in the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        check_integer("vocabulary", self.vocabulary, 4, 2**20)
        half = self.vocabulary // 2
        check_integer("num_keys", self.num_keys, 1, half - 1)
        for name, writes in (("writes", self.writes), ("judged_writes", self.judged)):
            check_integer(name, writes, self.num_keys, self.vocabulary - half)

    @property
    def spec(self) -> Spec:
        return Spec(inputs=self.vocabulary, outputs=self.vocabulary, every=True)

    @property
    def judged(self) -> int:
        """Writes in the sequences that validate and test."""
        return self.writes if self.judged_writes is None else self.judged_writes

    @property
    def floors(self) -> Mapping[str, float]:
        """Of a model that knows the values in their order, but not which key they belong to.

        The value that was written last is right for one key of all. The loss is the entropy of which write is asked.
        """
        keys, again = self.num_keys, self.judged - self.num_keys
        stays = (1 - 1 / keys) ** again  # that a key is not written again
        each = [(1 - 1 / keys) ** later / keys for later in range(again)] + [stays / keys] * keys
        return {"accuracy": 1 / keys, "loss": -sum(p * log(p) for p in each if p > 0)}

    @property
    def marks(self) -> Mapping[str, float]:
        """Any value of the vocabulary; the value written last of all; any value of the key.

        The last is the ceiling of a memory that cannot tell the last write: E[1 / writes of a key], with
        1 + Binomial(writes - num_keys, 1 / num_keys) writes.
        """
        keys, again = self.num_keys, self.judged - self.num_keys
        ceiling = keys / (again + 1) * (1 - (1 - 1 / keys) ** (again + 1))
        values = self.vocabulary - self.vocabulary // 2
        return {"some value": 1 / values, "the last value": 1 / keys, "some value of the key": ceiling}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, 2 (writes + num_keys)], tokens of the vocabulary."""
        import torch

        check_integer("count", count, 0)
        half, keys, writes = self.vocabulary // 2, self.num_keys, self.writes
        pool = 1 + distinct(count, keys, half - 1, generator)
        values = half + distinct(count, writes, self.vocabulary - half, generator)
        again = torch.randint(keys, (count, writes - keys), generator=generator)
        which = torch.cat([shuffled(count, keys, generator), again], 1)
        last = torch.empty(count, keys, dtype=torch.int64)
        for write in range(writes):
            last.scatter_(1, which[:, write : write + 1], values[:, write : write + 1])
        order = shuffled(count, keys, generator)
        inputs = torch.zeros(count, 2 * (writes + keys), dtype=torch.int64)
        inputs[:, 0 : 2 * writes : 2], inputs[:, 1 : 2 * writes : 2] = pool.gather(1, which), values
        inputs[:, 2 * writes :: 2] = pool.gather(1, order)
        targets = torch.full_like(inputs, NOTHING)
        targets[:, 2 * writes :: 2] = last.gather(1, order)
        return Batch(inputs, targets)

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged, with the writes that were asked for."""
        return replace(self, writes=self.judged).draw(count, generator)
