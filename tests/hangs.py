"""What takes too long is broken off."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

LONGEST = 10  # seconds


class Late(Exception):
    pass


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise Late(f"longer than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
