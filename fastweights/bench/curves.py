"""Cost of the op, forward and backward, against time and against hidden units, for every backend that can run."""

import math
from collections.abc import Callable
from dataclasses import replace

from fastweights.bench.contenders import Contender, op
from fastweights.bench.gate import Shape, mismatch
from fastweights.bench.measure import check_device, record
from fastweights.bench.settings import Record, Settings
from fastweights.bench.timing import FEWEST, LONG, rounds, spread, threads
from fastweights.ops.fast_weights_rnn import BACKENDS

BATCH = 8
TIMES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # at HIDDEN units
HIDDENS = (32, 64, 128, 256, 512)  # at STEPS steps
HIDDEN, STEPS, ROUNDS = 64, 64, 5
COMPARED = 130  # steps: the comparison of a longer sequence with the reference stops there
POINTS = 10  # a point may take its share of the budget
MEMORY = 2**31  # bytes that a point may keep for its gradient


def curve(
    settings: Settings = Settings(),  # noqa: B008 - frozen
    *,
    times: tuple[int, ...] = TIMES,
    hiddens: tuple[int, ...] = HIDDENS,
    records: list[Record] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Record]:
    """Records of measures "curve time" and "curve hidden"; what is too long or too large for the budget is told."""
    check_device(settings)
    records = [] if records is None else records
    with threads(settings.threads):
        for measure, shapes in (
            ("curve time", [Shape(BATCH, t, HIDDEN, settings.inner_steps, settings.device) for t in times]),
            ("curve hidden", [Shape(BATCH, STEPS, h, settings.inner_steps, settings.device) for h in hiddens]),
        ):
            costs: dict[str, list[tuple[Shape, float]]] = {name: [] for name in BACKENDS}
            for shape in shapes:
                points(measure, shape, settings, costs, records, tell)
    return records


def points(
    measure: str, shape: Shape, settings: Settings, costs: dict[str, list[tuple[Shape, float]]],
    records: list[Record], tell: Callable[[str], None],
) -> None:  # fmt: skip
    """One point of the curve of every backend that can run it and is worth its time."""
    jobs, compared = {}, replace(shape, steps=min(shape.steps, COMPARED))
    for name, module in BACKENDS.items():
        contender = Contender(name, shape.hidden)
        reason = module.why_not(shape.call())
        expected, share = predicted(shape, costs[name]), settings.budget / POINTS
        if reason is None and expected > share:
            reason = f"about {expected:.0f} s, more than {share:.0f} s, its share of the budget: not timed"
        elif reason is None and (kept := kept_bytes(name, shape)) > MEMORY:
            reason = f"about {kept / 2**30:.0f} GiB for its gradient: not timed"
        wrong = False
        if reason is None and (difference := mismatch(name, compared)) is not None:
            reason, wrong = f"wrong: not timed ({difference})", True
        if reason is not None:
            records.append(record(measure, contender, shape, note=reason, wrong=wrong))
            tell(f"{measure.split()[1]}: {shape.steps} steps, hidden {shape.hidden}, {name}: {reason}")
        else:
            jobs[name] = op(name, shape, settings.seed)
    samples, stopped = rounds(jobs, min(ROUNDS, settings.rounds), settings.seed, settings.device)
    for name, found in samples.items():
        if not found:
            continue
        low, middle, high = spread(found)
        costs[name].append((shape, middle))
        records.append(
            record(measure, Contender(name, shape.hidden), shape, value=middle, low=low, high=high,
                   samples=len(found), checked_steps=compared.steps_compared)
        )  # fmt: skip
        tell(f"{measure.split()[1]}: {shape.steps} steps, hidden {shape.hidden}, {name}: {1e3 * middle:.2f} ms")
    if stopped:
        raise KeyboardInterrupt


def predicted(shape: Shape, timed: list[tuple[Shape, float]]) -> float:
    """Seconds of all calls of a point: on along the slope of the last two, or at the steepest there is, the square."""
    if not timed:
        return 0.0
    last, cost = timed[-1]
    growth = (size(shape) / size(last)) ** 2
    if len(timed) > 1:
        before, cheaper = timed[-2]
        slope = math.log(cost / cheaper) / math.log(size(last) / size(before))
        growth = (size(shape) / size(last)) ** max(1.0, slope)
    expected = cost * growth
    return expected * (FEWEST + 1 if expected > LONG else ROUNDS + FEWEST)


def size(shape: Shape) -> int:
    """What grows along a curve, times what does not."""
    return shape.steps * shape.hidden


def kept_bytes(backend: str, shape: Shape) -> int:
    """What autograd keeps of the two eager backends; the kernels keep time x hidden."""
    numbers = shape.batch * shape.steps * shape.hidden
    each = {"reference": 3 * shape.hidden, "attention": shape.steps}.get(backend, 8)
    return 4 * numbers * each
