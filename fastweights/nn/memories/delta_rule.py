"""The matrix that the delta rule writes, in closed form: one triangle is solved in place of a step after the other.

    A(t) = forget_t A(t-1) + u_t k_t^T,    u_t = strength_t (v_t - forget_t A(t-1) k_t)
    u_t + strength_t sum_{s<t} (f_t / f_s) <k_s, k_t> u_s = strength_t (v_t - f_t A(0) k_t)
    f_t = forget_1 .. forget_t

The u are the solution of a unit lower triangular system, and A(T) = f_T A(0) + sum_t (f_T / f_t) u_t k_t^T.
Paper: Yang, Wang, Zhang, Shen, Kim 2024, https://arxiv.org/abs/2406.06484 (section 3).
"""

import torch
from torch import Tensor

CHUNK = 64  # steps that are solved at once: a longer source takes a step of this loop for each such many


def write_all(key: Tensor, value: Tensor, strength: Tensor, log_forget: Tensor | None = None) -> Tensor:
    """A(T), [batch, value, key], of keys [batch, time, key], values [batch, time, value] and gates [batch, time, 1]."""
    weights = key.new_zeros(key.shape[0], value.shape[2], key.shape[2])
    for begin in range(0, key.shape[1], CHUNK):
        steps = slice(begin, begin + CHUNK)
        forget = None if log_forget is None else log_forget[:, steps].cumsum(dim=1)
        weights = _write_chunk(weights, key[:, steps], value[:, steps], strength[:, steps], forget)
    return weights


def _write_chunk(weights: Tensor, key: Tensor, value: Tensor, strength: Tensor, log_f: Tensor | None) -> Tensor:
    overlap = torch.tril(key @ key.mT, -1)
    known = key @ weights.mT
    if log_f is not None:
        ratio = torch.exp(torch.tril(log_f - log_f.mT))
        overlap, known = overlap * ratio, known * log_f.exp()
    left, right = strength * overlap, strength * (value - known)
    if left.dtype in (torch.float16, torch.bfloat16):  # torch solves no triangle in half precision
        left, right = left.float(), right.float()
    written = torch.linalg.solve_triangular(left, right, upper=False, unitriangular=True).to(key.dtype)
    if log_f is None:
        return weights + written.mT @ key
    left = log_f[:, -1:]
    return weights * left.exp() + (written * (left - log_f).exp()).mT @ key
