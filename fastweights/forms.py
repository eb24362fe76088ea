"""What is read from a file, held to its form, which is a type: one form a file, and a dataclass is one of its fields.

    fault({"epoch": "3"}, TypedDict("Row", {"epoch": int}))   ->   "epoch: got '3', wanted an integer"

Texts are of one line that a terminal can print, numbers are finite. Of a dict more keys may be there than its form has.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from fastweights.errors import near, shown

LONGEST = 1000  # characters of a text
NAMES = {
    int: "an integer", float: "a finite number", str: "a short text of one line", bool: "true or false",
    NoneType: "null", dict: "an object", list: "a list",
}  # fmt: skip


def fault(found: Any, form: Any, where: str = "") -> str | None:
    """What is wrong, and where; None where nothing is."""
    form = _bare(form)
    parts = get_args(form)
    if is_typeddict(form) or is_dataclass(form):
        if not isinstance(found, dict):
            return _wrong(found, dict, where)
        needed = getattr(form, "__required_keys__", ())  # a dataclass has its defaults
        for name, each in _hints(form).items():
            if name in found or name in needed:
                if name not in found:
                    return f"got no {_inner(where, name)!r}"
                if said := fault(found[name], each, _inner(where, name)):
                    return said
        return None
    if get_origin(form) in (dict, Mapping):
        if not isinstance(found, dict):
            return _wrong(found, dict, where)
        pairs = (
            (name, fault(name, parts[0], where) or fault(each, parts[1], _inner(where, name)))
            for name, each in found.items()
        )
        return next((said for _, said in pairs if said), None)
    if get_origin(form) in (list, tuple):
        if not isinstance(found, list | tuple):
            return _wrong(found, list, where)
        return next(filter(None, (fault(each, parts[0], where) for each in found)), None)
    if get_origin(form) in (Union, UnionType):
        return None if any(fault(found, each) is None for each in parts) else _wrong(found, form, where)
    if get_origin(form) is Literal:
        return (
            None if any(type(found) is type(each) and found == each for each in parts) else _wrong(found, form, where)
        )
    return None if form is Any or _is(found, form) else _wrong(found, form, where)


def unknown(found: Mapping[str, Any], kind: Any, needed: Collection[str] = ()) -> str | None:
    """What is wrong with the names of what is to become a dataclass, or None."""
    known = [each.name for each in fields(kind)]
    if odd := sorted(found.keys() - set(known)):
        return f"got the unknown {kind.__name__} entry {shown(odd[0])}{near(odd[0][:LONGEST], known)}"
    if missing := sorted(set(needed) - found.keys()):
        return f"got no {kind.__name__} entry {missing[0]!r}"
    return None


def _is(found: Any, form: Any) -> bool:
    if form is float:
        return _is(found, int) or (type(found) is float and math.isfinite(found))
    if form is int:
        return type(found) is int and abs(found) < 2**63
    if form is str:
        return type(found) is str and found.isprintable() and len(found) <= LONGEST
    return type(found) is form


def _wrong(found: Any, form: Any, where: str) -> str:
    return f"{where and f'{where}: '}got {shown(found)}, wanted {_name(form)}"


def _name(form: Any) -> str:
    if get_origin(form) is Literal:
        return " or ".join(map(repr, get_args(form)))
    return NAMES.get(form) or " or ".join(map(_name, get_args(form))) or getattr(form, "__name__", str(form))


def _inner(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _bare(form: Any) -> Any:
    while get_origin(form) in (Annotated, NotRequired, Required):
        form = get_args(form)[0]
    return form


@cache
def _hints(form: Any) -> dict[str, Any]:
    try:
        hints = get_type_hints(form)
    except NameError:  # of a class of the user's, that names a type for type checkers alone
        return {}
    return {each.name: hints[each.name] for each in fields(form)} if is_dataclass(form) else hints
