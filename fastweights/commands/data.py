import textwrap
from dataclasses import fields, make_dataclass
from pathlib import Path

import tyro

from fastweights.commands import fetch
from fastweights.commands.parsing import parse
from fastweights.errors import UserError, plain
from fastweights.tasks import TASKS, find_task
from fastweights.tasks.image_rows import MD5
from fastweights.tasks.task import check_integer
from fastweights.training.config import MOST_SEQUENCES

MOST_SHOWN = 100  # characters of the first line
LINE = 250  # bytes at least of one that waits to be written


def main(arguments: list[str]) -> None:
    """fastweights data TASK --train N --valid N --output DIR and the fields of the task; or mnist --data-dir DIR."""
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name is None and arguments[:1] in (["-h"], ["--help"]):
        known = textwrap.fill(f"tasks: {', '.join(TASKS)}, or your own package.module:Class", 78)
        known += f"\nfiles that are fetched: {', '.join(MD5)}"
        print(f"usage: fastweights data TASK [options]\n\n{known}\n\n`fastweights data {next(iter(TASKS))} --help` "
              "lists its options.")  # fmt: skip
        return
    if name is None:
        raise UserError(f"got no task (tasks: {', '.join(TASKS)}, or package.module:Class)")
    if name in MD5:
        return fetch.main(name, arguments[1:])
    kind = find_task(name)
    if hasattr(kind, "read"):
        raise UserError(f"task {name}: got one whose sequences stand in a file of yours, wanted one that draws them")
    options = [("train", int, 64_000), ("valid", int, 32_000), ("seed", int, 0), ("output", Path, Path("data"))]
    for taken in {option for option, *_ in options} & {field.name for field in fields(kind)}:
        raise UserError(f"task {name}: got a field {taken}, wanted another name, for the command has --{taken}")
    task = ("task", tyro.conf.OmitArgPrefixes[kind], kind())
    said = {"__doc__": "Draw sequences into train.csv and valid.csv, pairs into train.tsv and valid.tsv."}
    made = make_dataclass("Data", [task, *options], namespace=said)
    chosen = parse(made, arguments[1:], f"fastweights data {name}")

    from fastweights.tasks.lines import to_lines
    from fastweights.training import data
    from fastweights.training.fits import check_sequences

    for option, low, high in (("train", 1, MOST_SEQUENCES), ("valid", 1, MOST_SEQUENCES), ("seed", 0, 2**63 - 2)):
        check_integer(f"--{option}", getattr(chosen, option), low, high)
    check_sequences(chosen.task, (chosen.train, chosen.valid), "--train and --valid", LINE)
    drawn = data.draw(chosen.task, chosen.train, chosen.valid, chosen.seed)
    data.write(drawn, chosen.output, chosen.seed)
    first = to_lines(drawn.task, drawn.train.select(slice(1)))[0] if drawn.train is not None else ""
    names = data.file_names(drawn.task)
    print(
        f"{plain(str(chosen.output))}/{names[0]} ({chosen.train:,} lines), {names[1]} ({chosen.valid:,}) and data.json "
        f"(their hashes); the first line: {plain(first if len(first) <= MOST_SHOWN else first[:MOST_SHOWN] + '...')}"
    )
