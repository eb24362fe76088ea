"""Where Triton's kernels run."""

import os
from importlib.util import find_spec

import torch

OLDEST = (8, 0)  # compute capability
_HAS_TRITON = find_spec("triton") is not None  # torch.compile of torch 2.11 cannot look through find_spec


def why_not(device: torch.device) -> str | None:
    """Why Triton's kernels cannot run on tensors of a device, or None where they can."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not (device.type == "cpu" and interpreted):
        return f"it runs on CUDA devices, the inputs are on {device.type} (tests set TRITON_INTERPRET=1)"
    if not _HAS_TRITON:
        return "triton is not installed"
    if torch.compiler.is_compiling() or device.type != "cuda" or torch.version.hip is not None:
        return None
    if torch.cuda.get_device_capability(device) < OLDEST:
        return f"triton wants compute capability {OLDEST}, the device has {torch.cuda.get_device_capability(device)}"
    return None
