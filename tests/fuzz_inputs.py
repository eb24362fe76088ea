"""The inputs that are broken, each given to what reads it."""

import contextlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

from fuzz_breaks import NASTY, VALUES, break_bytes, break_json, break_text, write_json
from fuzz_ends import command, said
from fuzz_own_lines import own

from fastweights.errors import UserError
from fastweights.training import run_folder

TINY = "--hidden-size 4 --epochs 2 --train-size 32 --valid-size 16 --test-size 16 --batch-size 16 --num-pairs 2".split()


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

        self.tasks = [
            task
            for kind in TASKS.values()
            if not (hasattr(kind, "read") or getattr(kind, "ACTS", False)) and not missing(task := kind())
        ]
        self.lines = {}
        for task in self.tasks:
            drawn = data.draw(task, 6, 2, 0)
            data.write(drawn, where / task.NAME, 0)
            self.lines[task.NAME] = (where / task.NAME / data.file_names(task)[0]).read_text()
        (where / "words.csv").write_text("the dog barks,D N V\ndog the the,N D D\nbarks dog,V N\n" * 20)
        command(
            "train", "GRU", *TINY[:4], "--batch-size", "16", "--data", where / "words.csv", "--run", where / "words"
        )
        _, self.words, _ = load_run(where / "words")
        self.broken = {
            "broken": self.files,
            "words": {name: (where / "words" / name).read_bytes() for name in self.files},
        }
        shutil.copytree(where / "FW", where / "broken")

    def sequences(self, draw: random.Random) -> None:
        if draw.random() < 0.2:
            self.words.decode(self.words.encode(break_text(draw, "the dog barks the")))
            return
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

    def own_lines(self, draw: random.Random) -> None:
        own(self.where, draw)

    def json(self, draw: random.Random) -> None:
        """One file of a run, of a table or of a data folder; everything that reads it."""
        kind = draw.choice(["config", "config", "metrics", "timings", "final", "result", "search", "data"])
        getattr(self, f"_{kind}")(draw)

    def _config(self, draw: random.Random) -> None:
        from fastweights.training.description import load_run
        from fastweights.training.metric import Metric

        name, files = draw.choice([*self.broken.items()])
        folder = self.where / name
        write_json(draw, folder / run_folder.CONFIG, json.loads(files[run_folder.CONFIG]))
        with contextlib.suppress(UserError):
            plots(folder)
        try:
            Metric.stored(run_folder.read_description(folder))
            load_run(folder)
        finally:
            (folder / run_folder.CONFIG).write_bytes(files[run_folder.CONFIG])

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
                [
                    "train",
                    "GRU",
                    "--task",
                    "own-lines",
                    *TINY[:4],
                    "--data",
                    "words.csv",
                    "--answers",
                    "each",
                    "--run",
                    "new",
                ],
                ["sample", "GRU", "the dog barks", "--run", "words"],
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
