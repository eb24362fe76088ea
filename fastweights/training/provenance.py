"""Where a result comes from: code, versions, machine. Names no host and no user."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastweights import __version__

PACKAGES = ("torch", "numpy", "numba")


@cache
def commit() -> str:
    """The commit of the checkout that the package lies in, `+` behind it where its files differ; else the version."""
    package = Path(__file__).parent.parent
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")  # and not some other project's checkout
        return _git(package, "rev-parse", "HEAD") + ("+" if _git(package, "status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return f"fastweights {__version__}"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def here() -> dict[str, Any]:
    """Commit, versions and machine of this process."""
    versions = {"python": platform.python_version(), "fastweights": __version__}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    import torch

    machine = {
        "cpu": cpu_model(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.system()
    }  # fmt: skip
    return {"commit": commit(), "versions": versions, "machine": machine}


def cpu_model() -> str:
    """As in 'AMD EPYC (family 25, model 1, avx2)': processors of one name may round differently."""
    try:
        return describe_cpu(Path("/proc/cpuinfo").read_text(errors="replace"))
    except (OSError, LookupError):
        return platform.processor() or platform.machine() or "unknown"


def describe_cpu(cpuinfo: str) -> str:
    """The first processor of Linux's /proc/cpuinfo. Raises KeyError where it has no model name (not x86)."""
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    found = {name.strip(): value.strip() for name, _, value in lines}
    vectors = next((each for each in ("avx512f", "avx2", "avx") if each in found.get("flags", "").split()), None)
    numbers = {"family": found.get("cpu family"), "model": found.get("model")}
    parts = [f"{name} {number}" for name, number in numbers.items() if number is not None]
    details = ", ".join([*parts, *([vectors] if vectors else [])])
    return found["model name"] + (f" ({details})" if details else "")
