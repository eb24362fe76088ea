"""What a sweep came to: a line a run, a row a setting, and the table of 80 columns."""

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fastweights import files
from fastweights.commands.grid import Setting, text
from fastweights.jobs.job import Job
from fastweights.papers.table.tables import duration
from fastweights.training import run_folder
from fastweights.training.evaluation import RANGE, Estimate, over_seeds
from fastweights.training.metric import Metric

RUNS, TABLE = "runs.jsonl", "table.csv"
WIDTH, GAP = 80, 1  # columns of a terminal, and between those of a table
NAMED = 3  # settings that are not apart from the best
Row = dict[str, Any]


def row_of(setting: Setting, job: Job) -> Row:
    """What its folder says of a run that is done."""
    rows, final = run_folder.read_rows(job.folder / run_folder.METRICS), run_folder.read_final(job.folder)
    last = {name: value for name, value in rows[-1].items() if name.startswith("valid_")}
    return {
        "setting": setting.words, "model": setting.setup.model, "task": setting.setup.task.NAME,
        **{name: text(v) if isinstance(v, tuple) else v for name, v in setting.values.items()},
        "seed": job.setup.config.seed, "updates": rows[-1]["update"], **last,
        **{name: value for name, value in final.items() if name.startswith("test_")},
        "seconds": run_folder.read_last(job.folder / run_folder.TIMINGS)["seconds"], "folder": job.folder.name,
    }  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """A row of the table; None: no run is done, or nothing was tested."""

    setting: Setting
    valid: Estimate | None
    test: Estimate | None
    done: int
    seeds: int
    seconds: float | None  # mean

    @property
    def metric(self) -> Metric:
        return Metric.of(self.setting.setup.task)


def summarise(settings: Sequence[Setting], rows: Sequence[Row], seeds: int) -> list[Summary]:
    found = []
    for setting in settings:
        mine = [row for row in rows if row["setting"] == setting.words]
        name = setting.setup.task.METRIC
        valid, test = ([row[of] for row in mine if isinstance(row.get(of), int | float)]
                       for of in (f"valid_{name}", f"test_{name}"))  # fmt: skip
        seconds = sum(row["seconds"] for row in mine) / len(mine) if mine else None
        found.append(Summary(setting, estimate(valid), estimate(test), len(mine), seeds, seconds))
    return found


def estimate(values: Sequence[float]) -> Estimate | None:
    return over_seeds(values) if values else None


