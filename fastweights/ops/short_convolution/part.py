from typing import NamedTuple

EPSILON = 1e-6  # added to the square of a length
BLOCK = 16  # tokens that the kernels take at once


class Part(NamedTuple):
    """Channels that lie next to each other, and become heads."""

    heads: int
    size: int
    unit: bool = False  # whether each head becomes of unit length

    @property
    def channels(self) -> int:
        return self.heads * self.size
