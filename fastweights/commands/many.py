"""Many runs of one command: how long they will take, their training, and the exit code after it."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import heapreplace
from typing import TYPE_CHECKING, Any

from fastweights.commands.faults import tell_faults
from fastweights.errors import UserError
from fastweights.jobs.cores import usable
from fastweights.jobs.job import Job

if TYPE_CHECKING:
    from fastweights.jobs.runner import Status

PATIENCE = 20.0  # seconds of timed updates in all; setups after that are taken to be as fast as those before
UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))


def name_of(job: Job) -> str:
    return job.folder.name


def need_cluster(name: str | None) -> None:
    """Raise where the cluster that is named cannot be asked."""
    if name:
        from fastweights.jobs.cluster import import_ray

        import_ray()


def train(
    jobs: Sequence[Job],
    workers: int,
    cluster: str | None,
    then: "Callable[[list[Status]], None]" = lambda statuses: None,
) -> "list[Status]":
    """Say how long the jobs will take, and do those that are not done yet; other runners may do some of them."""
    from fastweights.commands.live import run_live
    from fastweights.jobs.runner import run_all

    if not jobs:
        return []
    run: Any = run_all
    if cluster:
        from fastweights.jobs.cluster import run_on_ray as run
    if told := foretold(jobs, workers, cluster):
        print(told, file=sys.stderr, flush=True)
    return run_live(list(jobs), workers, label=name_of, run=run, shared=True, then=then)


def foretold(jobs: Sequence[Job], workers: int, cluster: str | None) -> str:
    """'9 runs, about 2 minutes with 2 workers'; nothing where all are done."""
    shares = [left(job) for job in jobs]
    coming = [(job, share) for job, share in zip(jobs, shares, strict=True) if share]
    if not coming:
        return ""
    seconds = [share * whole for (_, share), whole in zip(coming, durations([j for j, _ in coming]), strict=True)]
    most = "at most " if any(job.setup.config.target is not None for job, _ in coming) else ""
    done = len(jobs) - len(coming)
    runs = f"{len(coming)} run{'s' * (len(coming) > 1)}" + f" ({done} more {'is' if done == 1 else 'are'} done)" * (
        done > 0
    )
    if cluster:
        return f"{runs}, {most}about {duration(sum(seconds))} of one core in all"
    took = makespan(seconds, min(workers, usable()))
    return f"{runs}, {most}about {duration(took)} with {workers} worker{'s' * (workers > 1)} on free cores"


def left(job: Job) -> float:
    """The share of the run that is still to be trained; where its folder is odd, all of it."""
    from fastweights.files import FileError
    from fastweights.jobs.job import finished
    from fastweights.training import run_folder

    try:
        if finished(job):
            return 0.0
        rows = run_folder.read_rows(job.folder / run_folder.METRICS)
    except FileError:
        return 1.0
    return 1 - min(rows[-1]["epoch"] / job.setup.config.epochs, 1) if rows else 1.0


def durations(jobs: Sequence[Job]) -> list[float]:
    """Seconds of each run as a whole, on a core of its own."""
    from fastweights.jobs.job import job_data
    from fastweights.training.data import Data
    from fastweights.training.pace import Pace, mean_of, pace_of, shape_of

    began, paces, files, found = time.monotonic(), dict[str, Pace](), dict[Any, Data](), []
    for job in jobs:
        setup, batch, sizes = job.setup, None, None
        if job.data is not None:
            key = job.data, repr(setup.task)
            data = files[key] = files.get(key) or job_data(job)
            assert data.train is not None and data.valid is not None
            setup, batch = replace(setup, task=data.task), data.train.select(slice(setup.config.batch_size))
            sizes = data.train.size, data.valid.size
        shape = shape_of(setup)
        if shape not in paces:
            late = time.monotonic() - began > PATIENCE
            paces[shape] = mean_of(paces.values()) if late else pace_of(setup, batch)
        found.append(paces[shape].seconds(setup, sizes))
    return found


def makespan(seconds: Sequence[float], workers: int) -> float:
    """How long the runs take in this order, so many at a time."""
    ends = [0.0] * workers
    for each in seconds:
        heapreplace(ends, ends[0] + each)
    return max(ends)


def duration(seconds: float) -> str:
    """'40 seconds', '12 minutes', '5.6 hours'."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    count = max(1.0, seconds / size)
    told = f"{count:.1f}".removesuffix(".0") if unit == "hour" and count < 10 else f"{count:.0f}"
    return f"{told} {unit}{'s' * (told != '1')}"


def complain(statuses: "Sequence[Status]") -> int:
    """The exit code after these runs: of a fault of this library, else what the first that failed says is raised."""
    if faults := tell_faults(statuses):
        return faults
    if any(status.state == "stopped" for status in statuses):
        from fastweights.commands.live import where_saved

        raise KeyboardInterrupt(where_saved(list(statuses), name_of))
    failed = [status for status in statuses if status.error]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise UserError(f"{failed[0].job.folder.name}: {failed[0].error}{more}")
    return 0
