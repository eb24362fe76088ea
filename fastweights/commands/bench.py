import sys
from dataclasses import asdict, dataclass
from typing import Any

import tyro

from fastweights import files
from fastweights.bench.settings import Record, Settings
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
    curve: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure cost against time and hidden units instead."""
    json: MaybePath = None
    """The file that all numbers go into; none: none."""
    figure: MaybePath = None
    """The folder of the picture of --curve; none: none is drawn."""


def main(arguments: list[str]) -> int:
    options = parse(Bench, arguments, "fastweights bench")
    if options.figure is not None and not options.curve:
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
            files.check(options.figure / f"curve.{ending}")

    from fastweights.bench import bench, curve, describe_machine

    records: list[Record] = []
    try:
        (curve if options.curve else bench)(options.settings, records=records, tell=tell)
    except KeyboardInterrupt:
        finish(options, records, describe_machine(options.settings))
        raise KeyboardInterrupt("above is what was measured") from None
    return finish(options, records, describe_machine(options.settings))


def finish(options: Bench, records: list[Record], machine: dict[str, Any]) -> int:
    """The table, the JSON and the picture; 1 where a backend was wrong."""
    from fastweights.bench.figure import draw_curve
    from fastweights.bench.table import show

    if records:
        print(show(records, machine))
    if options.json is not None:
        content = {"machine": machine, "settings": asdict(options.settings)}
        files.write_json(options.json, content | {"records": [record.as_json() for record in records]})
    if options.figure is not None:
        for path in draw_curve(records, options.figure):
            print(plain(str(path)))
    return int(any(record.wrong for record in records))


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
