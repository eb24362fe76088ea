"""Tasks: what is asked. Frozen dataclasses that draw sequences from a generator, one task a file."""

from fastweights.tasks.associative_retrieval import AssociativeRetrieval
from fastweights.tasks.batch import BadSequence, Batch

__all__ = ["TASKS", "AssociativeRetrieval", "BadSequence", "Batch"]

TASKS = {task.NAME: task for task in (AssociativeRetrieval,)}
