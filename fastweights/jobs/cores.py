"""How many processors this process may use, which may be fewer than the machine has."""

import math
import os
from pathlib import Path

from fastweights.cgroups import groups, read


def usable(root: Path = Path("/")) -> int:
    """Those that it is bound to (taskset, SLURM), and what the quotas of its control groups (containers) leave."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.floor(quota) for quota in quotas(root))]))


def quotas(root: Path) -> list[float]:
    """In processors, of each group that this process is in."""
    found = []
    for folder, first in groups("cpu", root):
        if first:
            limit = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
        else:
            limit = (*read(folder / "cpu.max").split(), "", "")[:2]
        if all(part.strip().isdigit() for part in limit) and int(limit[1]):
            found.append(int(limit[0]) / int(limit[1]))
    return found
