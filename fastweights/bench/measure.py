"""Training step, inference, op, one streamed token, memory and state, for every contender on every shape."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from fastweights import memory
from fastweights.bench import contenders as work
from fastweights.bench.contenders import Contender, Stream, contenders
from fastweights.bench.gate import Shape, mismatch, mismatch_of_cell
from fastweights.bench.memory import peaks
from fastweights.bench.settings import Record, Settings
from fastweights.bench.timing import rounds, spread, threads
from fastweights.errors import UserError

Tell = Callable[[str], None]


def bench(
    settings: Settings = Settings(),  # noqa: B008 - frozen
    *,
    records: list[Record] | None = None,
    tell: Tell = lambda text: None,
) -> list[Record]:
    """Measure all that `settings` names; a record a number.

    Records are appended to `records` as they come: after Ctrl-C (KeyboardInterrupt) it holds what was measured.
    """
    check_device(settings)
    records = [] if records is None else records
    shapes = [
        Shape(settings.batch, steps, hidden, settings.inner_steps, settings.device)
        for steps in settings.steps
        for hidden in settings.hidden
    ]
    for shape in shapes:  # inputs, outputs and their gradients; the weights
        numbers = 4 * shape.hidden * (shape.batch * shape.steps + shape.hidden)
        memory.check(4 * numbers, "--batch, --steps and --hidden")
    with threads(settings.threads):
        for number, shape in enumerate(shapes, start=1):
            part = f"{number} of {len(shapes)}: batch {shape.batch}, {shape.steps} steps, hidden {shape.hidden}"
            measure_shape(shape, settings, records, lambda text, part=part: tell(f"{part}: {text}"))
        for hidden in settings.hidden:
            shape = Shape(1, 1, hidden, settings.inner_steps, settings.device)
            measure_token(shape, settings, records, lambda text, h=hidden: tell(f"one token, hidden {h}: {text}"))
    return records


def check_device(settings: Settings) -> None:
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {settings.device}: got no CUDA device here, wanted cpu")


def measure_shape(shape: Shape, settings: Settings, records: list[Record], tell: Tell) -> None:
    tell("comparing the backends with the reference")
    fit = gated(shape, mismatch, records)
    floor = Contender("matrix products", shape.hidden)
    parts: list[tuple[str, dict[Contender, Callable[[], Any]]]] = [
        ("training", {c: lambda c=c: work.training(c, shape, settings.seed) for c in fit}),
        ("inference", {c: lambda c=c: work.inference(c, shape, settings.seed) for c in fit}),
        ("op", {c: lambda c=c: work.op(c.kind, shape, settings.seed) for c in fit if c.is_ours}
            | {floor: lambda: work.matrix_products(shape)}),
    ]  # fmt: skip
    for measure, makers in parts:
        for large in (False, True):  # apart: a network of a hundred times the size empties the caches of the others
            group = {c: make for c, make in makers.items() if c.equal_state == large}
            time_all(measure, group, shape, settings, records, tell)
    tell("memory of a training step, in processes of their own")
    jobs = [
        {"contender": asdict(c), "shape": asdict(shape), "seed": settings.seed, "threads": settings.threads}
        for c in fit
    ]
    for contender, peak in zip(fit, peaks(jobs), strict=True):
        known = {"value": float(peak)} if isinstance(peak, int) else {"note": peak}
        records.append(record("memory", contender, shape, **known))


def measure_token(shape: Shape, settings: Settings, records: list[Record], tell: Tell) -> None:
    fit = gated(shape, mismatch_of_cell, records)
    streams = {c: Stream(c, shape, settings.seed) for c in fit}
    for contender, stream in streams.items():
        records.append(record("state", contender, shape, value=float(stream.state_bytes())))
    for large in (False, True):
        makers: dict[Contender, Callable[[], Any]] = {
            c: lambda s=s: s for c, s in streams.items() if c.equal_state == large
        }
        time_all("token", makers, shape, settings, records, tell)


def gated(shape: Shape, differs: Callable[[str, Shape], str | None], records: list[Record]) -> list[Contender]:
    """The contenders that may be timed; the others get a record that says why not."""
    every, cannot = contenders(shape)
    measure = "training" if differs is mismatch else "token"
    fit: list[Contender] = []
    for contender in every:
        if contender.too_large:
            records.append(record(measure, contender, shape, note=contender.too_large))
        elif contender.is_ours and (difference := differs(contender.kind, shape)) is not None:
            note = f"wrong: not timed ({difference})"
            records.append(record(measure, contender, shape, note=note, wrong=True))
        else:
            fit.append(contender)
    for name, reason in cannot.items():
        records.append(record(measure, Contender(name, shape.hidden), shape, note=f"cannot run: {reason}"))
    return fit


def time_all(
    measure: str, makers: dict[Contender, Callable[[], Any]], shape: Shape, settings: Settings,
    records: list[Record], tell: Tell,
) -> None:  # fmt: skip
    by_name = {contender.name: contender for contender in makers}
    if not makers:
        return
    jobs = {contender.name: make() for contender, make in makers.items()}
    samples, stopped = rounds(
        jobs, settings.rounds, settings.seed, settings.device,
        lambda seconds: tell(f"{measure}, {len(jobs)} contenders, {settings.rounds} rounds, about {seconds:.1f} s"),
    )  # fmt: skip
    for name, found in samples.items():
        if found:
            low, middle, high = spread(found)
            contender = by_name[name]
            checked = shape.steps_compared if contender.is_ours and contender.kind != "matrix products" else None
            records.append(
                record(measure, contender, shape, value=middle, low=low, high=high, samples=len(found),
                       checked_steps=checked)
            )  # fmt: skip
    if stopped:
        raise KeyboardInterrupt


def record(measure: str, contender: Contender, shape: Shape, **known: Any) -> Record:
    return Record(measure, contender.name, shape.batch, shape.steps, shape.hidden, contender.size, **known)
