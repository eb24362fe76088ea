"""What is measured, and what a measurement is. Without torch."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from fastweights.errors import UserError, shown
from fastweights.rules import scanned
from fastweights.training.config import flag

MOST = 10**9


@dataclass(frozen=True)
class Settings:
    """Measure training, inference, one streamed token, memory and state, beside nn.LSTM and nn.GRU.

    A backend is timed only after it matched the reference on the very shape that is timed.
    """

    batch: int = 128
    """Sequences at a time."""
    steps: tuple[int, ...] = (9, 11)
    """Steps a sequence."""
    hidden: tuple[int, ...] = (50, 100)
    """Recurrent units."""
    inner_steps: int = 1
    """Iterations of the inner loop (S)."""
    rounds: int = 30
    """Times that every contender is timed, in random order."""
    threads: int = 1
    """Threads of torch."""
    device: str = "cpu"
    """Where: cpu or cuda."""
    seed: int = 0
    """Of the weights, the data and the order of the contenders."""
    budget: float = 120.0
    """Seconds for the curve; what would take longer is left out."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("batch", 1, MOST), ("inner_steps", 0, 100_000), ("rounds", 1, 100_000), ("threads", 1, 1024),
            ("seed", 0, 2**63 - 2),
        ):  # fmt: skip
            check(name, getattr(self, name), low, high)
        for name in ("steps", "hidden"):
            if not getattr(self, name):
                raise UserError(f"{flag(name)}: got none, wanted at least one integer >= 1")
            for value in getattr(self, name):
                check(name, value, 1, MOST)
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise UserError(f"--device {self.device}: wanted cpu or cuda")
        if not self.budget >= 0:
            raise UserError(f"--budget {self.budget:g}: wanted a number >= 0")


@dataclass(frozen=True)
class DecodeSettings:
    """Measure a symbol of an answer against the length of the source, and the bytes of a stream.

    A decoder is timed only after its steps matched the whole answer in float64, at the very length that is timed.
    """

    sources: tuple[int, ...] = (5, 20, 50, 100, 400, 2000)
    """Symbols of the source."""
    batches: tuple[int, ...] = (1, 64)
    """Streams at a time."""
    memories: tuple[str, ...] = ()
    """Memories, or package.module:Class of your own; none: all that there are."""
    rounds: int = 15
    """Times that every decoder is timed, in random order."""
    threads: int = 1
    """Threads of torch."""
    seed: int = 0
    """Of the weights, the symbols and the order."""
    device: ClassVar[str] = "cpu"

    def __post_init__(self) -> None:
        for name, low, high in (("rounds", 1, 100_000), ("threads", 1, 1024), ("seed", 0, 2**63 - 2)):
            check(name, getattr(self, name), low, high)
        for name in ("sources", "batches"):
            if not getattr(self, name):
                raise UserError(f"{flag(name)}: got none, wanted at least one integer >= 1")
            for value in getattr(self, name):
                check(name, value, 1, MOST)


@dataclass(frozen=True)
class ScanSettings:
    """Measure a scan over tokens, beside torch's attention and nn.LSTM of equal width.

    A backend is timed only after it matched the loop over tokens, in float64.
    """

    shapes: tuple[str, ...] = ("2x4x512x64", "8x4x128x32", "1x8x2048x64")
    """Batch x heads x tokens x numbers of a key."""
    tokens: tuple[int, ...] = (64, 256, 1024, 4096)
    """Tokens of the curve, at batch 1 and 4 heads of 64."""
    rule: str = "GatedDelta"
    """The update rule."""
    rounds: int = 15
    """Times that every contender is timed, in random order."""
    threads: int = 1
    """Threads of torch."""
    streamed: tuple[int, ...] = (10, 100_000)
    """Tokens after which one more is timed."""
    seed: int = 0
    """Of the inputs and the order."""
    device: ClassVar[str] = "cpu"

    def __post_init__(self) -> None:
        for name, low, high in (("rounds", 1, 100_000), ("threads", 1, 1024), ("seed", 0, 2**63 - 2)):
            check(name, getattr(self, name), low, high)
        for name in ("tokens", "streamed"):
            for value in getattr(self, name):
                check(name, value, 1, MOST)
        if not self.sizes:
            raise UserError("--shapes: got none, wanted at least one, such as 2x4x512x64")
        known = scanned()
        if self.rule not in known:
            raise UserError(f"--rule {self.rule}: wanted one of {', '.join(known)}")

    @property
    def sizes(self) -> list[tuple[int, int, int, int]]:
        found = []
        for text in self.shapes:
            parts = text.split("x")
            if len(parts) != 4 or not all(part.isdecimal() and 0 < int(part) <= MOST for part in parts):
                raise UserError(f"--shapes {text}: wanted four numbers, batch x heads x tokens x key: 2x4x512x64")
            batch, heads, tokens, key = map(int, parts)
            found.append((batch, heads, tokens, key))
        return found


def check(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UserError(f"{flag(name)} {value}: wanted an integer >= {low}")
    if value > high:
        raise UserError(f"{flag(name)} {shown(value)}: wanted at most {high}")


@dataclass
class Record:
    """One number: a quantity of a contender on a shape, or why there is none."""

    measure: str  # training, inference, op, token, symbol (seconds); memory, state, stream (bytes)
    contender: str  # a backend of RNN-LN-FW, nn.LSTM, nn.GRU, matrix products ...
    batch: int
    steps: int
    hidden: int  # of RNN-LN-FW: what the table is about
    size: int  # of the contender itself
    value: float | None = None  # the median
    low: float | None = None  # 20% quantile
    high: float | None = None  # 80% quantile
    samples: int = 0
    note: str = ""  # why there is no value, or what to know of it
    checked_steps: int | None = None  # of a backend: how much of the shape was compared with the reference
    wrong: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
