"""Calls of fast_weights_scan at random, and all that comes of them."""

import math

import torch

from fastweights.ops import ScanState, fast_weights_scan
from fastweights.rules._scan import Gate


def draw(rule, batch=2, time=17, heads=2, key=5, value=3, initial=False, seed=0, lowest=-1.0, dtype=torch.float64):
    """Leaves of a call, by name: gates over their whole range, decays from `lowest` to 0."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    value = key if getattr(rule, "SQUARE", False) else value
    steps = getattr(rule, "substeps", 1) * time
    keys, queries = normal(batch, steps, heads, key), normal(batch, time, heads, key)
    if getattr(rule, "normalize", False):  # what is divided by stays apart from zero
        keys, queries = keys.abs() + 0.1, queries.abs() + 0.1
    values = normal(batch, steps, heads, value)
    leaves = {"queries": queries, "keys": keys / keys.norm(dim=-1, keepdim=True)}
    leaves["values"] = values / values.norm(dim=-1, keepdim=True)  # some rules erase what values read
    sizes = {"token": (batch, time, heads), "substep": (batch, steps, heads), "head": (heads,)}
    sizes |= {"head key": (heads, key), "head value": (heads, value), "head value key": (heads, value, key)}
    sizes |= {"key": (*sizes["token"], key), "value": (*sizes["token"], value)}
    for name, gate in rule.GATES.items():
        drawn = inside(gate, torch.rand(*sizes[gate.axes], generator=g, dtype=torch.float64), lowest)
        leaves[name] = drawn / drawn.norm(dim=-1, keepdim=True) if gate.form == "unit" else drawn
    if initial:
        others = rule.others(key, value) if hasattr(rule, "others") else []
        for place, shape in enumerate([(value, key), *others]):
            leaves[f"state{place}"] = normal(batch, heads, *shape)
            if place and shape == (1,):  # how many tokens a mini-batch has
                leaves[f"state{place}"] = torch.full_like(leaves[f"state{place}"], 3.0)
            elif place and shape == (key, key):  # sums of k k^T
                leaves[f"state{place}"] = leaves[f"state{place}"] @ leaves[f"state{place}"].mT
            elif place and getattr(rule, "normalize", False):  # sums of positive keys
                leaves[f"state{place}"] = leaves[f"state{place}"].abs()
    return {name: leaf.to(dtype).requires_grad_() for name, leaf in leaves.items()}


def inside(gate: Gate, uniform, lowest):
    if gate.high == 0.0:
        return lowest * uniform**3  # many near 0, some near the lowest
    low = gate.low if math.isfinite(gate.low) else -1.0
    high = gate.high if math.isfinite(gate.high) else low + 2.0
    return low + (high - low) * uniform


def gates_of(leaves, rule):
    return {name: leaves[name] for name in rule.GATES if name in leaves}


def run(leaves, rule, backend, **options):
    weights, *others = [leaf for name, leaf in leaves.items() if name.startswith("state")] or [None]
    state = None if weights is None else ScanState(weights, tuple(others))
    gates = gates_of(leaves, rule)
    inputs = (leaves[name] for name in ("queries", "keys", "values"))
    options = {"state": state} | options
    return fast_weights_scan(*inputs, gates, rule=rule, backend=backend, **options)


def results(leaves, rule, backend, **options):
    """Outputs, final state and every gradient, under a fixed random loss."""
    outputs, state = run(leaves, rule, backend, **options)
    parts = [outputs, state.weights, *state.others]
    g = torch.Generator().manual_seed(1)
    weigh = [torch.randn(p.shape, generator=g, dtype=torch.float64).to(p) for p in parts]
    loss = sum((p * w).sum() for p, w in zip(parts, weigh, strict=True))
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return [*(p.detach() for p in parts), *gradients]


def assert_close(got, want, tolerance=1e-10):
    for index, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype
        error = (a - b).abs().max().item() / max(1.0, b.abs().max().item()) if b.numel() else 0.0
        assert error <= tolerance, f"result {index}: off by {error:.1e}"
