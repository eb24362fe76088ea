"""The settings of a sweep: every combination of the values that options are given, for each model, task and rule."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from itertools import product
from math import prod
from typing import Annotated, Any, get_args, get_origin

from fastweights.commands import options as of
from fastweights.commands.train import Asked
from fastweights.errors import UserError
from fastweights.training.config import Config, flag
from fastweights.training.setup import Setup

NONE = "none"  # an empty list
PARTS = ("training", "network", "sequence")
Values = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Setting:
    """A row of the table: what is trained, and which values of the options that are varied it has."""

    setup: Setup
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return "-".join([self.setup.model, *(f"{name}{text(value)}" for name, value in self.values.items())])

    @property
    def words(self) -> str:
        """As `train` takes it."""
        return " ".join([self.setup.model, *(f"{flag(name)} {text(value)}" for name, value in self.values.items())])


def text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(text, value)) or NONE
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return repr(value) if isinstance(value, float) and float(short) != value else short


def several(option: of.Option) -> of.Option:
    """The option with several values; one that is a list takes each of them as a word, `50,100`. A flag has none."""
    name, hint, default = option
    kind, *about = get_args(hint)
    if kind is bool:
        return option
    if get_origin(kind) is tuple:
        kind, default = str, text(default)
    return name, Annotated[(tuple[kind, ...], *about)], default if default is MISSING else (default,)


def values_of(option: of.Option, given: Any) -> list[Any]:
    """What the option was given, as `train` has it."""
    name, hint, _ = option
    kind = get_args(hint)[0]
    if kind is bool:
        return [given]
    found = [as_list(name, word, get_args(kind)[0]) for word in given] if get_origin(kind) is tuple else list(given)
    if not found:
        raise UserError(f"{flag(name)}: got no value, wanted one or several")
    for place, value in enumerate(found):
        if value in found[:place]:
            raise UserError(f"{flag(name)}: got {text(value)} twice, wanted each value once")
    return found


def as_list(name: str, word: str, kind: Any) -> tuple[Any, ...]:
    try:
        return () if word == NONE else tuple(kind(part) for part in word.split(","))
    except ValueError:
        raise UserError(f"{flag(name)} {word}: wanted a list as one word, such as 50,100, or {NONE}") from None


def parts_of(asked: Asked, models: Sequence[str]) -> dict[str, list[of.Option]]:
    """The options that a setting has, in the parts of the help."""
    made = (
        of.options_of(Config, asked.defaults("config"), leave_out=["seed"]),
        of.network_options(models, asked.rule, asked.defaults("network")),
        of.options_of(asked.task, asked.defaults("task")),
    )
    return {part: list(options) for part, options in zip(PARTS, made, strict=True)}


def all_parts(asked: Sequence[Asked]) -> dict[str, list[of.Option]]:
    """The options of all that is asked, each once, with the default that it has first."""
    found: dict[str, dict[str, of.Option]] = {part: {} for part in PARTS}
    for each in asked:
        for part, options in parts_of(each, each.models).items():
            found[part] = {option[0]: option for option in options} | found[part]
    return {part: list(options.values()) for part, options in found.items()}


def settings(asked: Sequence[Asked], given: Values, seed: int, most: int) -> list[Setting]:
    """The rows. given: the values of each option that was given, of task and rule, too; most: of these rows."""
    kinds = []
    for each, model in [(kind, model) for kind in asked for model in kind.models]:
        parts = parts_of(each, [model])
        names = [name for options in parts.values() for name, _, _ in options]
        named = {"task": each.task_name} | ({"rule": each.rule} if "rule" in names else {})
        kinds.append((each, model, parts, named, {name: given[name] for name in names if name in given.keys() - named}))
    count = sum(prod(map(len, values.values())) for *_, values in kinds)
    if count > most:
        raise UserError(f"got a grid of {count:,} settings, wanted at most {most:,}; leave some values out")
    found: dict[str, Setting] = {}
    for each, model, parts, named, values in kinds:
        for combination in product(*values.values()):
            chosen = named | dict(zip(values, combination, strict=True))
            setup = setup_of(each, model, parts, chosen, seed)
            varied = {name: value for name, value in chosen.items() if len(given.get(name, ())) > 1}
            found.setdefault(repr(setup.as_json()), Setting(setup, varied))
    return list(found.values())


def setup_of(
    asked: Asked, model: str, parts: Mapping[str, Sequence[of.Option]], chosen: Mapping[str, Any], seed: int
) -> Setup:
    training, network, sequence = (
        {name: chosen.get(name, default) for name, _, default in parts[part]} for part in PARTS
    )
    base = Config() if asked.like is None else asked.like.setup.config
    task = of.task_from(asked.task_name, asked.task, sequence)
    config = replace(base, **training, seed=seed).with_sizes(task, chosen)
    return Setup(model, task, config, of.network_from(model, network))
