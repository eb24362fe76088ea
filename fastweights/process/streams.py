"""Standard output and error that break nothing off: where nobody reads them, or the disk is full, they fall silent."""

import errno
import io
import os
import select
import sys
from typing import Any


class Stream(io.FileIO):
    """What cannot be written is dropped; `lost` says why."""

    lost: OSError | None = None

    def write(self, content: Any, /) -> int:
        size = memoryview(content).nbytes
        while self.lost is None:
            try:
                written = super().write(content)
                if written is not None:
                    return written
                select.select([], [self], [])  # it does not block, and is full
            except OSError as error:
                self.lost = error
        return size


def begin() -> None:
    """Take standard output and error; what is closed gets a place that nothing can be written to."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # else a file that is opened later would be written to in its place
    for number, name in ((1, "stdout"), (2, "stderr")):
        encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
        raw = Stream(number, "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=number == 2 or raw.isatty()
        )
        setattr(sys, name, text)


def end() -> OSError | None:
    """What kept standard output from being written; a reader that has read enough is no error."""
    sys.stdout.flush()
    lost = sys.stdout.buffer.raw.lost if isinstance(sys.stdout.buffer, io.BufferedWriter) else None  # pyright: ignore
    return None if lost is None or lost.errno == errno.EPIPE else lost
