"""Checkpoints as safetensors: tensors and a JSON header, nothing that is executed when it is loaded."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fastweights import files
from fastweights.training.run_folder import RunError


def save_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    content = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    files.write(path, save(content, metadata={"fastweights": json.dumps(header)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    files.check(path, "a checkpoint")
    if not files.exists(path):
        raise RunError(f"{path}: no such file, wanted a checkpoint that `fastweights train` has written")
    try:
        with safe_open(path, framework="pt") as file:
            header = files.parse_json((file.metadata() or {})["fastweights"])
            if not isinstance(header, dict):
                raise KeyError
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError, TypeError) as error:
        reason = str(error).splitlines()[0] if not isinstance(error, KeyError) else "it has no header of fastweights"
        raise RunError(
            f"{path}: got a truncated file, or none of `fastweights train` ({reason}), wanted a checkpoint; "
            "train again into another --run"
        ) from None


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Fill the module with the checkpoint's `model.*`; the names and shapes must be those of the module."""
    stored = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    own, learned = module.state_dict(), dict(module.named_parameters())
    if stored.keys() != own.keys():
        odd = sorted(stored.keys() ^ own.keys())[0]
        raise RunError(f"{path}: got the checkpoint of another model ({odd!r} is on one side only)")
    for name, tensor in stored.items():
        if tensor.shape != own[name].shape or tensor.dtype != own[name].dtype:
            raise RunError(
                f"{path}: got {name} {list(tensor.shape)} {tensor.dtype}, "
                f"wanted {list(own[name].shape)} {own[name].dtype}: the checkpoint of another model"
            )
        if name in learned and not bool(tensor.isfinite().all()):  # a buffer may be a mask of -inf
            raise RunError(f"{path}: got a {name} that is not finite, wanted weights; train again into another --run")
    module.load_state_dict(stored)


def hash_weights(module: nn.Module) -> str:
    """SHA-256 over all parameters and buffers: two runs with the same hash learned the same."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
