"""How much memory this process may still take, so that what cannot fit is refused before it is tried."""

import math
import resource
from contextlib import suppress
from pathlib import Path

from fastweights.cgroups import groups, read
from fastweights.errors import UserError


def available(root: Path = Path("/")) -> float:
    """Bytes; infinite where the system does not say."""
    found = [math.inf]
    with suppress(ValueError, LookupError):
        system = numbers(read(root / "proc/meminfo"))
        found.append(1024 * (system["MemAvailable:"] + system["SwapFree:"]))
    for folder, first in groups("memory", root):
        limit, used = ("limit_in_bytes", "usage_in_bytes") if first else ("max", "current")
        with suppress(ValueError):  # "max", or no such file
            most, taken = (int(read(folder / f"memory.{name}")) for name in (limit, used))
            found.append(most - taken + cached(numbers(read(folder / "memory.stat")), "total_" if first else ""))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        if (soft := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
            found.append(soft)
    return max(0.0, min(found))


def cached(counted: dict[str, int], prefix: str) -> int:
    """Of what a group has taken, the pages of files: the system gives them back where memory is wanted."""
    return sum(counted.get(f"{prefix}{name}", 0) for name in ("inactive_file", "active_file"))


def numbers(text: str) -> dict[str, int]:
    """The first number of each line, by its first word."""
    words = [line.split() for line in text.splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) > 1}


def check(needed: float, what: str) -> None:
    """Raise where `needed` bytes, the least that can be, are more than there are; `what` asks for them."""
    if needed > (there := available()):
        raise UserError(
            f"{what}: got a need of {size(needed)} of memory at least, wanted no more than the {size(there)} that are "
            "free; choose smaller ones"
        )


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:,.1f} {unit}"
