"""Standard output and error that break nothing off: where nobody reads them, or the disk is full, they fall silent."""

import errno
import io
import os
import select
import sys
from typing import Any, NoReturn

PATIENCE = 1.0  # seconds that standard error waits for a reader that does not read
CHUNK = 4096  # what a pipe takes that says that it takes something


class Stream(io.FileIO):
    """What cannot be written is dropped; `lost` says why. `waits`: whether it waits for a reader that is slow."""

    def __init__(self, number: int, waits: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self.waits = waits
        self.patience = PATIENCE
        self.lost: OSError | None = None

    def write(self, content: Any, /) -> int:
        view = memoryview(content).cast("B")
        while self.lost is None:
            try:
                if not self.waits and not select.select([], [self], [], self.patience)[1]:
                    self.patience = 0.0
                    break
                written = super().write(view if self.waits else view[:CHUNK])
                if written is not None:
                    self.patience = PATIENCE
                    return written
                select.select([], [self], [])  # it does not block, and is full
            except OSError as error:
                self.lost = error
        return len(view)


def begin() -> None:
    """Take standard output and error; what is closed gets a place that nothing can be written to."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # else a file that is opened later would be written to in its place
    for number, name in ((1, "stdout"), (2, "stderr")):
        encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
        raw = Stream(number, waits=number == 1)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=number == 2 or raw.isatty()
        )
        setattr(sys, name, text)


def end() -> OSError | None:
    """What kept standard output from being written; a reader that has read enough is no error."""
    sys.stdout.flush()
    lost = sys.stdout.buffer.raw.lost if isinstance(sys.stdout.buffer, io.BufferedWriter) else None  # pyright: ignore
    return None if lost is None or lost.errno == errno.EPIPE else lost


def leave(code: int) -> NoReturn:
    """End the process now. What was broken off somewhere in a library may not stand the end of an interpreter."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
