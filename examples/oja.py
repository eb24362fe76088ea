"""An update rule of one's own: `fastweights train RNN-LN-FW --rule examples.oja:Oja --rate 0.2`."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Oja:
    r"""Oja's rule: what is read with the value is taken from the key before it is written.

        A(t) = decay A(t-1) + rate v (k - A(t-1)^T v)^T        k and v at unit length; read: A q

    It differs from `Hebbian` by that difference, which keeps the fast weights bounded without a decay.

    Paper: Oja 1982, https://doi.org/10.1007/BF00275687.
    """

    RANGES: ClassVar[dict[str, tuple[float, float]]] = {"decay": (0.0, 1.0), "rate": (0.0, 1.0)}

    decay: float | Tensor = 1.0
    rate: float | Tensor = 0.5

    def write(self, weights: Tensor, key: Tensor, value: Tensor) -> Tensor:
        key, value = (each / each.norm(dim=-1, keepdim=True).clamp_min(1e-6) for each in (key, value))
        error = key - (value.unsqueeze(-2) @ weights).squeeze(-2)
        return self.decay * weights + self.rate * value.unsqueeze(-1) * error.unsqueeze(-2)

    def read(self, weights: Tensor, query: Tensor) -> Tensor:
        return (weights @ query.unsqueeze(-1)).squeeze(-1)
