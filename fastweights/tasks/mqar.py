from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from fastweights.errors import UserError, shown
from fastweights.tasks.answering import answers
from fastweights.tasks.drawing import distinct
from fastweights.tasks.task import NOTHING, Batch, Spec, check_integer

if TYPE_CHECKING:  # torch is imported where it is used: the command line reads these fields without it
    from torch import Generator, Tensor

Filler = Literal["zeros", "random", "colliding"]


@dataclass(frozen=True)
class MQAR:
    """Multi-query associative recall: which value followed each of these keys?

    a 5 b 8 c 2 . b . . . a . . c .        num_pairs 3, length 16
                  8       5     2     <-   the answers, each at the step of its key
    |         | |
    |         | '- the queries: every key once, at even steps
    '- pairs -' keys are the tokens from 1, values those of the upper half of the vocabulary

    Keys are distinct, and so are values. Of the s-th even step after the pairs a query is there with a weight of
    s^(power - 1), so that most come early; power 1 gives all steps the same. A filler never is a key of its sequence,
    but where it is "colliding", as in the published code: there a rule that overwrites may rightly have another value.

    The published slices (length, num_pairs), of 8,192 tokens, are (64, 4), (128, 8), (256, 16), (512, 64) with zeros
    between queries, and (64, 4) to (1024, 256) with random fillers. Where associative retrieval asks for one pair, this
    asks for all.

    Papers: Arora et al. 2023, https://arxiv.org/abs/2312.04927 (zeros); Arora et al. 2024,
    https://arxiv.org/abs/2402.18668 (random fillers).
    """

    NAME: ClassVar[str] = "mqar"
    VERSION: ClassVar[int] = 1
    METRIC: ClassVar[str] = "accuracy"
    loss = staticmethod(answers)

    num_pairs: int = 8
    """Key-value pairs in a sequence."""
    length: int = 64
    """Steps, at least four a pair."""
    vocabulary: int = 64
    """Tokens: a zero, keys, and values in the upper half; the published tables have 8192."""
    power: float = 0.01
    """How the queries are spread: 1 evenly, lower ones earlier."""
    filler: Filler = "zeros"
    """What stands between queries: zeros, any token but keys of the sequence, or any token at all."""
    judged_length: int | None = None
    """Steps of the sequences that validate and test; none: as many as in training."""
    judged_pairs: int | None = None
    """Pairs of the sequences that validate and test; none: as many as in training."""

    def __post_init__(self) -> None:
        check_integer("vocabulary", self.vocabulary, 4, 2**20)
        most = (self.vocabulary - 2) // 2
        for kind, length, pairs in (("", self.length, self.num_pairs), ("judged_", *self.judged)):
            check_integer(f"{kind}pairs" if kind else "num_pairs", pairs, 1, most)
            check_integer(f"{kind}length", length, 4 * pairs, 2**20)
            if length % 2:
                raise UserError(f"{kind}length: got {length}, wanted an even number of steps")
        if not 0 < self.power <= 100:
            raise UserError(f"power: got {self.power:g}, wanted a number above 0, at most 100")
        if self.filler not in get_args(Filler):
            raise UserError(f"filler: got {shown(self.filler)}, wanted {', '.join(get_args(Filler))}")

    @property
    def spec(self) -> Spec:
        return Spec(inputs=self.vocabulary, outputs=self.vocabulary, every=True)

    @property
    def judged(self) -> tuple[int, int]:
        """Length and pairs of the sequences that validate and test."""
        length = self.length if self.judged_length is None else self.judged_length
        return length, self.num_pairs if self.judged_pairs is None else self.judged_pairs

    @property
    def floors(self) -> Mapping[str, float]:
        """Of a model that knows the values of the sequence, but not which key they belong to."""
        pairs = self.judged[1]
        return {"accuracy": 1 / pairs, "loss": log(pairs)}

    @property
    def marks(self) -> Mapping[str, float]:
        """Any value of the vocabulary, and any of the sequence."""
        return {"some value": 1 / (self.vocabulary - self.vocabulary // 2), "some value of it": 1 / self.judged[1]}

    def draw(self, count: int, generator: "Generator", model: Any = None) -> Batch:
        """`count` sequences: inputs and targets [count, length], tokens of the vocabulary."""
        import torch

        check_integer("count", count, 0)
        half, length, pairs, pairs_end = self.vocabulary // 2, self.length, self.num_pairs, 2 * self.num_pairs
        keys = 1 + distinct(count, pairs, half - 1, generator)
        values = half + distinct(count, pairs, self.vocabulary - half, generator)
        where = pairs_end + 2 * self._slots(count, (length - pairs_end) // 2, pairs, generator)
        if self.filler == "zeros":
            inputs = torch.zeros(count, length, dtype=torch.int64)
        elif self.filler == "colliding":
            inputs = torch.randint(self.vocabulary, (count, length), generator=generator)
        else:
            inputs = any_but(keys, self.vocabulary, length, generator)
        inputs[:, 0:pairs_end:2], inputs[:, 1:pairs_end:2] = keys, values
        targets = torch.full_like(inputs, NOTHING)
        return Batch(inputs.scatter_(1, where, keys), targets.scatter_(1, where, values))

    def held_out(self, part: str, count: int, generator: "Generator") -> Batch:
        """Those that are judged, of the length and the pairs that were asked for."""
        length, pairs = self.judged
        return replace(self, length=length, num_pairs=pairs).draw(count, generator)

    def _slots(self, count: int, among: int, chosen: int, generator: "Generator") -> "Tensor":
        """[count, chosen] distinct places below `among`, drawn one after the other by their weights."""
        import torch

        weights = torch.arange(1, among + 1, dtype=torch.float64) ** (self.power - 1)
        waits = -torch.rand(count, among, generator=generator, dtype=torch.float64).log() / weights
        return waits.topk(chosen, largest=False).indices  # in a race of exponential clocks


def any_but(left_out: "Tensor", among: int, length: int, generator: "Generator") -> "Tensor":
    """[count, length] numbers below `among`, none of them in its row of `left_out`: [count, distinct numbers]."""
    import torch

    skipped = left_out.sort(1).values - torch.arange(left_out.shape[1])
    drawn = torch.randint(among - left_out.shape[1], (len(left_out), length), generator=generator)
    return drawn + torch.searchsorted(skipped, drawn, right=True)
