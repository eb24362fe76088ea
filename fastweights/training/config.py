"""How a run trains, whatever network and task it has: options of the command line and entry of `config.json` at once.

Without torch: the command line answers --help from it.
"""

import math
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from fastweights.errors import UserError
from fastweights.forms import fault, unknown
from fastweights.optim.group import Group

MOST_SEQUENCES = 100_000_000  # of 80 bytes and more each
MOST_UNITS = 100_000
DATA = {"flag": False}  # what tables need, and people seldom: data of a paper file, and no option of the command line


@dataclass(frozen=True)
class Config:
    """The settings of one training run, and of the layers around its network."""

    hidden_size: int = 50
    """Recurrent units; 50 and 100 are the paper's."""
    embedding_sizes: tuple[int, ...] = ()
    """Sizes of the embedding layers; none: one-hot."""
    linear_embeddings: bool = field(default=False, metadata=DATA)
    """No ReLU between embedding layers, and C x starts at unit variance."""
    embedding_relu: bool = field(default=False, metadata=DATA)
    """A ReLU behind the last embedding layer, too."""
    head_sizes: tuple[int, ...] = ()
    """Sizes of the ReLU layers before the answer; none: linear."""
    head_dropout: float = 0.0
    """Share of the hidden units that the head does not see in an update; 0: it sees all."""
    input_scale: float | None = field(default=None, metadata=DATA)
    """What a symbol or a feature is multiplied by; none: what gives C x unit variance."""
    batch_size: int = 128
    """Sequences an update; fewer make more updates an epoch, each slower for its size."""
    learning_rate: float = 8e-3
    """Step of Adam, at first; what is unstable wants less, such as 2e-3."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate falls: along a cosine to 0 at the last epoch, or not; label smoothing falls with it."""
    groups: tuple[Group, ...] = field(default=(), metadata=DATA)
    """How parameters learn; the first pattern that matches a name has it."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes, at first; 0: none."""
    clip: float = 5.0
    """Largest norm of the gradient of all weights: a longer one is cut to it."""
    epochs: int = 10
    """Times through the training sequences."""
    fresh: bool = False
    """Draw new sequences for every update; an epoch is --train-size of them."""
    target: float | None = None
    """Stop once the task's metric is there on validation sequences; none: after the last epoch."""
    seed: int = 0
    """Of the weights, the data and their order: the same seed, the same run."""
    train_size: int = 64_000
    """Training sequences, where no data is given."""
    valid_size: int = 32_000
    """Validation sequences, likewise."""
    test_size: int = 0
    """Test sequences, likewise; the final weights are judged on them, once; 0: none."""
    device: str = "cpu"
    """Where it is computed: cpu, cuda, cuda:1 ..."""

    def __post_init__(self) -> None:
        for name, low in (
            ("hidden_size", 1), ("batch_size", 1), ("epochs", 1), ("seed", 0), ("train_size", 1), ("valid_size", 1),
            ("test_size", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise UserError(f"{flag(name)} {value}: wanted an integer >= {low}")
        for name, low, high in (
            ("clip", 0.0, math.inf), ("input_scale", 0.0, math.inf), ("learning_rate", 0.0, math.inf),
            ("target", -math.inf, math.inf), ("label_smoothing", 0.0, 1.0), ("head_dropout", 0.0, 1.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                wanted = "a number" + (f" from {low:g} to {high:g}" if high < math.inf else f" >= {low:g}")
                raise UserError(f"{flag(name)} {value:g}: wanted {wanted if math.isfinite(low) else 'a finite number'}")
        for name, idle, wanted in (
            ("clip", 0, "> 0"), ("learning_rate", 0, "> 0"), ("head_dropout", 1, "below 1"),
        ):  # fmt: skip
            if getattr(self, name) == idle:
                raise UserError(f"{flag(name)} {idle}: wanted a number {wanted}, for at {idle} nothing is learnt")
        for name in ("embedding_sizes", "head_sizes"):
            if any(size < 1 for size in getattr(self, name)):
                raise UserError(f"{flag(name)} {getattr(self, name)}: wanted integers >= 1")
        for name in ("linear_embeddings", "embedding_relu"):
            if getattr(self, name) and not self.embedding_sizes:
                raise UserError(f"{name}: got no --embedding-sizes, wanted some, such as 50 100")
        for name, most in (
            ("train_size", MOST_SEQUENCES), ("valid_size", MOST_SEQUENCES), ("test_size", MOST_SEQUENCES),
            ("hidden_size", MOST_UNITS), ("batch_size", MOST_SEQUENCES),
        ):  # fmt: skip
            if getattr(self, name) > most:
                raise UserError(f"{flag(name)} {getattr(self, name)}: wanted at most {most:,}")
        if self.seed >= 2**63 - 1:
            raise UserError(f"--seed {self.seed}: wanted an integer below 2^63 - 1")
        if self.train_size < self.batch_size:
            raise UserError(
                f"--train-size {self.train_size}: wanted at least one batch of {self.batch_size} (--batch-size)"
            )
        if self.schedule not in ("constant", "cosine"):
            raise UserError(f"--schedule {self.schedule}: wanted constant or cosine")

    def part(self, update: int, updates: int) -> float:
        """What is left of learning rate and label smoothing: 1 at first, towards 0 along the cosine."""
        return 1.0 if self.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * update / updates))

    def with_sizes(self, task: Any, given: Container[str] = ()) -> "Config":
        """With as many sequences as a task has, but for what was `given`; a batch is no larger than the training set.

        A task whose `sizes` are no mapping, such as an option of that name, counts none.
        """
        sizes = getattr(task, "sizes", None)
        counts: Mapping[str, int] = sizes if isinstance(sizes, Mapping) else {}
        found = {f"{part}_size": count for part, count in counts.items() if f"{part}_size" not in given}
        if "train_size" in found and "batch_size" not in given:
            found["batch_size"] = min(self.batch_size, found["train_size"])
        return replace(self, **found)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Config":
        if said := fault(stored, cls) or unknown(stored, cls):
            raise UserError(said)
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in stored.items()}
        if "groups" in values:
            if said := next(filter(None, (unknown(each, Group, {"pattern"}) for each in values["groups"])), None):
                raise UserError(said)
            values["groups"] = tuple(Group(**each) for each in values["groups"])
        return cls(**values)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")
