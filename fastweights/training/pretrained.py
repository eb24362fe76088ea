"""A trained model for others: config.json and model.safetensors, the layout of the Hugging Face hub.

Nothing in them can execute code.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from fastweights import files
from fastweights.training import run_folder
from fastweights.training.run_folder import CONFIG, RunError

WEIGHTS = "model.safetensors"
MOST = 2**40  # bytes
KIND = "fastweights"  # model_type, as readers of the hub look for it


def save_pretrained(folder: Path, model: nn.Module, run: Path) -> None:
    """The model of a run, and what its config.json says, into a folder that has neither file."""
    described = run_folder.read_description(run)
    for name in (CONFIG, WEIGHTS):
        if files.exists(folder / name):
            raise RunError(f"{folder / name}: already there; delete it, or choose another folder")
    files.make_folder(folder)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    about: dict[str, Any] = {"model_type": KIND, "architectures": [described["model"]]}
    weights, config = save(tensors, metadata={"format": "pt"}), files.json_bytes(about | described)
    files.write_all({folder / WEIGHTS: weights, folder / CONFIG: config})


def load_pretrained(path: Path) -> dict[str, Tensor]:
    """The weights, named as in a checkpoint."""
    try:
        return {f"model.{name}": tensor for name, tensor in load(files.read(path, most=MOST)).items()}
    except (SafetensorError, ValueError) as error:
        if isinstance(error, RunError | files.FileError):
            raise
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: got a truncated file, or no safetensors ({reason}), wanted {WEIGHTS}") from None
