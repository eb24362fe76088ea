"""Tasks by name: the registered ones, the user's own, and those that a file names."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from fastweights.errors import UserError, near, shown
from fastweights.forms import fault
from fastweights.own import import_own, is_own
from fastweights.tasks.task import Task, has_text

REQUIRED = [name for name in (*Task.__annotations__, *vars(Task)) if not name.startswith("_")]
OF_TEXT = ["SYMBOLS", "CLASSES", "encode", "decode", "answer", "from_text"]


def registered(namespace: Mapping[str, Any]) -> dict[str, type[Any]]:
    """The tasks among the names of a module, by NAME."""
    return {kind.NAME: kind for kind in namespace.values() if _frozen(kind) and hasattr(kind, "NAME")}


def find_task(name: str) -> type[Any]:
    """The class of a registered task, or of the user's `package.module:Class`, which is imported for it."""
    from fastweights.tasks import TASKS

    if name in TASKS:
        return TASKS[name]
    if not is_own(name):
        raise UserError(f"unknown task {shown(name)}{near(name, TASKS)} (tasks: {', '.join(TASKS)}, or "
                        "package.module:Class)")  # fmt: skip
    kind = import_own("task", name, "wanted package.module:Class")
    if fault := why_no_task(kind):
        raise UserError(f"task {shown(name)}: {fault}")
    return kind


def _frozen(kind: Any) -> bool:
    return isinstance(kind, type) and getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)


def why_no_task(kind: Any) -> str | None:
    """What a class lacks to be a task, or None."""
    if not isinstance(kind, type):
        return f"got {shown(kind)}, wanted a class"
    if not _frozen(kind):
        return f"got {kind.__name__}, wanted a frozen dataclass: @dataclass(frozen=True)"
    wanted = [*REQUIRED, *(OF_TEXT if has_text(kind) else [])]
    if missing := [name for name in wanted if not hasattr(kind, name)]:
        return f"got {kind.__name__} without {', '.join(missing)}, wanted what fastweights.tasks.Task says"
    if has_text(kind) and (set(kind.SYMBOLS + kind.CLASSES) & set(", \t\r\n") or "-" in kind.CLASSES):
        got = f"{kind.__name__} with the symbols {shown(kind.SYMBOLS)} and the classes {shown(kind.CLASSES)}"
        return f"got {got}, wanted no comma and no blank, and no class -"
    if taken := [field.name for field in fields(kind) if field.name in ("name", "version")]:
        return f"got {kind.__name__} with the field {taken[0]!r}, wanted another name: files have the task's there"
    bare = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    if bare:
        return f"got {kind.__name__} without a default of {', '.join(bare)}, wanted one for each field"
    return None


def describe(task: Task) -> dict[str, Any]:
    """What names a task in a file: {"name", "version", and its fields but for places}; `make_task` reads it."""
    from fastweights.tasks import TASKS

    kind = type(task)
    name = task.NAME if TASKS.get(task.NAME) is kind else f"{kind.__module__}:{kind.__qualname__}"
    options = asdict(task)  # pyright: ignore[reportArgumentType]
    return {"name": name, "version": task.VERSION, **{k: v for k, v in options.items() if k not in places(task)}}


def places(task: Any) -> dict[str, Any]:
    """Its fields that say where files lie."""
    return {field.name: getattr(task, field.name) for field in fields(task) if field.metadata.get("place")}


def make_task(stored: Mapping[str, Any], kind: type[Any] | None = None) -> Any:
    """The task that a file describes.

    `kind` is the class that the user named: without it, only a registered task is made, for a file must not choose what
    is imported.
    """
    from fastweights.tasks import TASKS

    name, version = stored.get("name"), stored.get("version")
    found = TASKS.get(name) if isinstance(name, str) else None
    if kind is not None and kind is not found and name != f"{kind.__module__}:{kind.__qualname__}":
        raise UserError(f"got the task {shown(name)}, wanted {kind.__module__}:{kind.__qualname__}, which was named")
    kind = kind or found
    if kind is None:
        own = "; name your own task yourself to have it imported" if isinstance(name, str) and ":" in name else ""
        raise UserError(f"got the task {shown(name)}, wanted one of {', '.join(TASKS)}{own}")
    if version is not None and version != kind.VERSION:
        raise UserError(f"got version {shown(version)} of the task {name}, wanted {kind.VERSION}, as it is drawn here")
    options = {field: value for field, value in stored.items() if field not in ("name", "version")}
    known = [field.name for field in fields(kind)]
    if unknown := [field for field in options if field not in known]:
        raise UserError(f"got the task {name} with {shown(unknown[0])}, wanted its options alone: {', '.join(known)}")
    if said := fault(options, kind):
        raise UserError(f"task: {said}")
    return kind(**{field: tuple(value) if isinstance(value, list) else value for field, value in options.items()})
