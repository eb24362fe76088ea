"""What a decoder reads of a source that an encoder has read: one memory a file, one protocol (`memory.py`).

The classes of this namespace with a NAME are those that `EncoderDecoder` knows by it: an import is a registration.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from fastweights.errors import UserError, near, shown
from fastweights.nn.memories.additive_attention import AdditiveAttention as AdditiveAttention
from fastweights.nn.memories.delta_memory import DeltaMemory as DeltaMemory
from fastweights.nn.memories.dot_attention import DotAttention as DotAttention
from fastweights.nn.memories.gated_delta_memory import GatedDeltaMemory as GatedDeltaMemory
from fastweights.nn.memories.last_state import LastState as LastState
from fastweights.nn.memories.linear_memory import LinearMemory as LinearMemory
from fastweights.nn.memories.memory import Memory as Memory
from fastweights.nn.memories.memory import attended as attended
from fastweights.nn.memories.memory_state import MemoryState as MemoryState
from fastweights.nn.memories.slot_memory import SlotMemory as SlotMemory
from fastweights.own import import_own, is_own


def registered() -> dict[str, type[nn.Module]]:
    """The memories of this library by NAME."""
    found = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, nn.Module)]
    return {kind.NAME: kind for kind in found if hasattr(kind, "NAME")}  # pyright: ignore[reportAttributeAccessIssue]


def make_memory(memory: str | Callable[[int, int], nn.Module], states_size: int, queries_size: int) -> Any:
    """The memory between an encoder of `states_size` and a decoder of `queries_size` units.

    memory: a NAME, the user's `package.module:Class`, a class or a function of the two sizes, or a module that fits.
    """
    if isinstance(memory, nn.Module):
        got = (getattr(memory, "states_size", states_size), getattr(memory, "queries_size", queries_size))
        if got != (states_size, queries_size):
            raise UserError(
                f"memory: got {type(memory).__name__} for states of {got[0]} and queries of {got[1]} units, wanted one "
                f"for {states_size} and {queries_size}; a class in its place is called with the two"
            )
        return _checked(memory)
    if isinstance(memory, str):
        kind = find_memory(memory)
    elif callable(memory):
        kind = memory
    else:
        raise UserError(f"memory: got {shown(memory)}, wanted a name, a class, or a module")
    try:
        made = kind(states_size, queries_size)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:  # raised inside it, not by the call
            raise
        raise UserError(f"memory: got {error}; wanted what is called as Class(states_size, queries_size)") from error
    return _checked(made)


def find_memory(name: str) -> Any:
    """The class of a memory by its NAME, or the user's `package.module:Class`."""
    known = registered()
    if name in known:
        return known[name]
    if not is_own(name):
        names = ", ".join(known)
        raise UserError(f"unknown memory {shown(name)}{near(name, known)} (memories: {names}, or package.module:Class)")
    return import_own("memory", name, "wanted package.module:Class, called as Class(states_size, queries_size)")


def _checked(memory: Any) -> Any:
    wanted = ("write", "read", "append", "value_size")
    missing = [name for name in wanted if not hasattr(memory, name)]
    if not isinstance(memory, nn.Module) or missing:
        lacking = f" without {', '.join(missing)}" if missing else ""
        raise UserError(
            f"memory: got {type(memory).__name__}{lacking}, wanted an nn.Module with {', '.join(wanted)}, "
            "as fastweights.nn.memories.Memory says"
        )
    return memory
