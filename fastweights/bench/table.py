"""The records as tables of at most 80 columns."""

from typing import Any

from fastweights.bench.settings import Record

SHAPE = "{contender:<19}{train:>9}{spread:>16}{lstm:>7}{gru:>7}{infer:>9}{peak:>7}"
OP = "{contender:<19}{ms:>9}{spread:>16}{floor:>9}"
TOKEN = "{contender:<19}{us:>9}{spread:>16}{gru:>7}{lstm:>7}{bytes:>12}"


def heading(records: list[Record], machine: dict[str, Any]) -> list[str]:
    """What the records were measured on, and what a number is."""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "numba", "triton") if machine[name])
    device = machine["cpu"] if machine["device"] == "cpu" else f"{machine['device']} beside {machine['cpu']}"
    samples = max((record.samples for record in records), default=0)
    return [
        f"{device}, {machine['threads']} thread(s), {machine['dtype']}",
        versions,
        f"median (20% to 80% quantile) of up to {samples} interleaved rounds; ratios of medians",
    ]


def show(records: list[Record], machine: dict[str, Any]) -> str:
    """Every shape's tables below the machine that they were measured on."""
    lines = heading(records, machine)
    curves = dict.fromkeys(r.measure for r in records if r.measure.startswith("curve"))
    for measure in curves:
        lines += curve_table([r for r in records if r.measure == measure])
    shapes = dict.fromkeys((r.batch, r.steps, r.hidden) for r in records if r.measure not in curves)
    for shape in shapes:
        own = [r for r in records if (r.batch, r.steps, r.hidden) == shape]
        lines += token_table(own, shape) if any(r.measure in ("token", "state") for r in own) else tables(own, shape)
    return "\n".join(lines)


def tables(records: list[Record], shape: tuple[int, int, int]) -> list[str]:
    batch, steps, hidden = shape
    found = {(r.measure, r.contender): r for r in records}
    names = list(dict.fromkeys(r.contender for r in records if r.measure == "training"))
    lstm, gru = (found.get(("training", name)) for name in ("nn.LSTM", "nn.GRU"))
    lines = ["", f"A training step: batch {batch}, {steps} steps, hidden {hidden}"]
    head = dict(train="ms", spread="20% - 80%", lstm="/LSTM", gru="/GRU", infer="infer ms", peak="MiB")
    lines.append(SHAPE.format(contender="", **head))
    for name in names:
        mine = found[("training", name)]
        if mine.value is None:
            lines += note(name, mine)
            continue
        lines.append(
            SHAPE.format(
                contender=name,
                train=number(mine, 1e3),
                spread=interval(mine, 1e3),
                lstm=ratio(mine, lstm),
                gru=ratio(mine, gru),
                infer=number(found.get(("inference", name)), 1e3),
                peak=number(found.get(("memory", name)), 2**-20),
            )
        )
    floor = found.get(("op", "matrix products"))
    if floor is not None:
        lines += [f"The op, forward and backward, beside the bare {3 * steps} matrix products in it"]
        lines.append(OP.format(contender="", ms="ms", spread="20% - 80%", floor="/floor"))
        for (measure, name), mine in found.items():
            if measure == "op":
                lines.append(
                    OP.format(
                        contender=name, ms=number(mine, 1e3), spread=interval(mine, 1e3), floor=ratio(mine, floor)
                    )
                )
    return lines


def token_table(records: list[Record], shape: tuple[int, int, int]) -> list[str]:
    found = {(r.measure, r.contender): r for r in records}
    gru, lstm = found.get(("token", "nn.GRU")), found.get(("token", "nn.LSTM"))
    lines = ["", f"One streamed token: batch {shape[0]}, hidden {shape[2]} (the cells of nn.GRU and nn.LSTM)"]
    head = dict(us="us", spread="20% - 80%", gru="/GRU", lstm="/LSTM", bytes="state bytes")
    lines.append(TOKEN.format(contender="", **head))
    for name in dict.fromkeys(r.contender for r in records):
        mine, size = found.get(("token", name)), found.get(("state", name))
        if mine is None or mine.value is None:
            lines += note(name, mine)
            continue
        held = "" if size is None or size.value is None else f"{size.value:,.0f}"
        lines.append(
            TOKEN.format(
                contender=name,
                us=number(mine, 1e6),
                spread=interval(mine, 1e6),
                gru=ratio(mine, gru),
                lstm=ratio(mine, lstm),
                bytes=held,
            )
        )
    return lines


def curve_table(records: list[Record]) -> list[str]:
    """A row a shape, a column a backend."""
    names = list(dict.fromkeys(r.contender for r in records))
    found = {(r.contender, r.steps, r.hidden): r for r in records}
    lines = ["", f"The op, forward and backward, batch {records[0].batch} (ms; why there is no number: see JSON)"]
    lines.append(f"{'steps':>7}{'hidden':>8}" + "".join(f"{name:>13}" for name in names))
    for steps, hidden in dict.fromkeys((r.steps, r.hidden) for r in records):
        cells = [found.get((name, steps, hidden)) for name in names]
        texts = ["wrong" if cell is not None and cell.wrong else number(cell, 1e3) for cell in cells]
        lines.append(f"{steps:>7}{hidden:>8}" + "".join(f"{text:>13}" for text in texts))
    return lines


def note(name: str, record: Record | None) -> list[str]:
    text = record.note if record is not None else "not measured"
    return [f"{name:<19}  {text if len(text) <= 59 else text[:58] + '~'}"]


def number(record: Record | None, scale: float) -> str:
    if record is None or record.value is None:
        return "-"
    return digits(record.value * scale)


def interval(record: Record, scale: float) -> str:
    if record.low is None or record.high is None:
        return ""
    return f"{digits(record.low * scale)} - {digits(record.high * scale)}"


def digits(value: float) -> str:
    """Three significant ones."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def ratio(mine: Record, other: Record | None) -> str:
    if mine.value is None or other is None or not other.value:
        return "-"
    return f"{digits(mine.value / other.value)}x"
