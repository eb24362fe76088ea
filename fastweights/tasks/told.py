"""Which task the sequences of a file are of, where nobody says."""

from itertools import islice
from pathlib import Path

from fastweights import files
from fastweights.errors import UserError
from fastweights.tasks.own_lines import OwnLines
from fastweights.tasks.own_pairs import OwnPairs
from fastweights.tasks.registry import find_task
from fastweights.tasks.task import has_text

LONGEST = 100_000  # characters of a first line


def task_told(path: Path, usual: str) -> str:
    """The task's name: the `usual` one if the first line or `fastweights data` says so, else own-lines or, of pairs
    with a tab between, own-pairs.

    path: what can be read again (`files.readable_again`).
    """
    folder = path.is_dir()
    if folder and files.exists(path / "data.json"):  # it names the task, and another one is refused
        return usual
    kind, pairs = find_task(usual), OwnPairs.NAME
    if path.suffix == ".tsv" or (folder and files.exists(path / "train.tsv")):
        return usual if kind().spec.pairs else pairs
    if not has_text(kind):
        return usual
    try:
        with open(path / "train.csv" if folder else path, encoding="utf-8-sig") as file:
            first = "".join(islice(file, 1))[:LONGEST].strip()
    except (OSError, UnicodeDecodeError):
        return usual
    if first.count("\t") == 1 and "," not in first:
        return pairs
    text, _, answer = first.partition(",")
    try:
        return usual if not first or kind.from_text(text).answer(text) == answer else OwnLines.NAME
    except UserError:
        return OwnLines.NAME
