import itertools
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import tyro

from fastweights import files
from fastweights.bench.settings import DecodeSettings, Record, Settings
from fastweights.commands.parsing import MaybePath, parse
from fastweights.errors import UserError, plain


@dataclass(frozen=True)
class Bench:
    """What fast weights cost beside nn.LSTM and nn.GRU.

    Training, inference, one streamed token, memory and state. A backend is timed
      only after it matched the reference on the very shape that is timed; the
      exit code is 1 where one did not.
    """

    settings: tyro.conf.OmitArgPrefixes[Settings] = Settings()
    op: Literal["rnn", "decode"] = "rnn"
    """decode: a symbol of an answer, by the length of its source; it has options
      of its own (--op decode --help)."""
    curve: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure cost against time and hidden units instead."""
    json: MaybePath = None
    """The file that all numbers go into; none: none."""
    figure: MaybePath = None
    """The folder of the picture of --curve; none: none is drawn."""


@dataclass(frozen=True)
class BenchDecode:
    """What a symbol of an answer costs, by the length of its source: attention,
      fast weights and decoders without a memory, and the bytes of a stream.

    A decoder is timed only after its steps matched the whole answer at the very
      length that is timed; the exit code is 1 where one did not.
    """

    settings: tyro.conf.OmitArgPrefixes[DecodeSettings] = DecodeSettings()
    op: Literal["decode"] = "decode"
    """Other ops have other options (bench --help)."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """Three lengths, two memories, three rounds: half a minute."""
    json: MaybePath = None
    """The file that all numbers go into; none: none."""
    figure: MaybePath = None
    """The folder of the picture; none: none is drawn."""


QUICK: dict[str, Any] = {"sources": (5, 50, 500), "memories": ("attention", "delta"), "rounds": 3}


def main(arguments: list[str]) -> int:
    decode = op_of(arguments) == "decode"
    options: Any = parse(BenchDecode if decode else Bench, arguments, "fastweights bench")
    if options.figure is not None and not decode and not options.curve:
        raise UserError("--figure: got no --curve, wanted it, too: the picture is that of the curve")
    for path in (options.json, options.figure):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: got no folder {path.parent}, wanted one that is there")
    if options.json is not None:
        files.check(options.json, "a file for --json")
    if options.figure is not None:
        if options.figure.exists() and not options.figure.is_dir():
            raise UserError(f"--figure {options.figure}: got a file, wanted a folder")
        for ending in ("png", "svg"):
            files.check(options.figure / f"{'decode' if decode else 'curve'}.{ending}")

    from fastweights.bench import bench, bench_decoding, curve, describe_machine

    if decode and options.quick:
        options = replace(options, settings=replace(options.settings, **QUICK))
    measure = bench_decoding if decode else curve if options.curve else bench
    records: list[Record] = []
    try:
        measure(options.settings, records=records, tell=tell)
    except KeyboardInterrupt:
        finish(options, records, describe_machine(options.settings))
        raise KeyboardInterrupt("above is what was measured") from None
    return finish(options, records, describe_machine(options.settings))


def op_of(arguments: list[str]) -> str | None:
    """What --op names: it decides which options there are."""
    for one, following in itertools.pairwise([*arguments, ""]):
        if one == "--op" or one.startswith("--op="):
            return one.partition("=")[2] or following
    return None


def finish(options: Any, records: list[Record], machine: dict[str, Any]) -> int:
    """The table, the JSON and the picture; 1 where a backend was wrong."""
    from fastweights.bench.decoding_figure import draw_decoding
    from fastweights.bench.decoding_table import show_decoding
    from fastweights.bench.figure import draw_curve
    from fastweights.bench.table import show

    decode = isinstance(options, BenchDecode)
    if records:
        print((show_decoding if decode else show)(records, machine))
    if options.json is not None:
        content = {"machine": machine, "settings": asdict(options.settings)}
        files.write_json(options.json, content | {"records": [record.as_json() for record in records]})
    if options.figure is not None:
        for path in (draw_decoding if decode else draw_curve)(records, options.figure):
            print(plain(str(path)))
    return int(any(record.wrong for record in records))


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
