"""Feature maps: what keys and queries become before they meet a memory. Pure functions of the last axis."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fastweights.errors import UserError, near
from fastweights.ops.short_convolution import EPSILON
from fastweights.ops.short_convolution.reference import unit as l2


class FeatureMap(NamedTuple):
    function: Callable[[Tensor], Tensor]
    size: Callable[[int], int] = lambda size: size  # features from so many numbers


def sum_to_one(x: Tensor) -> Tensor:
    """x / sum x, of positive features: the attention of Schlag et al. 2021 with the delta rule."""
    return x / (x.sum(-1, keepdim=True) + EPSILON)


def elu_plus_one(x: Tensor) -> Tensor:
    """Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236."""
    return functional.elu(x) + 1.0


def dpfp(x: Tensor, times: int = 1) -> Tensor:
    """Products of neighbours, [..., 2 size times] from [..., size].

        r = [relu(x), relu(-x)];   features: r_i r_(i-j),  j = 1 .. times

    Paper: Schlag, Irie, Schmidhuber 2021, https://arxiv.org/abs/2102.11174 (equation 37).
    """
    r = torch.cat([x.relu(), (-x).relu()], -1)
    return torch.cat([r * r.roll(shift, -1) for shift in range(1, times + 1)], -1)


def taylor(x: Tensor) -> Tensor:
    """1, x and all products: <taylor(q), taylor(k)> = 1 + s + s^2 / 2, with s = <q, k> / sqrt(size).

    Paper: Arora et al. 2024, https://arxiv.org/abs/2402.18668.
    """
    x = x / x.shape[-1] ** 0.25
    products = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2) / math.sqrt(2.0)
    return torch.cat([torch.ones_like(x[..., :1]), x, products], -1)


FEATURES: dict[str, FeatureMap] = {
    "identity": FeatureMap(lambda x: x),
    "l2": FeatureMap(l2),
    "sum": FeatureMap(sum_to_one),
    "elu+1": FeatureMap(elu_plus_one),
    "relu": FeatureMap(torch.relu),
    "softmax": FeatureMap(lambda x: x.softmax(-1)),
    "taylor": FeatureMap(taylor, lambda size: 1 + size + size * size),
    "dpfp": FeatureMap(dpfp, lambda size: 2 * size),
    "dpfp-2": FeatureMap(lambda x: dpfp(x, 2), lambda size: 4 * size),
    "dpfp-3": FeatureMap(lambda x: dpfp(x, 3), lambda size: 6 * size),
}


def feature_maps(names: Sequence[str]) -> list[FeatureMap]:
    """Those of these names, to be applied one after the other."""
    for name in names:
        if name not in FEATURES:
            raise UserError(f"features: got {name!r}{near(str(name), FEATURES)}, wanted some of {', '.join(FEATURES)}")
    return [FEATURES[name] for name in names]
