"""Classes of the user's: `package.module:Class`, found in what is installed, then in the current folder."""

import hashlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from fastweights.errors import UserError

FILES: set[str] = set()  # of the modules that were imported here
SCRIPT = "__main__"  # the module of what a script or a notebook defines
IN_MODULE = "put it into a module of its own"
IMPORTING = ("importlib", "_frozen_importlib", "_frozen_importlib_external", "fastweights")  # modules on the way there


def is_own(name: str) -> bool:
    return ":" in name


class Here:
    """The last finder of all: modules of a folder that are named as package:Class, and what these import there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.named: set[str] = set()
        self.found: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if path is not None or not (name in self.named or importer() in self.found):
            return None
        found = PathFinder.find_spec(name, [self.folder])
        if found is not None:
            self.found.add(name)
        return found


def importer() -> str:
    """The package of the module that is importing now."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in IMPORTING:
        frame = frame.f_back
    return "" if frame is None else frame.f_globals.get("__name__", "").partition(".")[0]


def import_own(what: str, name: str, wanted: str) -> Any:
    """The class; `what` it is and what was `wanted` of it are said where there is none."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_named(module), attribute)
        FILES.update(file for file in (getattr(sys.modules[module], "__file__", None), _file_of(found)) if file)
        return found
    except (Exception, SystemExit) as error:  # whatever a file of the user's does
        if module == SCRIPT:
            wanted = f"what a script or a notebook defines is known there alone: {IN_MODULE}"
        raise UserError(f"{what} {name!r}: got {type(error).__name__}: {error}; {wanted}") from error


def import_named(module: str) -> Any:
    """A module that is installed, else one of the current folder."""
    folder = os.getcwd()
    others = [each for each in sys.meta_path if isinstance(each, Here)]
    here = next((each for each in others if each.folder == folder), None) or Here(folder)
    sys.meta_path[:] = [each for each in sys.meta_path if each not in others]
    sys.meta_path += [here, *(each for each in others if each is not here)]  # where a process is now comes first
    here.named.add(module.partition(".")[0])
    return import_module(module)


def source_of(name: str) -> str | None:
    """SHA-256 of the file that a user's `package.module:Class` lies in; None for a name of this library."""
    if not is_own(name):
        return None
    module, _, attribute = name.partition(":")
    with suppress(ImportError, AttributeError, OSError):
        file = _file_of(getattr(import_named(module), attribute))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    return None


def _file_of(found: Any) -> str | None:
    with suppress(TypeError, OSError):
        return inspect.getsourcefile(found)
    return None


def fault_of_own(error: BaseException) -> str | None:
    """One line where an error comes out of a class of the user's, with the place in its file; None: it does not."""
    frame = place_of(error)
    if frame is None:
        return None
    said = " ".join(str(error).split())
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"{place}: got {type(error).__name__}{': ' if said else ''}{said}; wanted none: it is in your own class"


def place_of(error: BaseException) -> traceback.FrameSummary | None:
    """Where in the files of the user's classes an error was raised, or what raised it was called."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in FILES]
    return frames[-1] if frames else None


def name_of(made: Any, known: Mapping[str, Any]) -> str:
    """What names the class of an object: its name among the `known` ones, or package.module:Class."""
    return name_of_class(type(made), known)


def name_of_class(kind: type, known: Mapping[str, Any]) -> str:
    return kind.__name__ if known.get(kind.__name__) is kind else f"{kind.__module__}:{kind.__qualname__}"
