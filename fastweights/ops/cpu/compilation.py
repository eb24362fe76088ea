"""How Numba compiles kernels and their helpers, and when machine code on disk is out of date."""

import functools
import hashlib
import inspect
from pathlib import Path
from typing import Any

import numba

from fastweights.ops.cpu.machine_code import MachineCode

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_INTERNAL: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # called by kernels only
_REASSOCIATE = {"contract", "reassoc", "nsz"}  # not nnan, ninf: a diverged sample must stay visible

helper = numba.njit(**_OPTIONS, **_INTERNAL)
summing_helper = numba.njit(fastmath=_REASSOCIATE, **_OPTIONS, **_INTERNAL)


def cached(function: Any) -> Any:
    """Compiled at the first call and kept on disk, or in this process alone where no folder is fit for that."""
    compiled: Any = numba.njit(**_OPTIONS)(function)
    compiled._cache = MachineCode(function, _sources(Path(inspect.getfile(function)).parent))
    return compiled


@functools.cache
def _sources(folder: Path) -> str:
    """The hash of all that the kernels of a folder may be made of: its files, and those that all kernels share."""
    sources = [*sorted(folder.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
