"""Cost of the op, forward and backward, against time and against hidden units, for every backend that can run."""

import time
from collections.abc import Callable

from fastweights.bench.contenders import Contender, op
from fastweights.bench.gate import Shape, mismatch
from fastweights.bench.measure import check_device, record
from fastweights.bench.settings import Record, Settings
from fastweights.bench.timing import rounds, spread, threads
from fastweights.ops.fast_weights_rnn import BACKENDS

BATCH = 8
TIMES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # at HIDDEN units
HIDDENS = (32, 64, 128, 256, 512)  # at STEPS steps
HIDDEN, STEPS, ROUNDS = 64, 64, 5
CALLS = 8  # a point costs about so many calls, the comparison with the reference aside
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
            began, spans = time.monotonic(), settings.budget / 2
            costs: dict[str, tuple[Shape, float]] = {}  # the last point of each backend
            for shape in shapes:
                left = began + spans - time.monotonic()
                points(measure, shape, settings, costs, left, records, tell)
    return records


def points(
    measure: str, shape: Shape, settings: Settings, costs: dict[str, tuple[Shape, float]], left: float,
    records: list[Record], tell: Callable[[str], None],
) -> None:  # fmt: skip
    """One point of the curve of every backend that can run it and is worth its time."""
    jobs = {}
    for name, module in BACKENDS.items():
        contender = Contender(name, shape.hidden)
        reason = module.why_not(shape.call())
        expected = CALLS * predicted(shape, *costs[name]) if name in costs else 0.0
        if reason is None and expected > left:
            reason = f"about {expected:.0f} s, and {max(left, 0):.0f} s are left of the budget: not timed"
        elif reason is None and (kept := kept_bytes(name, shape)) > MEMORY:
            reason = f"about {kept / 2**30:.0f} GiB for its gradient: not timed"
        wrong = False
        if reason is None and (difference := mismatch(name, shape)) is not None:
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
        costs[name] = (shape, middle)
        records.append(
            record(measure, Contender(name, shape.hidden), shape, value=middle, low=low, high=high,
                   samples=len(found), checked_steps=shape.steps_compared)
        )  # fmt: skip
        tell(f"{measure.split()[1]}: {shape.steps} steps, hidden {shape.hidden}, {name}: {1e3 * middle:.2f} ms")
    if stopped:
        raise KeyboardInterrupt


def predicted(shape: Shape, last: Shape, cost: float) -> float:
    """At the steeper slope: both grow as the square."""
    return cost * (shape.steps / last.steps * shape.hidden / last.hidden) ** 2


def kept_bytes(backend: str, shape: Shape) -> int:
    """What autograd keeps of the two eager backends; the kernels keep time x hidden."""
    numbers = shape.batch * shape.steps * shape.hidden
    each = {"reference": 3 * shape.hidden, "attention": shape.steps}.get(backend, 8)
    return 4 * numbers * each
