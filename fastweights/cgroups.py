"""The control groups of Linux (containers, SLURM) that this process is in, of either version."""

from collections.abc import Iterator
from pathlib import Path


def groups(controller: str, root: Path = Path("/")) -> Iterator[tuple[Path, bool]]:
    """The folders of all groups that may limit this process, its own and those above it, and whether each is of the
    first version. controller: "cpu" or "memory"."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mounted = root / "sys/fs/cgroup"
        top = mounted / controller if controllers else mounted
        place = top / group.lstrip("/")
        for folder in [place, *place.parents]:
            yield folder, bool(controllers)
            if folder == top:
                break


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
