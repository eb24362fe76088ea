"""What a symbol of an answer costs, as tables of at most 80 columns: a row a decoder, a column a length of source."""

import math
from typing import Any

from fastweights.bench.settings import Record
from fastweights.bench.table import digits, heading, note

NAME, CELL, BYTES = 29, 8, 10  # columns of text: of a name, of a number, of a number of bytes
GROWS, FLAT = "attention", "delta"  # whose crossing is told


def show_decoding(records: list[Record], machine: dict[str, Any]) -> str:
    clock = "processor time" if machine["threads"] == 1 else "the clock"
    lines = [*heading(records, machine), f"by {clock}; the symbols of the source stand above the columns"]
    for batch in dict.fromkeys(r.batch for r in records):
        own = [r for r in records if r.batch == batch]
        lines += table(f"Microseconds a symbol, batch {batch}", own, "symbol", lambda value: digits(1e6 * value))
        lines += [text for ending in ("", " compiled") if (text := crossing(own, ending))]
    first = next(iter(records)).batch
    held = [r for r in records if r.batch == first and r.measure == "stream" and not r.contender.endswith(" compiled")]
    if held:
        lines += table("Bytes a stream", held, "stream", lambda value: f"{value:,.0f}", BYTES)
    return "\n".join(lines)


def table(title: str, records: list[Record], measure: str, text: Any, cell: int = CELL) -> list[str]:
    found = {(r.contender, r.steps): r for r in records if r.measure == measure}
    names = list(dict.fromkeys(name for name, _ in found))
    lengths = sorted({steps for _, steps in found})
    width = max(map(len, (title, *names))) + 1 if cell == BYTES else NAME
    columns, lines = (80 - width) // cell, []
    for begin in range(0, len(lengths), columns):
        part = lengths[begin : begin + columns]
        lines += ["", f"{title if not begin else '':<{width}}" + "".join(f"{length:>{cell},}" for length in part)]
        for name in names:
            cells = [found.get((name, length)) for length in part]
            shown = [
                "wrong" if c and c.wrong else "-" if c is None or c.value is None else text(c.value) for c in cells
            ]
            lines.append(f"{name:<{width}}" + "".join(f"{each:>{cell}}" for each in shown))
    for name in names:
        wrong = next((r for (whose, _), r in found.items() if whose == name and r.wrong), None)
        lines += note(name, wrong) if wrong is not None else []
    return lines


def crossing(records: list[Record], ending: str = "") -> str | None:
    """From which length of source on attention takes longer than the delta rule, and how flat that is."""
    grows, flat = (medians(records, name + ending) for name in (GROWS, FLAT))
    lengths = sorted(grows.keys() & flat.keys())
    if len(lengths) < 2:
        return None
    slower = [length for length in lengths if grows[length] > flat[length]]
    from_here = next(
        (length for length in slower if all(later in slower for later in lengths if later >= length)), None
    )
    if from_here is None:
        where = f"stays below {FLAT} up to {lengths[-1]:,} symbols"
    elif from_here == lengths[0]:
        where = f"lies above {FLAT} from {lengths[0]:,} symbols on"
    else:
        before = lengths[lengths.index(from_here) - 1]
        gaps = [math.log(grows[length] / flat[length]) for length in (before, from_here)]
        share = -gaps[0] / (gaps[1] - gaps[0])
        where = f"passes {FLAT} at about {before * (from_here / before) ** share:,.0f} symbols"
    ratio = flat[lengths[-1]] / flat[lengths[0]]
    return f"{GROWS + ending} {where}; {FLAT} at {lengths[-1]:,}: {ratio:.2f} of {lengths[0]:,}"


def medians(records: list[Record], name: str) -> dict[int, float]:
    own = [r for r in records if r.measure == "symbol" and r.contender == name]
    return {r.steps: r.value for r in own if r.value}
