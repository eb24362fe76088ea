"""What a scan costs, as tables of at most 80 columns."""

from typing import Any

from fastweights.bench.scan import ATTENTION, LSTM
from fastweights.bench.settings import Record
from fastweights.bench.table import digits, heading, interval, note, number, ratio

ROW = "{name:<19}{ms:>9}{spread:>18}{attention:>9}{lstm:>9}{infer:>9}"


def show_scan(records: list[Record], machine: dict[str, Any]) -> str:
    clock = "processor time" if machine["threads"] == 1 else "the clock"
    lines = [
        *heading(records, machine),
        f"by {clock}; products: of a gated delta rule, at torch.mm's rate",
    ]
    for shape in dict.fromkeys((r.batch, r.steps, r.hidden, r.size) for r in records if r.measure == "training"):
        own = [r for r in records if (r.batch, r.steps, r.hidden, r.size) == shape]
        lines += shape_table(own, *shape)
    for measure, head, scale in (("curve time", "Milliseconds by tokens", 1e3), ("token", "Microseconds a token", 1e6)):
        own = [r for r in records if r.measure == measure]
        lines += across(own, head, scale) if own else []
    return "\n".join(lines)


def shape_table(records: list[Record], batch: int, steps: int, hidden: int, size: int) -> list[str]:
    training, inference = ({r.contender: r for r in records if r.measure == m} for m in ("training", "inference"))
    heads = dict(ms="ms", spread="20% - 80%", attention="/SDPA", lstm="/LSTM", infer="infer ms")
    lines = ["", f"Forward and backward: batch {batch}, {hidden // size} heads of {size}, {steps} tokens"]
    lines.append(ROW.format(name="", **heads))
    for name, mine in training.items():
        if mine.value is None:
            lines += note(name, mine)
            continue
        cells = {"attention": ratio(mine, training.get(ATTENTION)), "lstm": ratio(mine, training.get(LSTM))}
        cells |= {"ms": number(mine, 1e3), "spread": interval(mine, 1e3), "infer": number(inference.get(name), 1e3)}
        lines.append(ROW.format(name=name, **cells))
    return lines


def across(records: list[Record], head: str, scale: float) -> list[str]:
    counts = sorted({r.steps for r in records})
    found = {(r.contender, r.steps): r for r in records}
    first = records[0]
    where = f"{head}: batch {first.batch}, {first.hidden // first.size} heads of {first.size}"
    lines = ["", where, f"{'':<19}" + "".join(f"{count:>10,}" for count in counts)]
    for name in dict.fromkeys(r.contender for r in records):
        cells = [found.get((name, count)) for count in counts]
        texts = [
            "wrong" if c and c.wrong else "-" if c is None or c.value is None else digits(scale * c.value)
            for c in cells
        ]
        lines.append(f"{name:<19}" + "".join(f"{text:>10}" for text in texts))
    return lines
