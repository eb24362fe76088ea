"""The RMSNorm of heads by its kernel, held to its equation."""

import pytest
import torch
from torch.nn import functional

from fastweights.ops import rms_norm as module
from fastweights.ops.rms_norm import rms_norm

pytest.importorskip("numba")
exact = {"atol": 1e-10, "rtol": 1e-10}


def equation(x, gain):
    return gain * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def draw(*shape, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    x, gain, weigh = (torch.randn(*s, generator=g, dtype=torch.float64).to(dtype) for s in (shape, shape[-1:], shape))
    return [x.requires_grad_(), gain.requires_grad_()], weigh


@pytest.mark.parametrize("size", [1, 5, 8, 16, 33, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_outputs_and_gradients_are_those_of_the_equation(size, threads, monkeypatch):
    monkeypatch.setattr(module, "worth", lambda parts, multiplications: threads)
    leaves, weigh = draw(2, 7, 3, size)
    assert module.why_not(*leaves) is None
    for norm in (rms_norm, lambda x, gain: rms_norm(x.mT.contiguous().mT, gain)):
        ours, want = norm(*leaves), equation(*leaves)
        torch.testing.assert_close(ours, want, **exact)
        both = (torch.autograd.grad(each, leaves, weigh, retain_graph=True) for each in (ours, want))
        for each, other in zip(*both, strict=True):
            torch.testing.assert_close(each, other, **exact)


def test_float32_is_as_near_to_the_truth_as_torch():
    leaves, weigh = draw(50, 64)
    truth = torch.autograd.grad(equation(*leaves), leaves, weigh)
    leaves, weigh = draw(50, 64, dtype=torch.float32)
    ours = torch.autograd.grad(rms_norm(*leaves), leaves, weigh)
    theirs = torch.autograd.grad(functional.rms_norm(leaves[0], (64,), leaves[1], 1e-5), leaves, weigh)
    for want, one, other in zip(truth, ours, theirs, strict=True):
        assert (one.double() - want).norm() <= 2 * (other.double() - want).norm()


def test_second_derivatives_and_transforms():
    leaves, weigh = draw(3, 5)
    found = []
    for norm in (rms_norm, equation):
        first = torch.autograd.grad(norm(*leaves).pow(3), leaves, weigh, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), leaves))
    for each, want in zip(*found, strict=True):
        torch.testing.assert_close(each, want, **exact)
    x, gain = (each.detach() for each in leaves)
    torch.testing.assert_close(torch.func.vmap(rms_norm, (0, None))(x, gain), equation(x, gain), **exact)
    assert rms_norm(x.to("meta"), gain.to("meta")).shape == x.shape
    torch.testing.assert_close(rms_norm(x.bfloat16(), gain.bfloat16()).double(), equation(x, gain), atol=0.1, rtol=0.1)
