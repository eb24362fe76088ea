"""One symbol of an answer, for every memory: what it costs as the source grows, once proven right."""

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastweights import memory
from fastweights.bench.gate import FLOOR, distance
from fastweights.bench.settings import DecodeSettings, Record
from fastweights.bench.timing import rounds, spread, threads
from fastweights.nn import CompiledDecoder, EncoderDecoder, FastWeightsTransducer, memories
from fastweights.nn.compiled_decoder import why_not

INPUTS, OUTPUTS = 27, 40  # letters; phones and an end
SOURCES = 4  # that are told apart
SYMBOLS = 6  # of an answer, for the comparison
COMPILED = " compiled"  # ends the name of a decoder whose step is one call


class Decoder(NamedTuple):
    model: Any  # what says the whole answer
    exact: Any  # the same in float64
    stream: Any  # what is timed: the model, or its compiled step


def bench_decoding(
    settings: DecodeSettings = DecodeSettings(),  # noqa: B008 - frozen
    *,
    records: list[Record] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Record]:
    """Records of measures "symbol" (seconds a symbol of a stream) and "stream" (bytes).

    Records are appended to `records` as they come: after Ctrl-C (KeyboardInterrupt) it holds what was measured.
    """
    records = [] if records is None else records
    largest = 4 * 8 * max(settings.batches) * max(settings.sources) * 128  # keys and values of all that keep them
    memory.check(largest, "--batches and --sources")
    with threads(settings.threads), torch.no_grad():
        decoders = made(settings)
        for source in settings.sources:
            tell(f"sources of {source} symbols: comparing with whole answers")
            measure_source(decoders, source, settings, records, tell)
    return records


def made(settings: DecodeSettings) -> dict[str, Decoder]:
    """Decoders without a memory, with each, and the network that has read the source itself; equally many weights."""
    builds: dict[str, Callable[[], Any]] = {
        "nn.GRU": lambda: EncoderDecoder(INPUTS, OUTPUTS, memory="last-state"),
        "nn.LSTM": lambda: EncoderDecoder(INPUTS, OUTPUTS, memory="last-state", backbone="lstm"),
    }
    for name in settings.memories or [name for name in memories.registered() if name != "last-state"]:
        builds[name] = lambda name=name: EncoderDecoder(INPUTS, OUTPUTS, memory=name)
    builds["FastWeightsRNN"] = lambda: FastWeightsTransducer(INPUTS, OUTPUTS)
    found: dict[str, Decoder] = {}
    with torch.random.fork_rng(devices=[]):
        for name, build in builds.items():
            torch.manual_seed(settings.seed)
            model = build().eval()
            exact = deepcopy(model).double()
            found[name] = Decoder(model, exact, model)
            if why_not(model) is None:
                found[name + COMPILED] = Decoder(model, exact, CompiledDecoder(model))
    return found


def measure_source(
    decoders: dict[str, Decoder], source: int, settings: DecodeSettings, records: list[Record],
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(settings.seed)
    sources = torch.randint(INPUTS, (SOURCES, source), generator=generator)
    answer = torch.randint(OUTPUTS - 1, (SOURCES, SYMBOLS - 1), generator=generator)
    target_in = torch.cat([torch.full((SOURCES, 1), OUTPUTS), answer], dim=1)
    jobs: dict[int, dict[str, Callable[[], object]]] = {batch: {} for batch in settings.batches}
    whole: dict[int, tuple[Tensor, Tensor, Any]] = {}  # a model and its compiled step have the same
    for name, decoder in decoders.items():
        if id(decoder.model) not in whole:
            answers = (each(sources, target_in) for each in (decoder.exact, decoder.model))
            whole[id(decoder.model)] = (*answers, decoder.model.encode(sources))
        true, plain, state = whole[id(decoder.model)]
        if decoder.stream is not decoder.model:
            state = decoder.stream.prepared(state)
        for batch in settings.batches:
            rows = torch.arange(batch) % SOURCES
            streams = state.select(rows)
            difference = mismatch(decoder.stream, streams, target_in[rows], true[rows], plain[rows])
            if difference is not None:
                note = f"wrong: not timed ({difference})"
                records.append(Record("symbol", name, batch, source, OUTPUTS, 0, note=note, wrong=True))
                continue
            records.append(Record("stream", name, batch, source, OUTPUTS, 0, value=streams.bytes / batch))
            jobs[batch][name] = symbol(decoder.stream, target_in[rows, 0], streams)
    for batch, works in jobs.items():
        time_all(works, batch, source, settings, records, tell)


def symbol(stream: Any, symbols: Tensor, state: Any) -> Callable[[], object]:
    return lambda: stream.step(symbols, state)


def mismatch(stream: Any, state: Any, target_in: Tensor, true: Tensor, plain: Tensor) -> str | None:
    """What differs of the answers step by step from `true`, the whole one in float64, or None.

    The error of each step, relative in the 2-norm, may be twice that of `plain`, the whole answer in float32 (and
    FLOOR).
    """
    for place, symbols in enumerate(target_in.unbind(1)):
        try:
            answers, state = stream.step(symbols, state)
        except Exception as error:  # whatever it is: this decoder is not to be timed
            return f"raises {type(error).__name__}: {error}"
        error, eager = distance(answers, true[:, place]), distance(plain[:, place], true[:, place])
        bound = max(FLOOR, 2 * eager)
        if not error <= bound:  # NaN is wrong, too
            return f"symbol {place + 1} off by {error:.1e}, allowed {bound:.1e}"
    return None


def time_all(
    works: dict[str, Callable[[], object]], batch: int, source: int, settings: DecodeSettings, records: list[Record],
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    what = f"sources of {source} symbols, batch {batch}: {len(works)} decoders, {settings.rounds} rounds"
    samples, stopped = rounds(
        works,
        settings.rounds,
        settings.seed,
        tell=lambda seconds: tell(f"{what}, about {seconds:.1f} s"),
        clock=time.process_time if settings.threads == 1 else time.perf_counter,
    )
    for name, found in samples.items():
        if found:
            low, middle, high = (each / batch for each in spread(found))
            known: Any = {"value": middle, "low": low, "high": high, "samples": len(found)}
            records.append(Record("symbol", name, batch, source, OUTPUTS, 0, **known))
    if stopped:
        raise KeyboardInterrupt
