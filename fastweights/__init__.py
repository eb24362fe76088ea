"""Networks with fast weights: a memory matrix that is written while a sequence is read."""

TYPE_CHECKING = False  # nothing is imported here, typing neither: a command takes its signals first
if TYPE_CHECKING:
    from typing import Any

    from fastweights.nn import FastWeightsRNN, FastWeightsRNNCell
    from fastweights.ops import FastWeightsState, UnsupportedBackend, fast_weights_rnn
    from fastweights.rules import Cosine, Delta, Hebbian
    from fastweights.training.trained import TrainedRun, load, train

__version__ = "0.1.0"
__all__ = [
    "Cosine",
    "Delta",
    "FastWeightsRNN",
    "FastWeightsRNNCell",
    "FastWeightsState",
    "Hebbian",
    "TrainedRun",
    "UnsupportedBackend",
    "fast_weights_rnn",
    "load",
    "train",
]

_HOME = {
    "Cosine": "rules",
    "Delta": "rules",
    "FastWeightsRNN": "nn",
    "FastWeightsRNNCell": "nn",
    "FastWeightsState": "ops",
    "Hebbian": "rules",
    "TrainedRun": "training.trained",
    "UnsupportedBackend": "ops",
    "fast_weights_rnn": "ops",
    "load": "training.trained",
    "train": "training.trained",
}


def __getattr__(name: str) -> "Any":  # the command line answers --help without the second that torch takes to import
    if name not in _HOME:
        raise AttributeError(f"module 'fastweights' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fastweights.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
