"""What a measurement was made on."""

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fastweights import __version__
from fastweights.bench.settings import Settings


def describe_machine(settings: Settings) -> dict[str, Any]:
    return {
        "cpu": cpu_name(),
        "device": torch.cuda.get_device_name() if settings.device.startswith("cuda") else "cpu",
        "threads": settings.threads,
        "dtype": "float32",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": version("numba"),
        "triton": version("triton"),
        "fastweights": __version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
