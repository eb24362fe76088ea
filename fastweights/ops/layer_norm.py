"""What the layer norm of a vector that is zero does to a gradient: nothing, where its slope is 316."""

import torch
from torch import Tensor

EPSILON = 1e-5


def cut_at_zero(x: Tensor) -> Tensor:
    """x [..., units], before a layer norm; no gradient comes back to a vector that is exactly zero.

    There the slope of (x - mean) / sqrt(variance + 1e-5) is 316. A network that is fed zeros stays at zero, and every
    step would multiply the gradient by it: forty padding steps in front of the data make it infinite.
    """
    if not torch.is_grad_enabled():
        return x
    norm = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True)
    return x.masked_fill(norm == 0, 0.0)
