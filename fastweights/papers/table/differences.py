"""What differs from cell to cell of a paper, as a table: the settings of its RUNS that are not all alike."""

from collections.abc import Iterable
from typing import Any

from fastweights.papers.cell import Cell


def text(runs: list[Cell]) -> str:
    """Markdown; how parameters learn has a letter, which a list below explains."""
    settings = {cell.name: settings_of(cell) for cell in runs}
    ways = list(dict.fromkeys(way for each in settings.values() if (way := each["groups"])))
    letters = {way: chr(ord("A") + place) for place, way in enumerate(ways)} | {"": ""}
    for each in settings.values():
        each["groups"] = letters[each["groups"]]
    names = dict.fromkeys(name for each in settings.values() for name in each)
    shown = [name for name in names if len({each[name] for each in settings.values() if name in each}) > 1]
    lines = ["What differs from cell to cell:", "", row(["cell", *(name.replace("_", " ") for name in shown)])]
    lines.append("| --- |" + " --- |" * len(shown))
    lines += [row([name, *(each.get(key, "") for key in shown)]) for name, each in settings.items()]
    if ways:
        lines += ["", "How parameters learn, where not all alike; the first pattern that matches a name has it:", ""]
        lines += [f"- {letters[way]}: {way}" for way in ways]
    return "\n".join(lines)


def settings_of(cell: Cell) -> dict[str, str]:
    """Of the model, its network, the task and the run, as they are told."""
    stored = cell.setup.as_json()
    network = {name: each for name, each in stored["network"].items() if name != "backend"}
    config = {name: each for name, each in stored["config"].items() if name not in ("seed", "device", "hidden_size")}
    found = {"model": stored["model"], "units": cell.setup.config.hidden_size, **network}
    found["task"] = stored["task"]["name"]
    found |= {name: each for name, each in stored["task"].items() if name not in ("name", "version")}
    return {name: told(each) for name, each in {**found, **config, "seeds": cell.seeds}.items()}


def told(setting: Any) -> str:
    if isinstance(setting, dict) and "pattern" in setting:
        share = f" at {setting['share']:g} of the rate" if setting["share"] != 1 else ""
        decay = f", decaying by {setting['decay']:g}" if setting["decay"] else ""
        return f"`{setting['pattern']}` by {setting['kind']}{share}{decay}"
    if isinstance(setting, dict):
        constants = [f"{each:g}" for name, each in setting.items() if name in ("decay", "rate")]
        return f"{setting['name']} {' '.join(constants)}"
    if isinstance(setting, list | tuple):
        return ("; " if setting and isinstance(setting[0], dict) else " ").join(map(told, setting))
    if setting is None or isinstance(setting, bool):
        return "yes" if setting else ""
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


def row(fields: Iterable[str]) -> str:
    return "| " + " | ".join(fields) + " |"
