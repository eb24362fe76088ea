"""What a training run is: the options of the command line and the log entry in `config.json` at once. Without torch."""

import difflib
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

MOST_SEQUENCES = 100_000_000  # of 80 bytes and more each
MOST_UNITS = MOST_STEPS = 100_000


@dataclass(frozen=True)
class Config:
    """One training run."""

    hidden_size: int = 50
    """Recurrent units."""
    rule: str = "Hebbian"
    """Update rule of the fast weights, a name of fastweights.rules: Hebbian, Delta."""
    decay: float = 0.95
    """Decay of the fast weights (lambda)."""
    rate: float = 0.5
    """Rate of the fast weights (eta)."""
    inner_steps: int = 1
    """Iterations of the inner loop (S)."""
    learned: tuple[str, ...] = ()
    """Constants of the rule to learn: decay rate."""
    embedding_sizes: tuple[int, ...] = ()
    """Sizes of the embedding layers; none: one-hot."""
    linear_embeddings: bool = False
    """No ReLU between embedding layers, and C x starts at unit variance."""
    orthogonal: bool = False
    """Fast-weights networks: start C orthogonal, at unit variance of C x, and W as half an orthogonal matrix."""
    head_sizes: tuple[int, ...] = ()
    """Sizes of the ReLU layers before the softmax."""
    input_scale: float | None = None
    """What a one-hot symbol is multiplied by; none: sqrt(3 hidden), which gives C x unit variance."""
    batch_size: int = 128
    """Sequences an update."""
    optimizer: Literal["adam", "soap"] = "adam"
    """Adam, or SOAP for every matrix but C or the embedding table: Adam in the eigenbasis of the gradients."""
    learning_rate: float = 8e-3
    """Learning rate of the optimizer."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate and the label smoothing fall over the epochs."""
    input_learning_rates: tuple[float, ...] = ()
    """Learning rates of the embedding layers, then of C, as shares of that of the other weights; none: 1 each."""
    table_weight_decay: float = 0.0
    """Weight decay of the embedding table, or of C where symbols are one-hot, as AdamW's; times its learning rate."""
    head_weight_decay: float = 0.0
    """Weight decay of the weights after the network, likewise."""
    centered_gradients: bool = False
    """Take its mean from every row of the gradients of the matrices that SOAP would update: gradient centralization."""
    head_dropout: float = 0.0
    """Share of the last hidden vector's units that an update leaves out, drawn anew for every sequence."""
    label_smoothing: float = 0.0
    """Share of each training target that is spread over all classes, at first: it follows --schedule."""
    renamed_keys: bool = False
    """Give each training sequence other keys whenever it is read."""
    clip: float = 5.0
    """Largest global norm of the gradient."""
    epochs: int = 10
    """Times through the training sequences."""
    target_accuracy: float | None = None
    """Stop once validation reaches this accuracy."""
    seed: int = 0
    """Of the weights, the data and their order."""
    train_size: int = 64_000
    """Training sequences, where no data is given."""
    valid_size: int = 32_000
    """Validation sequences, likewise."""
    test_size: int = 0
    """Test sequences, likewise; the final weights are judged on them, once."""
    backend: str = "auto"
    """How the fast weights are computed."""

    def __post_init__(self) -> None:
        for name, low in (
            ("hidden_size", 1), ("inner_steps", 0), ("batch_size", 1), ("epochs", 1), ("seed", 0),
            ("train_size", 1), ("valid_size", 1), ("test_size", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{flag(name)} {value}: wanted an integer >= {low}")
        for name, low, high in (
            ("decay", 0.0, 1.0), ("rate", 0.0, math.inf), ("clip", 0.0, math.inf),
            ("table_weight_decay", 0.0, math.inf), ("head_weight_decay", 0.0, math.inf), ("input_scale", 0.0, math.inf),
            ("learning_rate", 0.0, math.inf), ("target_accuracy", 0.0, 1.0), ("label_smoothing", 0.0, 1.0),
            ("head_dropout", 0.0, 1.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                wanted = f"a number from {low:g} to {high:g}" if high < math.inf else f"a number >= {low:g}"
                raise ValueError(f"{flag(name)} {value:g}: wanted {wanted}")
        for name, idle, wanted in (
            ("clip", 0, "> 0"), ("learning_rate", 0, "> 0"), ("head_dropout", 1, "below 1"),
        ):  # fmt: skip
            if getattr(self, name) == idle:
                raise ValueError(f"{flag(name)} {idle}: wanted a number {wanted}, for at {idle} nothing is learnt")
        for name in ("embedding_sizes", "head_sizes"):
            if any(size < 1 for size in getattr(self, name)):
                raise ValueError(f"{flag(name)} {getattr(self, name)}: wanted integers >= 1")
        layers = len(self.embedding_sizes) + 1
        if self.input_learning_rates and len(self.input_learning_rates) != layers:
            got = " ".join(f"{share:g}" for share in self.input_learning_rates)
            wanted = "one number (of C)" if layers == 1 else f"{layers} numbers, of the embedding layers and of C"
            raise ValueError(f"--input-learning-rates {got}: wanted {wanted}")
        for share in self.input_learning_rates:
            if not (math.isfinite(share) and share >= 0):
                raise ValueError(f"--input-learning-rates {share:g}: wanted numbers >= 0")
        if self.linear_embeddings and not self.embedding_sizes:
            raise ValueError("--linear-embeddings: got no --embedding-sizes, wanted some, such as 50 100")
        if self.orthogonal and self.embedding_sizes:
            got = " ".join(map(str, self.embedding_sizes))
            raise ValueError(f"--orthogonal: got --embedding-sizes {got}, wanted one-hot symbols, without any")
        for name, most in (
            ("train_size", MOST_SEQUENCES), ("valid_size", MOST_SEQUENCES), ("hidden_size", MOST_UNITS),
            ("inner_steps", MOST_STEPS),
        ):  # fmt: skip
            if getattr(self, name) > most:
                raise ValueError(f"{flag(name)} {getattr(self, name)}: wanted at most {most:,}")
        if len(set(self.learned)) < len(self.learned):
            raise ValueError(f"--learned {' '.join(self.learned)}: got a constant twice, wanted each once")
        if self.seed >= 2**63 - 1:
            raise ValueError(f"--seed {self.seed}: wanted an integer below 2^63 - 1")
        if self.train_size < self.batch_size:
            raise ValueError(f"--train-size {self.train_size}: wanted at least one batch of {self.batch_size}")
        if self.optimizer not in ("adam", "soap"):
            raise ValueError(f"--optimizer {self.optimizer}: wanted adam or soap")
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"--schedule {self.schedule}: wanted constant or cosine")

    @property
    def symbol_scale(self) -> float:
        """What a symbol is multiplied by so that C x has unit variance, unless `input_scale` says.

        Weights uniform in +-1/sqrt(fan out) have variance 1 / (3 fan out): each layer divides the variance by 3, and C
        by the hidden units as well.
        """
        if self.input_scale is not None:
            return self.input_scale
        return math.sqrt(3 ** (1 + len(self.embedding_sizes)) * self.hidden_size)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Config":
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(stored) - known):
            raise ValueError(f"got the unknown setting {unknown[0]!r}{near(unknown[0], known)}")
        values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in stored.items()}
        return cls(**values)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def near(got: str, known: Any) -> str:
    """'; did you mean ...?' for a name that is nearly known, or the beginning of one."""
    by_upper = {name.upper(): name for name in known}
    matches = [name for name in by_upper if name.startswith(got.upper())]
    if len(matches) != 1:
        matches = difflib.get_close_matches(got.upper(), by_upper, n=1, cutoff=0.5)
    return f"; did you mean {by_upper[matches[0]]}?" if matches else ""
