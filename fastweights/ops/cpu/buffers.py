"""The memory that kernels work in, and tensors as kernels take them. Nothing here imports Numba."""

import math
import threading
from typing import Any

import numpy
import torch
from torch import Tensor

from fastweights.errors import UserError

LANES = {torch.float32: 16, torch.float64: 8}  # 64 bytes
NOWHERE = 65535  # no memory lies below: that of a freed storage begins at 0, and its views a little further
_KEEP_BYTES = 64 * 2**20  # a larger buffer is not kept between calls; nor are more of what backward needs in all

_local = threading.local()
_spare: dict[tuple[int, torch.dtype], list[Any]] = {}


def lend(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Uninitialised numbers, whose memory the next call of the same size gets once no tensor holds it any more.

    Fresh memory of this size is given back to the system and faulted in again, page by page, at every call: that took
    an eighth of the op's time, and most of what a second thread could have saved.
    """
    count = math.prod(shape)
    try:
        memory = _spare[count, dtype].pop()
    except LookupError:
        memory = torch.empty(count, dtype=dtype, device="cpu").numpy()
    lent = memory.view(_Lent)
    lent.of = dtype
    return torch.from_numpy(lent.reshape(shape))


class _Lent(numpy.ndarray):
    """What the storage of a lent tensor holds on to: it gives the memory below it back when it goes."""

    of: torch.dtype | None = None  # of a view that somebody else makes: none

    def __del__(self) -> None:
        memory, dtype = self.base, self.of
        if dtype is None or memory is None or not 0 < memory.nbytes <= _KEEP_BYTES:
            return
        held = sum(len(each) * count * kind.itemsize for (count, kind), each in list(_spare.items()))
        if held + memory.nbytes > _KEEP_BYTES:
            _spare.clear()
        _spare.setdefault((memory.size, dtype), []).append(memory)


def scratch(name: str, count: int, dtype: torch.dtype) -> Tensor:
    """Uninitialised memory of the calling thread, kept between calls: fresh pages cost more than arithmetic in them.

    The caller holds it while a kernel has its address: a large one is not kept.
    """
    held = getattr(_local, name, None)
    if held is None or held.dtype != dtype or held.numel() < count:
        held = torch.empty(count, dtype=dtype, device="cpu")
        setattr(_local, name, held if held.nbytes <= _KEEP_BYTES else None)
    return held


def whole(count: int, dtype: torch.dtype) -> int:
    """The next multiple of the lanes."""
    return -(-count // LANES[dtype]) * LANES[dtype]


def flat(tensor: Tensor) -> Any:
    """A NumPy view of each part along the first axis."""
    return list(tensor.flatten(1).numpy())


def in_rows(tensor: Tensor) -> Tensor:
    """With units that lie next to each other, as the kernels read them."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def packed(tensor: Tensor) -> Tensor:
    """As `contiguous`; what has no memory in rows is refused by its name."""
    if tensor.layout is not torch.strided:
        raise UserError(f"got a tensor of layout {tensor.layout}, wanted a dense one, or backend='reference'")
    return tensor.contiguous()


def address(tensor: Tensor | None) -> int:
    """Where a kernel finds the numbers; 0 of None. Raises where they have no memory, as torch may crash on them."""
    if tensor is None:
        return 0
    found = tensor.data_ptr()
    if found <= NOWHERE and tensor.numel():
        raise UserError(
            f"got a tensor of shape {list(tensor.shape)} without memory (resized to 0, as FSDP does, or a ZeroTensor), "
            "wanted one whose numbers are there"
        )
    return found
