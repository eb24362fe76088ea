"""The short convolution by its kernel and by torch, held to its equation."""

import pytest
import torch
from torch.nn import functional

from fastweights.nn.short_convolution import ShortConvolution
from fastweights.ops.short_convolution import Part, cpu, reference

pytest.importorskip("numba")
PARTS = {
    "heads": (Part(2, 16, True), Part(2, 16, True), Part(2, 8)),
    "odd": (Part(3, 5, True), Part(1, 33, True), Part(2, 7)),
    "pieces": (Part(1, 128),),
    "one": (Part(1, 1, True), Part(3, 1)),
}
exact = {"atol": 1e-10, "rtol": 1e-10}


def equation(x, weight, parts, recent, resets):
    """Token by token, channel weights one by one."""
    batch, time, channels = x.shape
    width, found = weight.shape[1], []
    past = torch.zeros(batch, width - 1, channels, dtype=x.dtype) if recent is None else recent
    for t in range(time):
        if resets is not None:
            past = torch.where(resets[:, t, None, None], 0.0, past)
        window = torch.cat([past, x[:, t : t + 1]], 1)
        y, past = functional.silu((window * weight.t()).sum(1)), window[:, 1:]
        pieces = []
        for heads, size, unit in parts:
            piece, y = y[:, : heads * size].reshape(batch, heads, size), y[:, heads * size :]
            pieces.append(piece / (piece.square().sum(-1, keepdim=True) + 1e-6).sqrt() if unit else piece)
        found.append(pieces)
    return [torch.stack(each, 1) for each in zip(*found, strict=True)]


