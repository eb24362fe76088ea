"""What a measurement was made on."""

import platform
from importlib import metadata
from typing import Any

import torch

from fastweights import __version__
from fastweights.bench.settings import DecodeSettings, ScanSettings, Settings
from fastweights.training.provenance import cpu_model


def describe_machine(settings: Settings | DecodeSettings | ScanSettings) -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
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


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
