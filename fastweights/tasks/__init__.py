"""Tasks: what is asked. Frozen dataclasses that draw sequences from a generator, one task a file."""

from collections.abc import Mapping
from typing import Any

from fastweights.tasks.associative_retrieval import AssociativeRetrieval
from fastweights.tasks.batch import BadSequence, Batch

__all__ = ["TASKS", "AssociativeRetrieval", "BadSequence", "Batch", "make_task"]

TASKS = {task.NAME: task for task in (AssociativeRetrieval,)}


def make_task(stored: Mapping[str, Any]) -> AssociativeRetrieval:
    """The task that a log entry names, {"name": ..., "version": ..., and its fields}; ValueError says what is wrong."""
    name = stored.get("name")
    if name not in TASKS:
        raise ValueError(f"got the task {name!r}, wanted one of {', '.join(TASKS)}")
    try:
        return TASKS[name](**{field: value for field, value in stored.items() if field not in ("name", "version")})
    except TypeError as error:
        raise ValueError(f"got a task {name} that is none ({error})") from None
