import itertools
import sys
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Literal, NamedTuple

import tyro

from fastweights import files
from fastweights.bench.settings import DecodeSettings, Record, ScanSettings, Settings
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
    op: Literal["rnn", "decode", "scan"] = "rnn"
    """decode: a symbol of an answer, by the length of its source; scan: a scan over
      tokens, beside attention. They have options of their own (--op scan --help)."""
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


@dataclass(frozen=True)
class BenchScan:
    """What a scan over tokens costs beside torch's attention and nn.LSTM of equal
      width, forward and backward, forward alone, and one streamed token.

    A backend is timed only after it matched the loop over tokens in float64; the
    exit code is 1 where one did not.
    """

    settings: tyro.conf.OmitArgPrefixes[ScanSettings] = ScanSettings()
    op: Literal["scan"] = "scan"
    """Other ops have other options (bench --help)."""
    json: MaybePath = None
    """The file that all numbers go into; none: none."""
    figure: MaybePath = None
    """The folder of the picture of the curve; none: none is drawn."""


class Op(NamedTuple):
    options: Any
    measure: str  # of `fastweights.bench`
    table: str  # the module and its function
    picture: str
    name: str  # of the picture's file


OPS = {
    "rnn": Op(Bench, "bench", "table:show", "figure:draw_curve", "curve"),
    "decode": Op(
        BenchDecode, "bench_decoding", "decoding_table:show_decoding", "decoding_figure:draw_decoding", "decode"
    ),
    "scan": Op(BenchScan, "bench_scan", "scan_table:show_scan", "scan_figure:draw_scan", "scan"),
}
QUICK: dict[str, Any] = {"sources": (5, 50, 500), "memories": ("attention", "delta"), "rounds": 3}


def main(arguments: list[str]) -> int:
    op = OPS.get(op_of(arguments) or "rnn", OPS["rnn"])
    options: Any = parse(op.options, arguments, "fastweights bench")
    curve = getattr(options, "curve", True)
    if options.figure is not None and not curve:
        raise UserError("--figure: got no --curve, wanted it, too: the picture is that of the curve")
    for path in (options.json, options.figure):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: got no folder {path.parent}, wanted one that is there")
    if options.json is not None:
        files.check(options.json, "a file for --json")
        if options.json.suffix.lower() != ".json":
            raise UserError(f"--json {options.json}: wanted a name that ends in .json")
    if options.figure is not None:
        if options.figure.exists() and not options.figure.is_dir():
            raise UserError(f"--figure {options.figure}: got a file, wanted a folder")
        for ending in ("png", "svg"):
            files.check(options.figure / f"{op.name}.{ending}")

    from fastweights import bench

    if getattr(options, "quick", False):
        options = replace(options, settings=replace(options.settings, **QUICK))
    measure = getattr(bench, "curve" if op.options is Bench and curve else op.measure)
    records: list[Record] = []
    try:
        measure(options.settings, records=records, tell=tell)
    except KeyboardInterrupt:
        finish(op, options, records, bench.describe_machine(options.settings))
        raise KeyboardInterrupt("above is what was measured") from None
    return finish(op, options, records, bench.describe_machine(options.settings))


def op_of(arguments: list[str]) -> str | None:
    """What --op names: it decides which options there are."""
    for one, following in itertools.pairwise([*arguments, ""]):
        if one == "--op" or one.startswith("--op="):
            return one.partition("=")[2] or following
    return None


def finish(op: Op, options: Any, records: list[Record], machine: dict[str, Any]) -> int:
    """The table, the JSON and the picture; 1 where a backend was wrong."""
    if records:
        print(found(op.table)(records, machine))
    if options.json is not None:
        content = {"machine": machine, "settings": asdict(options.settings)}
        files.write_json(options.json, content | {"records": [record.as_json() for record in records]})
    if options.figure is not None:
        for path in found(op.picture)(records, options.figure):
            print(plain(str(path)))
    return int(any(record.wrong for record in records))


def found(place: str) -> Any:
    """A function of the bench, whose module waits for torch."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"fastweights.bench.{module}"), name)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