def draw(parts, width=4, batch=2, time=35, recent=True, resets=True, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    channels = sum(part.channels for part in parts)
    x = torch.randn(batch, time, channels, generator=g, dtype=torch.float64)
    weight = torch.randn(channels, width, generator=g, dtype=torch.float64)
    before = torch.randn(batch, width - 1, channels, generator=g, dtype=torch.float64) if recent else None
    leaves = [None if each is None else each.to(dtype).requires_grad_() for each in (x, weight, before)]
    return leaves, (torch.rand(batch, time, generator=g) < 0.3) if resets else None


def results(run, parts, leaves, resets):
    outputs = run(*leaves[:2], parts, leaves[2], resets)
    weighs = [torch.randn(each.shape, generator=torch.Generator().manual_seed(1)).to(each) for each in outputs]
    loss = sum((output * weigh).sum() for output, weigh in zip(outputs, weighs, strict=True))
    wanted = [each for each in leaves if each is not None]
    return [*outputs, *torch.autograd.grad(loss, wanted)]


@pytest.mark.parametrize("run", [cpu.run, reference.run], ids=["cpu", "torch"])
@pytest.mark.parametrize(("parts", "width", "recent", "resets"), [
    ("heads", 4, False, False), ("heads", 4, True, True), ("odd", 3, True, True), ("odd", 4, False, True),
    ("pieces", 2, True, False), ("pieces", 1, False, False), ("one", 4, True, True), ("one", 1, True, True),
])  # fmt: skip
def test_outputs_and_gradients_are_those_of_the_equation(run, parts, width, recent, resets):
    parts = PARTS[parts]
    leaves, resets = draw(parts, width, recent=recent, resets=resets)
    for each, want in zip(results(run, parts, leaves, resets), results(equation, parts, leaves, resets), strict=True):
        torch.testing.assert_close(each, want, **exact)


@pytest.mark.parametrize("time", [1, 2, 3])
def test_fewer_tokens_than_the_convolution_sees(time):
    for recent in (False, True):
        leaves, resets = draw(PARTS["odd"], time=time, recent=recent, resets=False)
        want = results(equation, PARTS["odd"], leaves, resets)
        for each, other in zip(results(cpu.run, PARTS["odd"], leaves, resets), want, strict=True):
            torch.testing.assert_close(each, other, **exact)


def test_float32_is_as_near_to_the_truth_as_torch():
    parts = PARTS["heads"]
    truth = results(equation, parts, *draw(parts, time=50))
    leaves, resets = draw(parts, time=50, dtype=torch.float32)
    ours, theirs = (results(run, parts, leaves, resets) for run in (cpu.run, reference.run))
    for want, one, other in zip(truth, ours, theirs, strict=True):
        assert (one.double() - want).norm() <= 2 * (other.double() - want).norm()


def test_several_threads_and_gradients_of_one_output_alone(monkeypatch):
    parts = PARTS["odd"]
    leaves, resets = draw(parts)
    monkeypatch.setattr(cpu, "worth", lambda parts, multiplications: 3)
    for place in range(3):
        ours, theirs = (
            torch.autograd.grad(run(*leaves[:2], parts, leaves[2], resets)[place].square().sum(), leaves)
            for run in (cpu.run, equation)
        )
        for each, want in zip(ours, theirs, strict=True):
            torch.testing.assert_close(each, want, **exact)


def test_inputs_that_are_not_contiguous_and_extreme_ones():
    parts, (leaves, _) = PARTS["heads"], draw(PARTS["heads"])
    x, weight, recent = (each.detach() for each in leaves)
    strided = x.transpose(0, 1).contiguous().transpose(0, 1), weight.t().contiguous().t(), recent.mT.contiguous().mT
    for each, want in zip(
        cpu.run(*strided[:2], parts, strided[2], None), cpu.run(x, weight, parts, recent, None), strict=True
    ):
        assert torch.equal(each, want)
    far = torch.tensor([-1e30, -800.0, -0.0, 0.0, 800.0, 1e30], dtype=torch.float64).reshape(1, 1, 6)
    (y,) = cpu.run(far, torch.ones(6, 1, dtype=torch.float64), (Part(1, 6),), None, None)
    torch.testing.assert_close(y.flatten(), functional.silu(far).flatten(), **exact)


@pytest.mark.parametrize(("dtype", "end"), [(torch.float32, 88.5), (torch.float64, 709.5)], ids=str)
def test_where_the_exponential_comes_to_its_end(dtype, end):
    x = torch.linspace(-end - 0.5, -end + 0.5, 64, dtype=dtype).reshape(1, 1, 64).requires_grad_()
    (y,) = cpu.run(x, torch.ones(64, 1, dtype=dtype), (Part(1, 64),), None, None)
    for ours, want in (
        (y.flatten(), functional.silu(x).flatten()),
        (*torch.autograd.grad(y.sum(), x), torch.zeros_like(x)),
    ):
        torch.testing.assert_close(ours, want, atol=1e-30, rtol=0)


def test_second_derivatives():
    parts, found = PARTS["heads"], []
    leaves, resets = draw(parts, time=5)
    for run in (cpu.run, equation):
        loss = sum(each.pow(3).sum() for each in run(*leaves[:2], parts, leaves[2], resets))
        first = torch.autograd.grad(loss, leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), leaves))
    for each, want in zip(*found, strict=True):
        torch.testing.assert_close(each, want, **exact)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_where_the_kernel_cannot_run_torch_does():
    """On no device, in half precision, under the transforms of torch.func, in forward mode and in a trace."""
    torch.manual_seed(0)
    module, x = ShortConvolution(6), torch.randn(2, 5, 6)
    want, last = module(x)
    assert cpu.why_not(x, module.weight, None, None) is None
    for each, other in zip(torch.func.vmap(module)(x.unsqueeze(1)), (want, last), strict=True):
        torch.testing.assert_close(each.squeeze(1), other)
    slope = torch.autograd.grad(want.sum(), module.weight)[0]
    gradient = torch.func.grad(lambda weight: torch.func.functional_call(module, {"weight": weight}, (x,))[0].sum())
    torch.testing.assert_close(gradient(module.weight.detach()), slope)
    along = torch.func.jvp(lambda x: module(x)[0].sum(), (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(along, torch.autograd.grad(module(x.requires_grad_())[0].sum(), x)[0].sum())
    torch.testing.assert_close(torch.jit.trace(module, (x.detach(),), check_trace=False)(2 * x)[0], module(2 * x)[0])
    half = ShortConvolution(6, dtype=torch.bfloat16)
    half.load_state_dict(module.state_dict())
    torch.testing.assert_close(half(x.bfloat16())[0].float(), want, atol=0.05, rtol=0.05)
    assert ShortConvolution(6, device="meta")(x.to("meta"))[0].shape == want.shape
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(x)[0].float(), want, atol=0.05, rtol=0.05)
        torch.testing.assert_close(module(x.bfloat16())[0].float(), want, atol=0.05, rtol=0.05)


def test_it_streams_and_a_state_holds_no_more_than_it_shows():
    torch.manual_seed(0)
    module, x = ShortConvolution(6), torch.randn(2, 9, 6)
    want, last = module(x)
    found, recent = [], None
    for piece in x.split([1, 5, 2, 1], 1):
        y, recent = module(piece, recent)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, 1), want)
    torch.testing.assert_close(recent, last)
    assert last.untyped_storage().nbytes() == last.numel() * 4
