"""What a task hands out, the error it raises, and the hash that names a data set."""

import hashlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class BadSequence(ValueError):
    """A sequence that does not belong to its task; the message says what was got and what was wanted."""


class Batch(NamedTuple):
    tokens: "Tensor"  # [batch, time] integers, indices into the symbols of the task
    targets: "Tensor"  # [batch] integers, indices into its classes

    @property
    def hash(self) -> str:
        """SHA-256 over the numbers, the same on every machine."""
        import torch

        digest = hashlib.sha256(repr(list(self.tokens.shape)).encode())
        for tensor in self:
            digest.update(tensor.to(torch.uint8).contiguous().numpy().tobytes())
        return digest.hexdigest()


def check_integer(name: str, value: object, low: int, high: int | None = None) -> None:
    wanted = f"an integer from {low} to {high}" if high is not None else f"an integer >= {low}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise ValueError(f"{name}: got {value!r}, wanted {wanted}")
