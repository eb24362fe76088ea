"""What a process that trains one run is told, and whether that is done."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastweights import files
from fastweights.tasks import places
from fastweights.training import run_folder
from fastweights.training.setup import Setup

if TYPE_CHECKING:
    from fastweights.training.data import Data


@dataclass(frozen=True)
class Job:
    """`data` None: the sequences are drawn from the task."""

    setup: Setup
    folder: Path
    data: Path | None = None
    resume: bool = True

    def as_json(self) -> str:
        data = None if self.data is None else str(self.data)
        setup = self.setup.as_json() | {"places": places(self.setup.task)}
        content = {"setup": setup, "folder": str(self.folder), "data": data, "resume": self.resume}
        return json.dumps(content)

    @staticmethod
    def from_json(text: str) -> "Job":
        content = json.loads(text)
        data = content["data"]
        return Job(
            Setup.from_json(content["setup"]),
            Path(content["folder"]),
            None if data is None else Path(data),
            content["resume"],
        )


def job_data(job: Job) -> "Data":
    """The sequences of a job: read, or drawn from its task."""
    from fastweights.training import data

    return data.sequences(job.setup, job.data)


def finished(job: Job) -> bool:
    """Whether the folder holds this very job, done."""
    if not files.exists(job.folder / run_folder.FINAL):
        return False
    final, stored = run_folder.read_final(job.folder), run_folder.read_description(job.folder)
    rows = run_folder.read_rows(job.folder / run_folder.METRICS)
    wanted = json.loads(json.dumps({**job.setup.as_json(), "sources": job.setup.sources}))
    told = () if job.data is None else ("task",)  # by the file
    same = all(stored.get(part, {}) == wanted[part] for part in wanted if part not in told)
    return same and bool(rows) and rows[-1]["update"] == final["update"]