def write(folder: Path, summaries: Sequence[Summary], rows: Sequence[Row]) -> None:
    """A JSON object a run, and the table with all digits."""
    records = [record(each) for each in summaries]
    made = io.StringIO()
    writer = csv.DictWriter(made, list(dict.fromkeys(name for each in records for name in each)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    files.write_all({folder / RUNS: lines.encode(), folder / TABLE: made.getvalue().encode()})


def record(of: Summary) -> Row:
    values = {name: text(value) for name, value in of.setting.values.items()}
    found: Row = {"model": of.setting.setup.model, "task": of.setting.setup.task.NAME, **values}
    name = of.metric.name
    for part, known in (("valid", of.valid), ("test", of.test)):
        if known is not None:
            low, high = known.interval or ("", "")
            found |= {f"{part}_{name}": known.mean, f"{part}_{name}_low": low, f"{part}_{name}_high": high}
    return found | {"guess": of.metric.floors.get(name, ""), "seeds": of.done, "seconds": of.seconds}


def tables(summaries: Sequence[Summary]) -> Iterator[tuple[str, Table, str]]:
    """Of each task: a title, the table, and which row is best; nothing of that where there is one row."""
    for task in dict.fromkeys(each.setting.setup.task.NAME for each in summaries):
        mine = [each for each in summaries if task == each.setting.setup.task.NAME]
        shown = {"95%": "means and bootstrap 95% intervals", "range": "means and ranges of seeds", "": "one seed"}
        yield f"{task}: {shown[interval_name(mine)]}; guess: guess floor", table_of(mine), best(mine)


def interval_name(summaries: Sequence[Summary]) -> str:
    if not any(each.valid and each.valid.interval for each in summaries):
        return ""
    return "range" if summaries[0].seeds <= RANGE else "95%"


def best(summaries: Sequence[Summary]) -> str:
    """Which row is best of those wholly above the guess floor, and with which its interval overlaps."""
    metric = summaries[0].metric
    sign = 1 if metric.better == "higher" else -1
    known = [(each, sorted(sign * end for end in each.valid.interval or [each.valid.mean]))
             for each in summaries if each.valid is not None]  # fmt: skip
    if len(known) < 2:
        return ""
    floor = metric.floors.get(metric.name)
    above = [(each, ends) for each, ends in known if floor is None or ends[0] > sign * floor]
    if not above:
        return "no setting is apart from the guess floor on validation sequences"
    first, ends = max(above, key=lambda pair: sign * pair[0].valid.mean)  # pyright: ignore[reportOptionalMemberAccess]
    if not interval_name(summaries):
        return f"best on validation sequences: {first.setting.words}, of one seed each"
    near = [each.setting.words for each, others in known if each is not first and others[-1] >= ends[0]]
    if len(near) > NAMED:
        near[NAMED:] = [f"{len(near) - NAMED} more"]
    lines = [f"best on validation sequences: {first.setting.words}"]
    return "\n".join(lines + ([textwrap.fill(f"not apart from it: {'; '.join(near)}", WIDTH)] if near else []))


def table_of(summaries: Sequence[Summary]) -> Table:
    """A column for each option that is varied. Where that is too wide, the intervals of validation go where there are
    those of tests; then all options stand in one column, a line each; then the time goes."""
    varied = list(dict.fromkeys(name for each in summaries for name in each.setting.values if name != "task"))
    models = [each.setting.setup.model for each in summaries]
    left = {"model": models} if len(set(models)) > 1 or not varied else {}
    for name in varied:
        left[name.replace("_", "\n")] = [text(values[name]) if name in (values := each.setting.values) else ""
                                         for each in summaries]  # fmt: skip
    lines = [
        [f"{'_'.join(name.split())} {cells[place]}" for name, cells in left.items() if cells[place]]
        for place in range(len(summaries))
    ]
    one = {"setting": ["\n".join(each) for each in lines]}
    right = numbers(summaries)
    fewer = {name: cells for name, cells in right.items() if name != f"valid\n{interval_name(summaries)}"}
    least = {name: cells for name, cells in fewer.items() if name != "time"}
    tries = [(left, right), (left, fewer), (one, right), (one, fewer), (one, least)]
    left, right = next((pair for pair in tries if needed(pair[0] | pair[1]) <= WIDTH), tries[-1])
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for name in (*left, *right):
        side, place = "left" if name in left else "right", "top" if left is one else "bottom"
        table.add_column(name, no_wrap=True, justify=side, vertical=place)
    for cells in zip(*left.values(), *right.values(), strict=True):
        table.add_row(*cells)
    return table


def numbers(summaries: Sequence[Summary]) -> dict[str, list[str]]:
    show = summaries[0].metric.show
    columns: dict[str, list[str]] = {}
    interval = interval_name(summaries)
    tested = any(each.test is not None for each in summaries)
    for part in ("valid", "test") if tested else ("valid",):
        estimates = [getattr(each, part) for each in summaries]
        head = f"{part}\n" * tested + summaries[0].metric.name.replace("_", "\n")
        columns[head] = [show(each.mean) if each else "" for each in estimates]
        if interval:
            columns[f"{part}\n" * tested + interval] = [
                "-".join(map(show, each.interval)) if each and each.interval else "" for each in estimates
            ]
    columns["guess"] = [show(each.metric.floors.get(each.metric.name)) for each in summaries]
    columns["seeds"] = [f"{each.done}/{each.seeds}" for each in summaries]
    columns["time"] = ["" if each.seconds is None else duration(each.seconds) for each in summaries]
    return columns


def needed(columns: Mapping[str, Sequence[str]]) -> int:
    widths = [max(len(line) for cell in (head, *cells) for line in cell.split("\n")) for head, cells in columns.items()]
    return sum(widths) + GAP * len(widths)
