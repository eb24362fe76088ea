"""What a scan costs beside torch's attention and nn.LSTM of equal width, once proven right."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastweights import memory, rules
from fastweights.bench.gate import FLOOR, distance
from fastweights.bench.settings import Record, ScanSettings
from fastweights.bench.timing import rounds, spread, threads
from fastweights.ops import fast_weights_scan
from fastweights.ops.fast_weights_scan import BACKENDS, check

COMPARED = 130  # tokens that are compared with the loop in float64
LOOP = 2**30  # bytes that the loop may keep for its gradient
PIECE = 10_000  # tokens that are read at once before one is streamed
COUNT = 512  # rows and columns of the matrix product that the floor is measured by
ATTENTION, LSTM, FLOORS = "attention (SDPA)", "nn.LSTM", "matrix products"
Works = dict[str, Callable[[], object]]
Inputs = tuple[Tensor, Tensor, Tensor]  # queries, keys, values


class Shape(NamedTuple):
    batch: int
    heads: int
    time: int
    size: int  # of a key and of a value

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.heads} heads of {self.size}, {self.time:,} tokens"

    def record(self, measure: str, contender: str, **known: Any) -> Record:
        return Record(measure, contender, self.batch, self.time, self.heads * self.size, self.size, **known)


def bench_scan(
    settings: ScanSettings = ScanSettings(),  # noqa: B008 - frozen
    *,
    records: list[Record] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Record]:
    """Records of measures "training" (forward and backward), "inference", "token" and "curve time", in seconds.

    Records are appended to `records` as they come: after Ctrl-C (KeyboardInterrupt) it holds what was measured.
    """
    records = [] if records is None else records
    shapes = [Shape(*each) for each in settings.sizes]
    rule = rules.scanned()[settings.rule]()
    curve = [Shape(1, 4, count, 64) for count in settings.tokens]
    memory.check(4 * 40 * max(b * h * t * d for b, h, t, d in (*shapes, *curve)), "--shapes and --tokens")
    with threads(settings.threads):
        for shape in shapes:
            tell(f"{shape}: comparing with the loop")
            fit = fits(rule, shape, settings.seed, "training", records)
            for measure in ("training", "inference"):
                time_all(measure, works(rule, shape, fit, measure, settings.seed), shape, settings, records, tell)
        for shape in curve:
            fit = fits(rule, shape, settings.seed, "curve time", records)
            measured = works(rule, shape, [name for name in fit if name != "reference"], "training", settings.seed)
            time_all("curve time", measured, shape, settings, records, tell)
        for count in settings.streamed:
            shape = Shape(1, 4, count, 64)
            tell(f"one token after {count:,}")
            time_all("token", streams(rule, shape, settings.seed, records), shape, settings, records, tell)
    return records


def draw(rule: Any, shape: Shape, seed: int, dtype: torch.dtype) -> tuple[Inputs, dict[str, Tensor]]:
    """Queries, keys of unit length and values; gates over their whole range, of decays the first unit."""
    batch, heads, time, size = shape
    g = torch.Generator().manual_seed(seed)
    many = getattr(rule, "substeps", 1) * time
    queries, keys, values = (torch.randn(batch, steps, heads, size, generator=g) for steps in (time, many, many))
    axes = {"token": (batch, time, heads), "substep": (batch, many, heads), "head": (heads,)}
    axes |= dict.fromkeys(("key", "value"), (batch, time, heads, size))
    gates = {}
    for name, gate in rule.GATES.items():
        low, high = max(gate.low, -1.0), min(gate.high, 1.0)
        drawn = low + (high - low) * torch.rand(*axes[gate.axes], generator=g)
        gates[name] = functional.normalize(drawn, dim=-1) if gate.form == "unit" else drawn
    queries, keys = functional.normalize(queries, dim=-1), functional.normalize(keys, dim=-1)
    queries, keys, values = (each.to(dtype).requires_grad_() for each in (queries, keys, values))
    return (queries, keys, values), {name: gate.to(dtype).requires_grad_() for name, gate in gates.items()}


def fits(rule: Any, shape: Shape, seed: int, measure: str, records: list[Record]) -> list[str]:
    """The backends that may be timed; the others get a record that says why not."""
    inputs, gates = draw(rule, shape, seed, torch.float32)
    call = check(*inputs, gates, rule, None, None, None, None)
    short = shape._replace(time=min(shape.time, COMPARED))
    true, plain = (results(rule, short, "reference", seed, dtype) for dtype in (torch.float64, torch.float32))
    found = []
    for name, backend in BACKENDS.items():
        reason, wrong = backend.why_not(call), False
        if reason is None and name == "reference":
            kept = 24 * shape.batch * shape.heads * shape.time * shape.size**2
            reason = f"about {kept / 2**30:.0f} GiB for its gradient: not timed" if kept > LOOP else None
        elif reason is None and (difference := mismatch(rule, short, name, seed, true, plain)) is not None:
            reason, wrong = f"wrong: not timed ({difference})", True
        if reason is None:
            found.append(name)
        else:
            records.append(shape.record(measure, name, note=reason, wrong=wrong))
    return found


def mismatch(rule: Any, shape: Shape, backend: str, seed: int, true: Any, plain: Any) -> str | None:
    """What of a backend is off by more than twice what the loop is in float32 (and FLOOR), or None."""
    try:
        got = results(rule, shape, backend, seed, torch.float32)
    except Exception as error:  # whatever it is: this backend is not to be timed
        return f"raises {type(error).__name__}: {error}"
    for name, wanted in true.items():
        error, bound = distance(got[name], wanted), max(FLOOR, 2 * distance(plain[name], wanted))
        if not error <= bound:  # NaN is wrong, too
            return f"{name} off by {error:.1e}, allowed {bound:.1e}"
    return None


def results(rule: Any, shape: Shape, backend: str, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    inputs, gates = draw(rule, shape, seed, dtype)
    outputs, state = fast_weights_scan(*inputs, gates, rule=rule, backend=backend)
    leaves = dict(zip(("queries", "keys", "values"), inputs, strict=True)) | gates
    weigh = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(seed + 1)).to(dtype)
    gradients = torch.autograd.grad((outputs * weigh).sum() + state.weights.mean(), list(leaves.values()))
    named = {f"gradient of {name}": each for name, each in zip(leaves, gradients, strict=True)}
    return {"outputs": outputs.detach(), "state": state.weights.detach(), **named}


def works(rule: Any, shape: Shape, backends: list[str], measure: str, seed: int) -> Works:
    batch, heads, time, size = shape
    inputs, gates = draw(rule, shape, seed, torch.float32)
    apart: Any = [torch.randn(batch, heads, time, size, requires_grad=True) for _ in range(3)]
    lstm, whole = nn.LSTM(heads * size, heads * size, batch_first=True), torch.randn(batch, time, heads * size)
    whole.requires_grad_()

    def ours(name: str) -> tuple[Callable[[], Tensor], list[Tensor]]:
        return lambda: fast_weights_scan(*inputs, gates, rule=rule, backend=name)[0], [*inputs, *gates.values()]

    def attention() -> Tensor:
        return functional.scaled_dot_product_attention(*apart, is_causal=True)

    calls = {name: ours(name) for name in backends}
    calls |= {ATTENTION: (attention, apart), LSTM: (lambda: lstm(whole)[0], [whole, *lstm.parameters()])}
    found = {name: timed(call, leaves, measure == "training") for name, (call, leaves) in calls.items()}
    square = torch.randn(COUNT, COUNT)
    return found | {FLOORS: lambda: square @ square}


def timed(call: Callable[[], Tensor], leaves: list[Tensor], trained: bool) -> Callable[[], object]:
    with torch.no_grad():
        weigh = torch.randn_like(call())

    def forward() -> object:
        with torch.no_grad():
            return call()

    return (lambda: torch.autograd.grad(call(), leaves, weigh)) if trained else forward


def products(shape: Shape, trained: bool) -> int:
    """Multiplications of the products of a gated delta rule in chunks of 32 tokens, forward or forward and backward."""
    chunk, (batch, heads, time, size) = 32, shape
    square, triangle = size**2, (chunk + 1) * size // 2
    each = 3 * square + 4 * triangle + trained * (6 * square + 10 * triangle)
    return batch * heads * time * each


@torch.no_grad()
def streams(rule: Any, shape: Shape, seed: int, records: list[Record]) -> Works:
    """One more token after those of the shape."""
    inputs, gates = draw(rule, shape._replace(time=1), seed, torch.float32)
    cache: Any = [torch.randn(shape.batch, shape.heads, shape.time, shape.size) for _ in range(2)]
    query, width = cache[0][:, :, :1].clone(), shape.heads * shape.size
    lstm, token, pair = (
        nn.LSTM(width, width),
        torch.randn(1, shape.batch, width),
        (torch.zeros(1, shape.batch, width),) * 2,
    )

    def ours(backend: str = "auto") -> Any:
        return fast_weights_scan(*inputs, gates, rule=rule, state=state, backend=backend)

    others: Works = {
        ATTENTION: lambda: functional.scaled_dot_product_attention(query, *cache),
        LSTM: lambda: lstm(token, pair),
    }
    state = None
    try:
        for begin in range(0, shape.time, PIECE):
            piece = shape._replace(time=min(PIECE, shape.time - begin))
            earlier, their_gates = draw(rule, piece, seed + begin, torch.float32)
            _, state = fast_weights_scan(*earlier, their_gates, rule=rule, state=state)
        got, want = ours(), ours("reference")
        error = max(distance(got[0], want[0]), distance(got[1].weights, want[1].weights))
        difference = f"off by {error:.1e}, allowed {FLOOR:.1e}"
    except Exception as raised:  # whatever it is: it is not to be timed
        error, difference = float("nan"), f"raises {type(raised).__name__}: {raised}"
    if error <= FLOOR:
        return {"auto": ours} | others
    records.append(shape.record("token", "auto", note=f"wrong: not timed ({difference})", wrong=True))
    return others


def time_all(
    measure: str, jobs: Works, shape: Shape, settings: ScanSettings, records: list[Record], tell: Callable[[str], None]
) -> None:
    what = f"{measure}, {shape}: {len(jobs)} contenders, {settings.rounds} rounds"
    samples, stopped = rounds(
        jobs,
        settings.rounds,
        settings.seed,
        tell=lambda seconds: tell(f"{what}, about {seconds:.1f} s"),
        clock=time.process_time if settings.threads == 1 else time.perf_counter,
    )
    for name, found in samples.items():
        if found:
            share = products(shape, measure != "inference") / COUNT**3 if name == FLOORS else 1.0
            low, middle, high = (share * each for each in spread(found))
            records.append(shape.record(measure, name, value=middle, low=low, high=high, samples=len(found)))
    if stopped:
        raise KeyboardInterrupt
