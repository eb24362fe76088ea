"""Calls of fast_weights_rnn at random, and all that comes of them."""

import torch

from fastweights.ops import FastWeightsState, fast_weights_rnn
from fastweights.rules import Hebbian


def draw(batch, time, hidden, dtype=torch.float64, initial=False, seed=0):
    g = torch.Generator().manual_seed(seed)

    def leaf(*shape, scale=1.0, shift=0.0):
        return (torch.randn(*shape, generator=g, dtype=torch.float64) * scale + shift).to(dtype).requires_grad_()

    leaves = {
        "inputs": leaf(batch, time, hidden),
        "recurrent": leaf(hidden, hidden, scale=0.4 / hidden**0.5),
        "gain": leaf(hidden, scale=0.2, shift=1.0),
        "bias": leaf(hidden, scale=0.2),
        "decay": torch.tensor(0.9, dtype=dtype, requires_grad=True),
        "rate": torch.tensor(0.4, dtype=dtype, requires_grad=True),
    }
    if initial:
        leaves["hidden"] = leaf(batch, hidden)
        leaves["weights"] = leaf(batch, hidden, hidden, scale=0.3 / hidden**0.5)
    return leaves


def run(leaves, backend="cpu", kind=Hebbian, **options):
    state = FastWeightsState(leaves["hidden"], leaves["weights"]) if "hidden" in leaves else None
    rule = kind(decay=leaves["decay"], rate=leaves["rate"])
    tensors = (leaves[name] for name in ("inputs", "recurrent", "gain", "bias"))
    return fast_weights_rnn(*tensors, state, rule=rule, backend=backend, **options)


def results(leaves, backend="cpu", final_weights=True, **options):
    """Outputs, final state and every gradient, under a fixed random loss."""
    outputs, state = run(leaves, backend, **options)
    parts = [outputs, state.hidden, *([state.weights] if final_weights else [])]
    g = torch.Generator().manual_seed(1)
    weigh = [torch.randn(p.shape, generator=g, dtype=torch.float64).to(p.dtype) for p in parts]
    wanted = [leaf for leaf in leaves.values() if leaf.requires_grad]
    gradients = torch.autograd.grad(sum((p * w).sum() for p, w in zip(parts, weigh, strict=True)), wanted)
    return [*(p.detach() for p in parts), *gradients]


def assert_close(got, want, tolerance=1e-10):
    for index, (a, b) in enumerate(zip(got, want, strict=True)):
        error = (a - b).abs().max().item() / max(1.0, b.abs().max().item())
        assert error <= tolerance, f"result {index}: off by {error:.1e}"
