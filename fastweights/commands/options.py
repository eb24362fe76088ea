"""Options of the command line from dataclasses: of the run, of the networks that are named, of the task that is named.

Nothing is listed here: a field is an option, with its default, and what its docstring says is the help.
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields, make_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import tyro

from fastweights import tasks
from fastweights.commands.parsing import UnknownOptions
from fastweights.errors import UserError
from fastweights.own import is_own
from fastweights.tasks import Task
from fastweights.training import networks
from fastweights.training.config import flag

Option = tuple[str, Any, Any]  # name, type and help, default
Models = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(help="The models to train.", metavar="MODEL ...", help_behavior_hint=""),
]
NAMING = ("--task", "--rule", "--memory", "--like", "--run", "--data", "--device", "--backend")  # they take one word


def word_after(arguments: Sequence[str], option: str) -> str | None:
    """The value of an option that decides which others there are; of several the last one, as when they are parsed."""
    found = None
    for before, argument in pairwise([*arguments, ""]):
        if before == option:
            found = argument
        elif before.startswith(option + "="):
            found = before.partition("=")[2]
    return found


def data_in(arguments: Sequence[str]) -> Path | None:
    named = word_after(arguments, "--data")
    return Path(named) if named else None


def models_in(arguments: Sequence[str]) -> list[str]:
    """The networks that are named: what is none is told when the options are parsed."""
    words = [word for before, word in pairwise(["", *arguments]) if before not in NAMING and not word.startswith("-")]
    return list(dict.fromkeys(word for word in words if word in networks.NETWORKS or is_own(word)))


def words_after(arguments: Sequence[str], option: str | None) -> list[str]:
    """All values of an option that takes several; None: the words before the first option."""
    found: list[str] = []
    at: str | None = None
    for argument in arguments:
        if argument.startswith("--"):
            at, equals, value = argument.partition("=")
            found += [value] if equals and at == option else []
        elif at == option:
            found.append(argument)
    return found


def flags_in(arguments: Sequence[str]) -> set[str]:
    """The options that are given, by the names of their fields."""
    return {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in arguments if word.startswith("--")}


@cache
def docs_of(kind: type) -> dict[str, str]:
    """What stands as a string below each field of a dataclass."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return {}
    found: dict[str, str] = {}
    for line, below in pairwise(getattr(body, "body", [])):
        if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[ast.unparse(line.target)] = " ".join(str(below.value.value).split())
    return found


def options_of(kind: type, defaults: Mapping[str, Any], leave_out: Iterable[str] = ()) -> Iterator[Option]:
    """The fields of a dataclass as options, but for those that are data of a paper file."""
    docs, hints = docs_of(kind), get_type_hints(kind, include_extras=True)
    for each in fields(kind):
        if not each.init or each.name in leave_out or not each.metadata.get("flag", True):
            continue
        default = each.default if each.default_factory is MISSING else each.default_factory()
        yield each.name, described(hints[each.name], docs.get(each.name, "")), defaults.get(each.name, default)


def described(hint: Any, text: str) -> Any:
    """The help says itself what an option does that is left out: a default of None or of nothing is not shown."""
    options: dict[str, Any] = {"help": text, "help_behavior_hint": lambda shown: f"(default: {shown})" if shown else ""}
    if type(None) in get_args(hint):
        named = [getattr(kind, "__name__", str(kind)).upper() for kind in get_args(hint) if kind is not type(None)]
        options |= {
            "metavar": "|".join(named),
            "help_behavior_hint": lambda shown: "" if shown == "None" else f"(default: {shown})",
        }
    return Annotated[hint, tyro.conf.arg(**options), *([tyro.conf.FlagCreatePairsOff] if hint is bool else [])]


def constants_of(kind: type, defaults: Mapping[str, Any]) -> Iterator[Option]:
    """The constants of an update rule as options; a tensor is what a network learns."""
    docs, ranges = docs_of(kind), getattr(kind, "RANGES", {})
    for each in fields(kind):
        if not each.init:
            continue
        default = each.default if each.default_factory is MISSING else each.default_factory()
        whole = type(default) is int and each.type not in ("int", int)  # a float that somebody wrote as 1
        hint = float if each.name in ranges or default is MISSING or whole else type(default)
        text = docs.get(each.name) or f"{kind.__name__}'s."
        if each.name in ranges:
            low, high = ranges[each.name]
            text += f" From {low:g} to {high:g}." if high < math.inf else f" From {low:g}."
        yield each.name, described(hint, text), defaults.get(each.name, default)


