"""What kernels cannot do: where they cannot be called, and what they have no derivative for."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastweights.ops.cpu.buffers import address

_HAS_NUMBA = importlib.util.find_spec("numba") is not None
_DTYPES = (torch.float32, torch.float64)
_PLAIN = (Tensor, torch.nn.Parameter)


def runs(dtype: torch.dtype) -> bool:
    """Whether kernels can be called directly now, on tensors of this dtype."""
    if not _HAS_NUMBA or dtype not in _DTYPES:
        return False
    return not abstract()


def plain(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a kernel can read the memory of a tensor: that of no subclass, on the CPU, and as its bits say."""
    return type(tensor) in _PLAIN and tensor.dtype is dtype and tensor.is_cpu and not tensor.is_neg()


def readable(tensor: Tensor, dtype: torch.dtype) -> bool:
    """As `plain`, of a tensor that may be no dense one; raises where the numbers have no memory."""
    return plain(tensor, dtype) and tensor.layout is torch.strided and address(tensor) >= 0


def fits(tensor: Tensor, dtype: torch.dtype, *shape: int) -> bool:
    """Whether a kernel can read a tensor of this very shape: it does not look where it reads."""
    return plain(tensor, dtype) and tensor.shape == shape


def takes(*tensors: Tensor) -> bool:
    """Whether kernels can be called directly now, on these tensors as they are: not under autocast nor torch.func."""
    dtype = tensors[0].dtype
    return (
        runs(dtype)
        and all(readable(tensor, dtype) for tensor in tensors)
        and not torch.is_autocast_enabled("cpu")
        and torch.autograd.forward_ad._current_level < 0
    )


def why_not(inputs: Tensor, *others: Tensor | None) -> str | None:
    """Why a backend that is made of kernels cannot run on these inputs, or None where it can."""
    if inputs.device.type != "cpu":
        return f"it runs on a CPU, and the inputs are on {inputs.device}"
    if inputs.dtype not in _DTYPES:
        return f"it has float32 and float64 only, not {inputs.dtype}"
    if not _HAS_NUMBA:
        return "it needs Numba, which is not installed (pip install numba)"
    if not torch.compiler.is_compiling():
        if _transformed():
            return "it cannot run under the transforms of torch.func (vmap, grad, jvp ...)"
        if _traced():
            return "it cannot be traced by torch.jit"
        if _watched():
            return "a TorchDispatchMode cannot see what it does"
        if torch.autograd.forward_ad._current_level >= 0:
            return "it has no forward-mode derivative"
        for tensor in (inputs, *others):
            if tensor is None:
                continue
            if type(tensor) not in _PLAIN:
                return f"it reads the memory of plain tensors, and got a {type(tensor).__name__}"
            if tensor.layout is not torch.strided:
                return f"it reads the memory of dense tensors, and got one of layout {tensor.layout}"
            if tensor.is_neg():
                return "it reads memory as it lies there, and got a tensor whose negation waits (resolve_neg() does it)"
    return None


def first_order(otherwise: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A backward pass by kernels, which has no derivative of its own and reads plain gradients only.

    The engine enables gradients in it exactly where create_graph=True. `once_differentiable` raises only where the
    result is differentiated by the gradient that came in, and leaves a zero elsewhere, in a Hessian for one.

    otherwise: what is called in its place, with the same arguments, for a second derivative and for many gradients at
    once (is_grads_batched, vectorize=True). None: both are refused.
    """

    def decorate(backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def checked(ctx: Any, *d: Tensor | None) -> Any:
            given = [each for each in d if each is not None]
            if any(type(each) not in _PLAIN for each in given):
                raise RuntimeError(f"got a gradient that is no plain tensor, {ELSEWHERE}")
            if torch.is_grad_enabled() or any(map(batched, given)):
                if otherwise is not None:
                    return otherwise(ctx, *d)
                raise RuntimeError(f"got create_graph=True, or many gradients at once, {ELSEWHERE}")
            return backward(ctx, *(each if each is None or not each.is_neg() else each.resolve_neg() for each in d))

        return checked

    return decorate


ELSEWHERE = (
    "which the CPU kernels cannot do; wanted another backend, such as 'attention' (of an IRNN or an LSTM, 'torch'), or "
    "a transform of torch.func"
)


def abstract() -> bool:
    """Whether a tensor may have no numbers to look at now."""
    return torch.compiler.is_compiling() or _traced() or _transformed() or _watched()


def _transformed() -> bool:
    """Inside a transform of torch.func, where a tensor has no memory of its own."""
    return torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]


def batched(tensor: Tensor) -> bool:
    """One of many that are seen as one, by a vmap of torch.func or by that of autograd."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def _traced() -> bool:
    """Inside `torch.jit.trace`, which cannot look into a kernel."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _watched() -> bool:
    """Inside a mode that looks at each operation (make_fx, fake tensors, FlopCounterMode): a kernel is none."""
    return torch._C._len_torch_dispatch_stack() > 0
