"""Checkpoints as safetensors: tensors and a JSON header, nothing that is executed when it is loaded."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fastweights import files
from fastweights.training import run_folder
from fastweights.training.run_folder import CHECKPOINT, FINAL, RunError

HASH = "sha256"  # of the header: of all that the file holds but this
KNOWN = {"model", "run", "progress", HASH}


def save_checkpoint(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    content = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    header = {name: value for name, value in header.items() if name != HASH}
    header = json.loads(json.dumps(header, allow_nan=False))
    header[HASH] = checksum(content, header)
    files.write(path, save(content, metadata={"fastweights": json.dumps(header)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header, as they were saved; a file of an earlier version has no hash to show it."""
    files.check(path, "a checkpoint")
    if not files.exists(path):
        raise RunError(f"{path}: no such file, wanted a checkpoint that `fastweights train` has written")
    try:
        with safe_open(path, framework="pt") as file:
            header = files.parse_json((file.metadata() or {})["fastweights"])
            if not isinstance(header, dict):
                raise KeyError
            json.dumps(header, allow_nan=False)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError, TypeError) as error:
        reason = str(error).splitlines()[0] if not isinstance(error, KeyError) else "it has no header of fastweights"
        raise RunError(
            f"{path}: got a truncated file, or none of `fastweights train` ({reason}), wanted a checkpoint; "
            "train again into another --run"
        ) from None
    if odd := sorted(header.keys() - KNOWN):
        raise RunError(f"{path}: got a checkpoint with the unknown entry {odd[0][:40]!r}, wanted one of this version")
    if HASH in header and header[HASH] != checksum(tensors, header):
        raise RunError(
            f"{path}: got a damaged checkpoint, for its hash is that of another content; train again into another --run"
        )
    return tensors, header


def checksum(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    """SHA-256 over all that a checkpoint holds but this."""
    about = [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in sorted(tensors.items())]
    said = {name: value for name, value in header.items() if name != HASH}
    digest = hashlib.sha256(json.dumps([about, said], sort_keys=True).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """What is wrong with what a checkpoint holds is said in one line."""
    try:
        yield
    except RunError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RunError(
            f"{path}: got a checkpoint that no run can go on from ({reason}), wanted one that `fastweights train` has "
            "written; train again into another --run"
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


def check_final(folder: Path, module: nn.Module, update: int) -> None:
    """Raise where final.json says that training ended with other weights than these, which are those after `update`."""
    if not files.exists(folder / FINAL):
        return
    final = run_folder.read_final(folder)
    if final["update"] < update:  # the run went on since
        return
    path = folder / CHECKPOINT
    if final["update"] > update:
        raise RunError(
            f"{path}: got the weights after update {update}, wanted those after {final['update']}, where {FINAL} says "
            f"that the run ended; delete {FINAL} to go on from {update}"
        )
    if final["weights_hash"] != hash_weights(module):
        raise RunError(
            f"{path}: got weights of another hash than {FINAL} has, wanted those that training ended with; one of the "
            "two is damaged: train again into another --run"
        )
