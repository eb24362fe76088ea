"""How many processors this process may use, which may be fewer than the machine has."""

import math
import os
from pathlib import Path


def usable(root: Path = Path("/")) -> int:
    """Those that it is bound to (taskset, SLURM), and what the quotas of its control groups (containers) leave."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.floor(quota) for quota in quotas(root))]))


def quotas(root: Path) -> list[float]:
    """In processors, of each group that this process is in, in either version of Linux's control groups."""
    found = []
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup"
        top = mounted / "cpu" if controllers else mounted
        place = top / group.lstrip("/")
        for folder in [place, *place.parents]:  # each group above may have a quota, too
            if controllers:
                limit = read(folder / "cpu.cfs_quota_us"), read(folder / "cpu.cfs_period_us")
            else:
                limit = (*read(folder / "cpu.max").split(), "", "")[:2]
            if all(part.strip().isdigit() for part in limit) and int(limit[1]):
                found.append(int(limit[0]) / int(limit[1]))
            if folder == top:
                break
    return found


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
