"""Shares of a kernel on several threads: torch's own OpenMP team where it can be reached, a thread pool elsewhere.

After any parallel operation torch's threads wait for the next by spinning. Other threads would compete with them for
the same cores: measured on two cores, the work of a pool took twice the processor time.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

Share = Callable[[int, int, int], None]  # index of the share, first and last + 1 of its parts

PAYS = 8_000_000  # multiplications below which a second thread costs more than it brings

_pool: tuple[int, int, ThreadPoolExecutor] | None = None
_pool_lock = threading.Lock()


def worth(parts: int, multiplications: int) -> int:
    """How many threads the work pays for, of those that torch may use."""
    return max(1, min(torch.get_num_threads(), parts)) if multiplications >= PAYS else 1


def share_out(share: Share, parts: int, threads: int) -> None:
    """Run share(index, first, last) over all parts, in `threads` shares at once."""
    if threads == 1:
        return share(0, 0, parts)
    cuts = [parts * i // threads for i in range(threads + 1)]
    errors: list[BaseException] = []

    def run(index: int) -> None:
        try:
            share(index, cuts[index], cuts[index + 1])
        except BaseException as error:  # may not leave a thread of OpenMP; raised by the caller below
            errors.append(error)

    openmp = _openmp()
    if openmp is None:
        _in_pool(run, threads)
    else:
        _in_team(openmp, run, threads)
    if errors:
        raise errors[0]


def _in_team(openmp: Any, run: Callable[[int], None], threads: int) -> None:
    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def member(_: int | None) -> None:
        # the team may be smaller than was asked for
        for index in range(openmp.omp_get_thread_num(), threads, openmp.omp_get_num_threads()):
            run(index)

    openmp.GOMP_parallel(member, None, threads, 0)


@functools.cache
def _openmp() -> Any:
    """The OpenMP library that torch has loaded, if its entry point is GNU's; others export it too."""
    try:
        library = ctypes.CDLL(None)
        library.GOMP_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        library.GOMP_parallel.restype = None
        return library if library.omp_get_thread_num and library.omp_get_num_threads else None
    except (OSError, AttributeError, TypeError):
        return None


def _in_pool(run: Callable[[int], None], threads: int) -> None:
    others = [_workers(threads - 1).submit(run, index) for index in range(1, threads)]
    run(0)
    for other in others:
        other.result()


def _workers(count: int) -> ThreadPoolExecutor:
    """Plain threads over kernels that hold no lock of Python: any number of callers may share them."""
    global _pool
    with _pool_lock:
        if _pool is None or _pool[0] != os.getpid() or _pool[1] < count:  # threads do not survive a fork
            _pool = (os.getpid(), count, ThreadPoolExecutor(count, thread_name_prefix="fastweights"))
        return _pool[2]
