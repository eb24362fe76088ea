"""The rules that the kernels have, and the numbers by which they tell them apart."""

from typing import Any

from fastweights.rules import Cosine, Delta, Hebbian

HEBBIAN, COSINE, DELTA = 0, 1, 2
RULES = (Hebbian, Cosine, Delta)  # by these numbers


def kind_of(rule: Any) -> int | None:
    """None of a rule that no kernel has."""
    if type(rule) not in RULES or (type(rule) is Delta and not rule.normalize_key):
        return None
    return RULES.index(type(rule))
