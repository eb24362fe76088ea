"""The one family of errors that are the user's: one line that says what was got, what was wanted and the way out.

Everything else that is raised is a fault of this library, and shows its traceback.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MOST_SHOWN, MOST_SAID = 80, 600  # characters of a value in an error, and of each end of what an error says


class UserError(ValueError):
    """What was asked cannot be done as it was asked; the message says why and what can."""


class UnsupportedBackend(UserError):
    """A backend that was named cannot run this call; the message says why and what can."""


def in_one_line(error: BaseException) -> str:
    """What an error says, without the frames of C++ that torch adds; its name where it says nothing of itself.

    What is too long for a line or two is cut in the middle.
    """
    text = plain(" ".join(str(error).split("Exception raised from")[0].split()))
    text = text if len(text) <= 2 * MOST_SAID else f"{text[:MOST_SAID]} ... {text[-MOST_SAID:]}"
    return f"{type(error).__name__}: {text}".rstrip(": ") if not text or isinstance(error, LookupError) else text


def plain(text: str) -> str:
    """The text with what steers a terminal, or cannot be printed, as escapes: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shown(value: object) -> str:
    """A value in an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN + 2 else f"{text[:MOST_SHOWN]}..."


def near(got: str, known: Iterable[str], least: float = 0.5) -> str:
    """'; did you mean ...?' for a name that is nearly known (alike by `least`), or the beginning of one."""
    by_upper = {name.upper(): name for name in known}
    matches = [name for name in by_upper if name.startswith(got.upper())]
    if len(matches) != 1:
        matches = difflib.get_close_matches(got.upper(), by_upper, n=1, cutoff=least)
    return f"; did you mean {by_upper[matches[0]]}?" if matches else ""


@contextmanager
def out_of_memory(options: str) -> Iterator[None]:
    """Memory that is not there is the user's: the `options` that ask for it are named."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(w in str(error) for w in ("out of memory", "allocate memory")):
            raise
        raise UserError(f"got too little memory ({in_one_line(error)[:100]}); choose a smaller {options}") from error
