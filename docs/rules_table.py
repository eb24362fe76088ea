"""The table of docs/rules.md, from what is registered: `python docs/rules_table.py` writes it, and a test compares."""

import re
from pathlib import Path
from typing import Any

from fastweights import rules
from fastweights.rules._scan import doubled

PAGE = Path(__file__).parent / "rules.md"
BEGIN, END = "<!-- From the registered rules, by `python docs/rules_table.py`; a test compares. -->", "<!-- end -->"
AXES = {"token": "", "substep": " a substep", "key": " a key channel", "value": " a value channel", "head": " a head"}
AXES |= {"head key": " a head and key channel", "head value": " a head and value channel", "head value key": " a head"}


def table() -> str:
    head = "| rule | what it does | gates | fast form | in `FastWeightsRNN` | paper |"
    rows = [row(name, kind) for name, kind in sorted(rules.scanned().items())]
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *rows])


def row(name: str, kind: Any) -> str:
    said = (kind.__doc__ or "").split("\n\n")[0].strip()
    gates = ", ".join(gate_text(*each) for each in kind.GATES.items()) or "none"
    found = re.findall(r"https://\S+?(?=[.,;]?\s)", kind.__doc__ or "")
    links = ", ".join(f"[{place}]({link})" for place, link in enumerate(found, 1))
    marks = ["yes" if hasattr(kind, method) else "no" for method in ("lower", "write")]
    return f"| `{name}` | {said} | {gates} | {' | '.join(marks)} | {links} |"


def gate_text(name: str, gate: rules.Gate) -> str:
    most = " up to 2" if doubled({name: gate}) else ""
    return f"`{name}`{AXES[gate.axes]}{most}{'' if gate.constant is None else f', else `{gate.constant}`'}"


def page(text: str) -> str:
    """The page with the table of today."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
