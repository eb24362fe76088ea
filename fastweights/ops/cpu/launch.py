"""The call of a kernel; the first one imports Numba and loads the machine code, or compiles it."""

import importlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PATIENCE = 1.0  # seconds that a compilation may take without a word
_log = logging.getLogger("fastweights")
_kinds: dict[torch.dtype, Any] = {}
_ready: dict[tuple[str, str, torch.dtype], Any] = {}


def launch(module: str, name: str, dtype: torch.dtype, *arguments: Any) -> Any:
    """Call a kernel of a module of `fastweights.ops`; the module is imported, and with it Numba, at the first call."""
    kernel = _ready.get((module, name, dtype))
    if kernel is None:
        return _first_launch(module, name, dtype, arguments)
    return kernel(_kind(dtype), *arguments)


def _first_launch(module: str, name: str, dtype: torch.dtype, arguments: Any) -> Any:
    """Loads the machine code from disk or compiles it, and says so where that takes long."""
    kernel = getattr(importlib.import_module(f"fastweights.ops.{module}"), name)
    what = f"{module.partition('.')[0]}: the {name} pass for {str(dtype).removeprefix('torch.')} on CPU"
    _log.info("%s is loaded, or compiled where this is its first use", what)
    with _told_while_compiling(what):
        result = kernel(_kind(dtype), *arguments)
    _ready[module, name, dtype] = kernel
    return result


@contextmanager
def _told_while_compiling(what: str) -> Iterator[None]:
    """To load machine code is no compilation, however slow the disk is: Numba says which of them it does."""
    from numba.core import event

    class Begun(event.Listener):
        notice: threading.Timer | None = None

        def on_start(self, event: Any) -> None:
            if self.notice is None:
                self.notice = threading.Timer(
                    PATIENCE, _log.warning, (f"{what} is being compiled, once: this takes some seconds",)
                )
                self.notice.daemon = True
                self.notice.start()

        def on_end(self, event: Any) -> None: ...

    begun = Begun()
    try:
        with event.install_listener("numba:compile", begun):
            yield
    finally:
        if begun.notice is not None:
            begun.notice.cancel()


def _kind(dtype: torch.dtype) -> Any:
    """What tells the kernels dtype and lanes."""
    kind = _kinds.get(dtype)
    if kind is None:
        import numpy

        kind = _kinds[dtype] = numpy.empty(0, str(dtype).removeprefix("torch."))
    return kind
