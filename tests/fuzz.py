"""Random and broken inputs: `make fuzz`, or `python tests/fuzz.py --count 100000 --seed 0 [--only KIND]`.

Sequences, CSV, JSON, safetensors and options are broken at random and given to the library in this process. Each must
end well, with a UserError, or with the exit code 0 or 2 of a command and one line; anything else is printed with its
seed and its place, which give it back. No input may take LONGEST seconds, nor the process more than MEMORY.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import run_jobs_here

from fastweights import cli
from fastweights.errors import UserError, in_one_line
from fastweights.training import run_folder

LONGEST = 10  # seconds
MEMORY = 2 * 2**30  # bytes
TINY = "--hidden-size 4 --epochs 2 --train-size 32 --valid-size 16 --test-size 16 --batch-size 16 --num-pairs 2".split()
NASTY = [
    "", " ", "\n", "\r", "\t", "\0", "-", "--", "=", ",", ":", "?", "0", "-1", "1e999", "nan", "inf", "-0.0", "0x10",
    "1_000", "9" * 30, "9" * 5000, "1.5", "True", "null", "None", "é", "٣", "😀", "\u2028", "\x1b[31m", "\x07", "\x7f",
    "[red]", "[/]", ":smile:", "$x$", "%s", "{}", "../..", "/", "/dev/null", "a" * 300, "a:b", "os:system", "~",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**40, 10**400, 0.0, -0.5, 1e300, float("nan"), float("inf"), "", "x", [],
    [1], ["a", None], {}, {"a": 1}, [[[]]], *NASTY[:30],
]  # fmt: skip

Run = Callable[[random.Random], None]


class Late(Exception):
    pass


# what is broken, and how


def break_text(draw: random.Random, text: str) -> str:
    for _ in range(draw.choice([1, 1, 2, 5])):
        place, way = draw.randint(0, len(text)), draw.randrange(6)
        if way == 0:
            text = text[:place] + draw.choice(NASTY) + text[place:]
        elif way == 1:
            text = text[:place] + text[place + draw.randint(1, 4) :]
        elif way == 2:
            text = text[:place] + chr(draw.randrange(draw.choice([128, 0xD800, 0x10FFFF]))) + text[place + 1 :]
        elif way == 3:
            other = draw.randint(0, len(text))
            text = text[: min(place, other)] + text[max(place, other) :] + text[min(place, other) : max(place, other)]
        elif way == 4:
            text = text[:place] * draw.choice([0, 1, 2, 3]) + text[place:]
        else:
            text = text.replace(draw.choice("a1?,.: 05-") or "a", draw.choice(NASTY), draw.randint(1, 3))
        text = text[:20_000]
    return text


def break_bytes(draw: random.Random, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        place, way = draw.randint(0, len(found)), draw.randrange(5)
        if way == 0 and found:
            found[place % len(found)] ^= 1 << draw.randrange(8)
        elif way == 1:
            found[place : place + draw.randint(1, 64)] = b""
        elif way == 2:
            found[place:place] = draw.randbytes(draw.randint(1, 64))
        elif way == 3:
            del found[place:]
        else:
            found[place : place + 8] = draw.choice([b"\xff" * 8, b"\0" * 8, b"\n" * 8, draw.randbytes(8)])
    return bytes(found)


def break_json(draw: random.Random, content: Any) -> Any:
    """One of its values is another, or gone, or there is one more."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in pairs:
            places.append((value, key))
            walk(inner)

    content = json.loads(json.dumps(content))
    walk(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        holder, key = draw.choice(places)
        way = draw.randrange(8)
        if isinstance(holder, list) and key >= len(holder):
            continue
        if way == 0:
            holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
        elif way == 1 and isinstance(holder, dict):
            holder[draw.choice(NASTY)] = draw.choice(VALUES)
        elif way == 2:
            other, name = draw.choice(places)
            with contextlib.suppress(LookupError):
                holder[key] = json.loads(json.dumps(other[name]))
        elif way == 3 and isinstance(holder.get(key) if isinstance(holder, dict) else holder[key], str):
            holder[key] = break_text(draw, holder[key])
        else:
            holder[key] = draw.choice(VALUES)
    return content


def write_json(draw: random.Random, path: Path, content: Any) -> None:
    if draw.random() < 0.15:
        path.write_bytes(break_bytes(draw, json.dumps(content).encode()))
    elif draw.random() < 0.02:
        path.write_text("[" * draw.choice([50, 5000, 200_000]))
    else:
        path.write_text(json.dumps(break_json(draw, content)))


# the kinds of inputs


class Inputs:
    """A trained run, a table and sequences in a folder; each method gives one broken input to what reads it."""

    def __init__(self, where: Path) -> None:
        from fastweights.training import data
        from fastweights.training.description import load_run

        self.where = where
        for name, model in (("FW", "RNN-LN-FW"), ("GRU", "GRU")):
            command("train", model, *TINY, "--run", where / name)
        self.model, self.task, self.described = load_run(where / "FW")
        self.files = {name: (where / "FW" / name).read_bytes() for name in run_folder.FILES}
        from fastweights.tasks import TASKS

        self.tasks = [task for kind in TASKS.values() if not hasattr(kind, "read") and not missing(task := kind())]
        self.lines = {}
        for task in self.tasks:
            drawn = data.draw(task, 6, 2, 0)
            data.write(drawn, where / task.NAME, 0)
            self.lines[task.NAME] = (where / task.NAME / "train.csv").read_text()
        shutil.copytree(where / "FW", where / "broken")

    def sequences(self, draw: random.Random) -> None:
        task = draw.choice([task for task in self.tasks if hasattr(task, "encode")])
        text = break_text(draw, self.lines[task.NAME].split(",")[0])
        try:
            told = type(task).from_text(text)
            told.decode(told.encode(text))
        except UserError as error:
            said(error)
        task.decode(task.encode(text))

    def csv(self, draw: random.Random) -> None:
        from fastweights.training import data

        task, path = draw.choice(self.tasks), self.where / "broken.csv"
        content = self.lines[task.NAME]
        if draw.random() < 0.5:
            path.write_bytes(break_bytes(draw, content.encode()))
        else:
            path.write_bytes(break_text(draw, content).encode("utf-8", "surrogatepass"))
        data.load(path, draw.choice([task, *self.tasks]))

    def json(self, draw: random.Random) -> None:
        """One file of a run, of a table or of a data folder; everything that reads it."""
        kind = draw.choice(["config", "config", "metrics", "timings", "final", "result", "search", "data"])
        getattr(self, f"_{kind}")(draw)

    def _config(self, draw: random.Random) -> None:
        from fastweights.training.description import load_run
        from fastweights.training.metric import Metric

        folder = self.where / "broken"
        write_json(draw, folder / run_folder.CONFIG, json.loads(self.files[run_folder.CONFIG]))
        with contextlib.suppress(UserError):
            plots(folder)
        try:
            Metric.stored(run_folder.read_description(folder))
            load_run(folder)
        finally:
            (folder / run_folder.CONFIG).write_bytes(self.files[run_folder.CONFIG])

    def _rows(self, draw: random.Random, name: str) -> None:
        from fastweights.commands.train import cells

        folder = self.where / "broken"
        rows = [json.loads(line) for line in self.files[name].splitlines()]
        place = draw.randrange(len(rows))
        rows[place] = break_json(draw, rows[place])
        content = "\n".join(json.dumps(row) for row in rows).encode() + draw.choice([b"", b"\n"])
        (folder / name).write_bytes(content if draw.random() < 0.8 else break_bytes(draw, content))
        try:
            found = run_folder.read_rows(folder / name)
            plots(folder)
            if name == run_folder.METRICS and found:
                cells(folder, found[-1], ["loss"])
            elif name == run_folder.TIMINGS:
                cells(folder, json.loads(self.files[run_folder.METRICS].splitlines()[-1]), ["loss"])
        finally:
            (folder / name).write_bytes(self.files[name])

    def _metrics(self, draw: random.Random) -> None:
        self._rows(draw, run_folder.METRICS)

    def _timings(self, draw: random.Random) -> None:
        self._rows(draw, run_folder.TIMINGS)

    def _final(self, draw: random.Random) -> None:
        path = self.where / "broken" / run_folder.FINAL
        write_json(draw, path, json.loads(self.files[run_folder.FINAL]))
        try:
            run_folder.read_final(path.parent)
        finally:
            path.write_bytes(self.files[run_folder.FINAL])

    def _result(self, draw: random.Random) -> None:
        from fastweights.papers import paper
        from fastweights.papers.table import pages, results, tables

        folder, module = self.where / "results/goku2016", paper("goku2016")
        folder.mkdir(parents=True, exist_ok=True)
        path = draw.choice(sorted(Path(__file__).parent.parent.glob("results/goku2016/*.json")))
        write_json(draw, folder / path.name, json.loads(path.read_text()))
        try:
            found, _ = results.read(folder, module.RUNS)
            for table in tables.tables(module, module.RUNS, found):
                tables.terminal(table)
            pages.section("goku2016", module, folder)
            if draw.random() < 0.02:
                module.figure([record for each in found.values() for record in each])
        finally:
            (folder / path.name).unlink()

    def _search(self, draw: random.Random) -> None:
        from fastweights.papers import paper
        from fastweights.papers.table import pages, search

        folder = self.where / "searched"
        folder.mkdir(exist_ok=True)
        content = json.loads((Path(__file__).parent.parent / "results/ba2016-retrieval/search.json").read_text())
        cell = draw.choice(list(content["cells"]))
        content["cells"] = {cell: content["cells"][cell]}
        content["cells"][cell]["tried"] = content["cells"][cell]["tried"][:3]
        write_json(draw, folder / search.FILE, content)
        search.chosen(folder)
        pages.searched("ba2016-retrieval", paper("ba2016-retrieval"), search.read(folder))

    def _data(self, draw: random.Random) -> None:
        from fastweights.training import data

        task = draw.choice(self.tasks)
        path = self.where / task.NAME / "data.json"
        content = path.read_bytes()
        write_json(draw, path, json.loads(content))
        try:
            data.load(path.parent, draw.choice(self.tasks))
        finally:
            path.write_bytes(content)

    def safetensors(self, draw: random.Random) -> None:
        from fastweights.training.checkpoints import load_checkpoint, load_weights
        from fastweights.training.loop import Progress

        path, content = self.where / "broken.safetensors", self.files[run_folder.CHECKPOINT]
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        way = draw.randrange(3)
        if way == 0:
            content = break_bytes(draw, content[:8]) + break_bytes(draw, content[8 : 8 + size]) + content[8 + size :]
        elif way == 1:
            said_there = json.loads(header["__metadata__"]["fastweights"])
            if draw.random() < 0.5:
                header["__metadata__"]["fastweights"] = json.dumps(break_json(draw, said_there))
            elif draw.random() < 0.5:
                header["__metadata__"]["fastweights"] = break_text(draw, json.dumps(said_there))
            else:
                header = break_json(draw, header)
            made = json.dumps(header).encode()
            content = len(made).to_bytes(8, "little") + made + content[8 + size :]
        else:
            content = break_bytes(draw, content)
        path.write_bytes(content)
        tensors, found = load_checkpoint(path)
        load_weights(self.model, tensors, path)
        with contextlib.suppress(LookupError, TypeError, ValueError):
            Progress.from_json(found["progress"])

    def options(self, draw: random.Random) -> None:
        """A command with broken options, as far as the first process that it would start."""
        base = draw.choice(
            [
                ["train", draw.choice(["GRU", "RNN-LN-FW", "IRNN", "LSTM-LN"]), *TINY, "--run", "new"],
                [
                    "train",
                    "RNN-LN-FW",
                    "--rule",
                    "Hebbian",
                    "--decay",
                    "0.9",
                    "--inner-steps",
                    "2",
                    *TINY,
                    "--run",
                    "new",
                ],
                ["train", "GRU", "--task", "copying", *TINY[:-2], "--data", "copying", "--run", "new"],
                ["train", "RNN-LN-FW", *TINY, "--run", "FW", "--resume"],
                ["data", draw.choice(["copying", "adding"]), "--train", "4", "--valid", "4", "--output", "drawn"],
                ["sample", "RNN-LN-FW", "a1b2??a", "--run", "FW"],
                ["diagnose", "RNN-LN-FW", "--sequences", "2", "--run", "FW"],
                ["bench", "--batch", "2", "--steps", "3", "--hidden", "4", "--rounds", "1", "--json", "x.json"],
                ["reproduce", "goku2016", "--only", "CONTROL", "--seeds", "1", "--run", "r"],
                ["backends"],
                ["plot", "GRU", "--output", "drawn"],
            ]
        )
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            place, way = draw.randrange(len(base)), draw.randrange(6)
            value = draw.choice([*NASTY, *map(str, VALUES)]).replace("\0", "")
            if way == 0:
                base.pop(place)
            elif way == 1:
                base.insert(place, value)
            elif way == 2:
                base[place] = break_text(draw, base[place]).replace("\0", "")
            elif way == 3:
                base.insert(place, base[draw.randrange(len(base))])
            else:
                base[place] = value
            if not base:
                return
        if base[0] == "plot" and draw.random() < 0.9:  # a figure takes its time
            return
        command(*base)


def missing(task: Any) -> str | None:
    return task.missing() if hasattr(task, "missing") else None


def plots(folder: Path) -> None:
    from fastweights.plotting import read_curves

    for curve in read_curves([folder]):
        for row in (row for rows in curve.runs for row in rows):
            curve.metric.value(row)


# how it ends


def said(error: BaseException) -> None:
    line = in_one_line(error)
    assert line.isprintable() and len(line) < 1500, line


def command(*arguments: Any) -> int:
    """In this process; the jobs of a command are not done, but taken as done."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code or 0
    lines = err.getvalue().splitlines()
    assert code in (0, 2), (code, err.getvalue())
    assert "Traceback" not in err.getvalue(), err.getvalue()
    if code == 2:
        assert lines[-1].startswith("fastweights: error: "), err.getvalue()
        assert lines[-1].isprintable() and len(lines[-1]) < 1500, lines[-1]
    assert "\x1b" not in out.getvalue() + err.getvalue() and "\x07" not in out.getvalue() + err.getvalue(), (
        arguments,
        lines,
    )
    return code


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise Late(f"longer than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


SHARES = {"sequences": 32, "csv": 25, "json": 25, "safetensors": 15, "options": 3}  # per cent


@contextlib.contextmanager
def prepared() -> Iterator[Inputs]:
    """Inputs in a folder of their own; no process is started, and from here on no run is trained."""
    from fastweights.bench import measure
    from fastweights.jobs import worker

    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        for name in ("measure_shape", "measure_token"):
            patch.setattr(measure, name, lambda *given: None)
        try:
            os.chdir(folder)
            inputs = Inputs(Path(folder))
            patch.setattr(worker, "outcome", lambda job, tell: 0)
            yield inputs
        finally:
            os.chdir(before)


def one(inputs: Inputs, kind: str, seed: int, number: int) -> str | None:
    """What went wrong with one input; None: nothing did."""
    draw = random.Random(f"{seed} {kind} {number}")
    try:
        with no_hang(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(inputs, kind)(draw)
    except UserError as error:
        try:
            said(error)
        except AssertionError as odd:
            return f"{kind} {number}: what is said is no line of a terminal: {odd}"
    except (Exception, SystemExit):
        return f"{kind} {number}: {traceback.format_exc()}"
    if (largest := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) > MEMORY:
        return f"{kind} {number}: {largest} bytes of memory, more than {MEMORY}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SHARES)
    parser.add_argument("--number", type=int, help="this one alone")
    parser.add_argument("--parts", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--part", type=int, help="this one of them alone")
    given = parser.parse_args()
    if given.part is None and given.number is None and given.parts > 1:
        again = [sys.executable, __file__, *sys.argv[1:], "--parts", str(given.parts), "--part"]
        running = [subprocess.Popen([*again, str(part)]) for part in range(given.parts)]
        return max(abs(process.wait()) for process in running)
    torch.set_num_threads(1)
    wrong, began, part = [], time.time(), f"part {given.part}, " if given.part is not None else ""
    with prepared() as inputs:
        for kind, share in SHARES.items():
            if given.only not in (None, kind):
                continue
            start = time.time()
            numbers: Any = range(given.part or 0, given.count * share // 100, given.parts if part else 1)
            numbers = numbers if given.number is None else [given.number]
            found = [said for number in numbers if (said := one(inputs, kind, given.seed, number))]
            print(f"{part}{len(numbers):,} {kind}: {len(found)} wrong, {time.time() - start:.0f} s", flush=True)
            for each in found[:20]:
                print(each, file=sys.stderr, flush=True)
            wrong += found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{part}seed {given.seed}: {len(wrong)} wrong, {time.time() - began:.0f} s, {peak:.1f} GiB at most")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
