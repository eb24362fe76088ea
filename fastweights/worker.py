"""One training run in a process of its own: `python -m fastweights.worker JOB`; the job and its progress are JSON."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights import provenance, runs
from fastweights.config import Config

LOCKED = 75  # exit code: another process has the run folder

if TYPE_CHECKING:
    from fastweights.data import Data


@dataclass(frozen=True)
class Job:
    """What a worker is told. `data` None: the sequences are drawn from the task."""

    model: str
    config: Config
    folder: Path
    task: dict[str, Any]  # name and fields
    data: Path | None = None
    resume: bool = True

    def as_json(self) -> str:
        content = {**vars(self), "config": self.config.as_json(), "folder": str(self.folder)}
        return json.dumps(content | {"data": None if self.data is None else str(self.data)})

    @staticmethod
    def from_json(text: str) -> "Job":
        content = json.loads(text)
        data = content.pop("data")
        content |= {"config": Config.from_json(content["config"]), "folder": Path(content["folder"])}
        return Job(**content, data=None if data is None else Path(data))


def job_data(job: Job) -> "Data":
    """The sequences of a job: read, or drawn from its task."""
    from fastweights import data
    from fastweights.tasks import make_task

    if job.data is not None:
        if job.config.test_size:
            raise ValueError(f"--test-size {job.config.test_size}: wanted 0 with --data, which has no test sequences")
        return data.load(job.data)
    task = make_task(job.task)
    config = job.config
    return data.draw(task, config.train_size, config.valid_size, config.seed, config.test_size)


def finished(job: Job) -> bool:
    """Whether the folder holds this very job, done."""
    if not (job.folder / runs.FINAL).exists():
        return False
    final, stored = runs.read_final(job.folder), runs.read_description(job.folder)
    rows = runs.read_rows(job.folder / runs.METRICS)
    task = {name: value for name, value in stored["task"].items() if name in job.task}
    wanted = json.loads(json.dumps(job.config.as_json()))
    source = provenance.source_of(job.model)
    return (
        (stored["model"], stored.get("source", source), task, stored["config"]) == (job.model, source, job.task, wanted)
        and bool(rows)
        and rows[-1]["update"] == final["update"]
    )


def work(job: Job, report: Callable[[dict[str, Any]], None] = lambda event: None) -> dict[str, Any]:
    """Train the job in this process on one thread; returns the last row of its metrics."""
    import torch

    from fastweights.training import Run, train

    torch.set_num_threads(1)

    def watch(run: Run) -> None:
        report({"update": run.progress.update, "updates": run.updates, "seconds": run.seconds, "row": run.last_row})

    return train(job.model, job.config, job_data(job), job.folder, resume=job.resume, watch=watch)


def main() -> int:
    job = Job.from_json(sys.argv[1])
    parent, events = os.getppid(), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a user's model prints is no event

    def report(event: dict[str, Any]) -> None:
        if os.getppid() != parent:  # nobody is left to report to: save and leave
            os.kill(os.getpid(), 15)
            return
        print(json.dumps(event), file=events, flush=True)

    try:
        work(job, report)
    except KeyboardInterrupt:
        return 130
    except runs.RunLocked as error:
        print(json.dumps({"error": str(error)}), file=events, flush=True)
        return LOCKED
    except runs.EXPECTED as error:
        print(json.dumps({"error": runs.in_one_line(error)}), file=events, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