def constants_usual(kind: type, rule: str) -> dict[str, Any]:
    """Those that the rule has where nobody says, if it is the usual one of such a network."""
    usual = kind().rule
    return {each.name: getattr(usual, each.name) for each in fields(usual)} if type(usual).__name__ == rule else {}


def network_options(models: Sequence[str], rule: str, defaults: Mapping[str, Any]) -> list[Option]:
    """The options of all networks that are named, each once; of a rule its name and its constants."""
    found: dict[str, Option] = {}
    for model in models:
        kind = networks.network_of(model).options
        for name, hint, default in options_of(kind, defaults):
            if name in found:
                continue
            found[name] = (name, hint, default)
            if name == "rule":
                text = f"Update rule: {', '.join(networks.rules_for(kind))}, or package.module:Class."
                found["rule"] = ("rule", described(str, text), rule)
                usual = {**constants_usual(kind, rule), **defaults}
                found |= {each[0]: each for each in constants_of(networks.rule_of(rule), usual)}
            if name == "learned" and default is None:
                found[name] = (
                    name,
                    hint,
                    getattr(kind, "usually_learned", networks.learned_by)(networks.rule_of(rule)),
                )
    return list(found.values())


def explained(error: UserError, task: type[Task]) -> UserError:
    """Of an option that is unknown, who has it."""
    if not isinstance(error, UnknownOptions):
        return error
    said = {}
    options = {model: names_of(model) for model in networks.NETWORKS}
    for word, text in error.said.items():
        name = word.removeprefix("--").replace("-", "_")
        having = [f"`train {model}`" for model, names in options.items() if name in names]
        having += [
            f"--task {other}" for other, kind in tasks.TASKS.items()
            if kind is not task and name in [each.name for each in fields(kind)]
        ]  # fmt: skip
        mine = word.startswith("--") and having
        said[word] = f"no such option here; {word} is an option of {', '.join(having)}" if mine else text
    return UnknownOptions(said, error.way_out)


def names_of(model: str) -> list[str]:
    """The options of a network, with the constants of its default rule."""
    return [name for name, _, _ in network_options([model], networks.default_rule([model]), {})]


def network_from(model: str, given: Mapping[str, Any]) -> Any:
    """The options of one network, of those that were given for all."""
    kind = networks.network_of(model).options
    values = {each.name: given[each.name] for each in fields(kind)}
    if "rule" in values:
        constants = {each.name: given[each.name] for each in fields(networks.rule_of(given["rule"])) if each.init}
        values["rule"] = networks.make_rule(given["rule"], constants)
    return kind(**values)


def task_from(name: str, kind: Any, given: Mapping[str, Any]) -> Any:
    """The task with these options; what an own class says of them is its owner's."""
    try:
        return kind(**given)
    except Exception as error:
        if isinstance(error, UserError) or not is_own(name):
            raise
        raise UserError(f"task {name!r}: got {type(error).__name__}: {error}; wanted other options") from error


def section(title: str, options: Iterable[Option]) -> Any:
    """A dataclass of these options."""
    made = [(name, hint, field() if default is MISSING else field(default=default)) for name, hint, default in options]
    return tyro.conf.OmitArgPrefixes[make_dataclass(title, made, frozen=True, kw_only=True)]


def check_apart(parts: Mapping[str, Iterable[str]]) -> None:
    """Raise where two parts of a command have an option of one name."""
    owner: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if name in owner:
                raise UserError(f"{part}: got the field {name!r}, wanted another name: {owner[name]} has {flag(name)}")
            owner[name] = part


def defaults_like(name: str | None) -> Any:
    """The cell PAPER/CELL, whose setup has the defaults; None: none is named."""
    if name is None:
        return None
    from fastweights.errors import near
    from fastweights.papers import paper

    title, slash, wanted = name.partition("/")
    if not slash:
        raise UserError(f"--like {name}: wanted PAPER/CELL, such as ba2016-retrieval/FW-20")
    cells = {cell.name: cell for cell in paper(title).RUNS}
    if wanted not in cells:
        raise UserError(f"--like {name}: no such cell{near(wanted, cells)} (cells: {', '.join(cells)})")
    return cells[wanted]
