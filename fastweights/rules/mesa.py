from __future__ import annotations  # the command line reads the rules without torch

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fastweights.rules._scan import LOG_DECAY, STRENGTH, Gate, ScanState, Step, outer, read

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 0.01  # of the ridge


@dataclass(frozen=True)
class Mesa:
    r"""The read of the best linear map from keys to values, of all pairs so far: recursive least squares.

        G = exp(log_decay) G + strength k k^T
        S = exp(log_decay) S + strength v k^T        o = S (G + Diag(ridge))^-1 q

    It reads by the M that minimises the faded sum of strength |M k - v|^2, plus |M Diag(ridge)^(1/2)|^2. `Delta` goes
    one step of gradient descent towards it. The state carries G, [batch, heads, key, key]. Token by token the system is
    solved as it is, in chunks by conjugate gradients until the residual is that of the dtype.

    Paper: von Oswald et al. 2025, https://arxiv.org/abs/2506.05233.
    """

    GATES: ClassVar[dict[str, Gate]] = {
        "log_decay": LOG_DECAY._replace(form="logsigmoid", start=None),
        "strength": STRENGTH._replace(says="how much a pair counts", high=math.inf),
        "ridge": Gate("what is added to the diagonal of G", "head key", LEAST, math.inf, "ridge", (1.0, 1.0)),
    }

    def others(self, key: int, value: int) -> list[tuple[int, ...]]:
        return [(key, key)]

    def step(
        self,
        state: ScanState,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor,
        strength: Tensor,
        ridge: Tensor,
    ) -> tuple[Tensor, ScanState]:
        import torch

        kept, scaled = log_decay.exp()[..., None, None], strength.unsqueeze(-1) * key
        weights = kept * state.weights + outer(value, scaled)
        gram = kept * state.others[0] + outer(key, scaled)
        return read(weights, torch.linalg.solve(gram + ridge.diag_embed(), query)), ScanState(weights, (gram,))

    def lower(
        self, queries: Tensor, keys: Tensor, values: Tensor, log_decay: Tensor, strength: Tensor, ridge: Tensor
    ) -> Step:
        import torch

        both = torch.cat([values, keys], -1)
        of_values, of_keys = slice(None, values.shape[-1]), slice(values.shape[-1], None)

        def reading(look: Callable[[Tensor, slice], Tensor], query: Tensor) -> Tensor:
            return look(solve(lambda x: look(x, of_keys) + ridge * x, query), of_values)

        return Step(queries, keys, both, strength=strength, decay=log_decay, reading=reading)


def solve(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """The x of product(x) = right, of a symmetric positive definite product [..., key] -> [..., key].

    Found without a graph; its gradient is that of the equation: what comes back is divided by the product, too.
    """
    import torch

    with torch.no_grad():
        found = conjugate_gradients(product, right)
    if not torch.is_grad_enabled():
        return found
    rest = right - product(found)  # near zero, and knows how the product changes
    if rest.requires_grad:
        kept = product

        def divided(gradient: Tensor) -> Tensor:
            with torch.no_grad():
                return conjugate_gradients(kept, gradient)

        rest.register_hook(divided)
    return found + rest


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """Until every residual is at the precision of the dtype, and no more than four steps a channel."""
    import torch

    x, rest = torch.zeros_like(right), right
    direction, square = rest, rest.square().sum(-1, keepdim=True)
    enough = square * torch.finfo(right.dtype).eps ** 2
    for _ in range(4 * right.shape[-1]):
        if bool((square <= enough).all()):
            break
        image = product(direction)
        length = square / (direction * image).sum(-1, keepdim=True).clamp_min(torch.finfo(right.dtype).tiny)
        x, rest = x + length * direction, rest - length * image
        before, square = square, rest.square().sum(-1, keepdim=True)
        direction = rest + square / before.clamp_min(torch.finfo(right.dtype).tiny) * direction
    return x
