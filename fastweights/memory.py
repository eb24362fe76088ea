"""How much memory this process may still take, so that what cannot fit is refused before it is tried."""

import math
import resource
from contextlib import suppress
from pathlib import Path

from fastweights.errors import UserError

MEMINFO, CGROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
LIMITS = (  # of a container: what it may have, and what it has
    (CGROUPS / "memory.max", CGROUPS / "memory.current"),
    (CGROUPS / "memory/memory.limit_in_bytes", CGROUPS / "memory/memory.usage_in_bytes"),
)


def available() -> float:
    """Bytes; infinite where the system does not say."""
    found = [math.inf]
    with suppress(OSError, ValueError, LookupError):
        lines = (line.split() for line in MEMINFO.read_text().splitlines())
        kilobytes = {words[0]: int(words[1]) for words in lines}
        found.append(1024 * (kilobytes["MemAvailable:"] + kilobytes["SwapFree:"]))
    for limit, used in LIMITS:
        with suppress(OSError, ValueError):  # "max", or no such file
            found.append(int(limit.read_text()) - int(used.read_text()))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        if (soft := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
            found.append(soft)
    return max(0.0, min(found))


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
