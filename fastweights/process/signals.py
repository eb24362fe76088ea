"""What a process does that is told to stop, or to save and go on.

Three ways: a command breaks off in one line; what runs others (`heard`) looks now and then at what was asked; a worker
(`watched`) has a thread that hears while the main one computes.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastweights.process.codes import STOPPED

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)
POLITE = (signal.SIGINT, signal.SIGTERM)  # those that stop training in a process that is not ours
SAVE = (signal.SIGUSR1, signal.SIGUSR2)
PATIENCE = 3.0  # seconds that a command may take to clear up; a signal after them ends it at once
LOOK = 1.0  # seconds until a worker looks whether its parent is still there
GRACE = 20.0  # seconds that a worker may take to save


class Heard:
    """What was asked of a process. Plain values: a signal may come while another is taken."""

    def __init__(self) -> None:
        self.stop = False
        self.save = False
        self.unsaved: Callable[[], bool] = lambda: False  # whether a stop now would lose anything
        self.farewell: Callable[[], None] = lambda: None  # before the process ends in a thread that is not its main one
        self.code: int | None = None  # the exit code, once it is known

    def take(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.stop |= number in STOP
            self.save |= number in SAVE


class _Command:
    """The signals of a command: the first breaks off what is being done, once, so that it can be cleared up."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.line = ""


_command: _Command | None = None


def begin(line: str) -> None:
    """From here on this process is a command's; `line` is what it says when it is stopped."""
    global _command
    _command = _Command()
    _command.line = line
    for number in STOP:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and the background of a shell have it
            signal.signal(number, _break_off)
    for number in SAVE:
        signal.signal(number, lambda number, frame: None)  # there is nothing to save yet
    sys.unraisablehook = _unraisable


def told() -> bool:
    """Whether this command was told to stop: whatever is raised then comes of that."""
    return _command is not None and _command.first is not None


def over() -> None:
    """The command is at its end: a signal changes nothing any more."""
    if _command is not None:
        for number in (*STOP, *SAVE):
            signal.signal(number, signal.SIG_IGN)


def _break_off(number: int, frame: Any) -> None:
    assert _command is not None
    first = _command.first is None
    if first and not _importing(frame):
        _command.first = time.monotonic()
        raise KeyboardInterrupt
    if _command.first is None or time.monotonic() - _command.first > PATIENCE:
        _leave()


def _importing(frame: Any) -> bool:
    """Whether a module is being imported: there is nothing to clear up, and much that would take it for a fault."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _unraisable(about: Any) -> None:
    if isinstance(about.exc_value, KeyboardInterrupt):  # it broke off where nothing can be raised, and is lost
        _leave()
    sys.__unraisablehook__(about)


def _leave() -> None:
    assert _command is not None
    with suppress(OSError):
        os.write(2, f"{_command.line}\n".encode())
    os._exit(STOPPED)


@contextmanager
def heard(numbers: Iterable[int] = (*STOP, *SAVE)) -> Iterator[Heard]:
    """What is asked by these signals, instead of breaking off; the main thread of a process alone hears them."""
    found = Heard()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {}
    for number in numbers:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, lambda number, frame: found.take([number]))
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept() -> Iterator[None]:
    """Libraries that take signals as they are imported or begin give them back."""
    before = {number: signal.getsignal(number) for number in (*STOP, *SAVE)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """What comes meanwhile waits. A process that is started within begins so, until `watched` is ready for signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*STOP, *SAVE))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def watched(parent: int) -> Heard:
    """What is asked of this worker. A parent that is gone asks it to stop; it ends at once where nothing is unsaved."""
    found = Heard()
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in (*STOP, *SAVE):
        signal.signal(number, lambda number, frame: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written to even while the main thread is in a long call
    threading.Thread(target=_watch, args=(found, parent, read), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*STOP, *SAVE))
    return found


def _watch(found: Heard, parent: int, read: int) -> None:
    asked: float | None = None
    while True:
        if select.select([read], [], [], LOOK)[0]:
            found.take(os.read(read, 4096))
        found.stop |= os.getppid() != parent
        if not found.stop:
            continue
        asked = asked or time.monotonic()
        if not found.unsaved() or time.monotonic() - asked > GRACE:
            found.farewell()
            os._exit(STOPPED if found.code is None else found.code)
