from dataclasses import make_dataclass
from pathlib import Path

import tyro

from fastweights.cli import parse
from fastweights.config import MOST_SEQUENCES, near
from fastweights.tasks import TASKS


def main(arguments: list[str]) -> None:
    """fastweights data TASK --train N --valid N --output DIR and the fields of the task."""
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    if name is None and arguments[:1] in (["-h"], ["--help"]):
        print(f"usage: fastweights data TASK [options]\n\ntasks: {', '.join(TASKS)}\n\n"
              f"`fastweights data {next(iter(TASKS))} --help` lists its options.")  # fmt: skip
        return
    if name not in TASKS:
        got = f"unknown task {name!r}{near(name, TASKS)}" if name else "got no task"
        raise ValueError(f"{got} (tasks: {', '.join(TASKS)})")
    kind = TASKS[name]
    fields = [
        ("task", tyro.conf.OmitArgPrefixes[kind], kind()),
        ("train", int, 64_000),
        ("valid", int, 32_000),
        ("seed", int, 0),
        ("output", Path, Path("data")),
    ]
    options = make_dataclass("Data", fields, namespace={"__doc__": "Draw sequences into train.csv and valid.csv."})
    chosen = parse(options, arguments[1:], f"fastweights data {name}")

    from fastweights import data
    from fastweights.tasks.batch import check_integer

    for option, low, high in (("train", 1, MOST_SEQUENCES), ("valid", 1, MOST_SEQUENCES), ("seed", 0, 2**63 - 2)):
        check_integer(f"--{option}", getattr(chosen, option), low, high)
    drawn = data.draw(chosen.task, chosen.train, chosen.valid, chosen.seed)
    data.write(drawn, chosen.output, chosen.seed)
    first = drawn.task.decode(drawn.train.tokens[0])
    print(
        f"{chosen.output}/train.csv ({chosen.train:,} lines), valid.csv ({chosen.valid:,}) and data.json "
        f"(their hashes); the first line: {first},{drawn.task.CLASSES[int(drawn.train.targets[0])]}"
    )
