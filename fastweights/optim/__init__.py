"""How parameters learn: `Group` says which of them learn how, `FlatAdamW` does it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastweights.optim.group import Group, parameter_groups

if TYPE_CHECKING:
    from fastweights.optim.flat_adamw import FlatAdamW

__all__ = ["FlatAdamW", "Group", "parameter_groups"]

_HOME = {"FlatAdamW": "flat_adamw"}


def __getattr__(name: str) -> Any:  # groups are options of the command line, whose --help waits for no torch
    if name not in _HOME:
        raise AttributeError(f"module 'fastweights.optim' has no attribute {name!r}")
    return getattr(import_module(f"fastweights.optim.{_HOME[name]}"), name)
