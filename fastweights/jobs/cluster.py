"""The same runs over the machines of a Ray cluster; a run folder must lie where all of them see it."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastweights import files
from fastweights.errors import UserError
from fastweights.jobs.job import Job
from fastweights.jobs.runner import Status
from fastweights.jobs.worker import work
from fastweights.process import signals
from fastweights.training import run_folder

MARK = ".cluster"
LOCKED = "locked"
PACKAGES = Path(__file__).parents[2]


def import_ray() -> Any:
    try:
        with signals.kept():
            import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "--cluster ray: ray is not installed; pip install 'fastweights[cluster]', or leave --cluster out to use "
            "the cores of this machine"
        ) from None
    return ray


def run_on_ray(
    jobs: list[Job], workers: int, show: Callable[[list[Status]], None], every: float = 0.5, shared: bool = True
) -> list[Status]:
    """As `run_all(shared=True)`, one core a run: on the cluster that RAY_ADDRESS names, or on `workers` cores here.

    A run whose machine goes away starts again from its last checkpoint. Told to stop, it lets the runs save before it
    raises KeyboardInterrupt; nothing can be told to save and go on.
    """
    ray = import_ray()
    statuses = [Status(replace(job, folder=job.folder.absolute())) for job in jobs]
    for status in statuses:
        status.look()
    for folder in {status.job.folder.parent for status in statuses}:
        files.make_folder(folder)
        files.touch(folder / MARK)
    if not any(status.open for status in statuses):
        show(statuses)
        return statuses
    began_here = not ray.is_initialized()
    if began_here:
        address = os.environ.get("RAY_ADDRESS")
        local = {} if address else {"num_cpus": workers, "include_dashboard": False}
        with signals.kept():
            ray.init(address=address, log_to_driver=False, logging_level="error", **local)
    remote = ray.remote(num_cpus=1, max_retries=3)(of_ray(os.getcwd(), str(PACKAGES)))
    by_reference: dict[Any, Status] = {}
    try:
        with signals.heard() as heard:
            while any(status.open for status in statuses) and not heard.stop:
                for status in statuses:
                    if status.state == "elsewhere":
                        status.look()
                    if status.state == "waiting":
                        by_reference[remote.remote(status.job.as_json())] = status
                        status.state = "running"
                references = list(by_reference)
                if not references:
                    time.sleep(every)
                for reference in (
                    ray.wait(references, num_returns=len(references), timeout=every)[0] if references else ()
                ):
                    settle(by_reference.pop(reference), reference, ray)
                for status in by_reference.values():
                    progress(status)
                show(statuses)
            if heard.stop and by_reference:
                for reference in by_reference:
                    ray.cancel(reference, force=False)
                ray.wait(list(by_reference), num_returns=len(by_reference), timeout=60)
            if heard.stop and any(status.open for status in statuses):
                raise KeyboardInterrupt
    finally:
        if began_here:
            ray.shutdown()
    show(statuses)
    return statuses


def of_ray(folder: str, packages: str) -> Callable[[str], str]:
    """`run_one` for a worker of Ray, which puts the current folder first on its path.

    A function that is made in another goes there by value: nothing of ours is imported before that folder is off.
    """

    def task(text: str) -> str:
        import os
        import sys

        here = os.path.realpath(folder)
        sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
        if os.path.isdir(folder):  # where a user's own class is looked for
            os.chdir(folder)
        if "fastweights" not in sys.modules:
            sys.path.append(packages)
        from fastweights.jobs.cluster import run_one

        return run_one(text)

    return task


def run_one(text: str) -> str:
    """On a machine of the cluster: train; returns what went wrong, or nothing."""
    job = Job.from_json(text)
    if not files.exists(job.folder.parent / MARK):
        machine = os.uname().nodename
        return f"{job.folder}: not there on {machine}, wanted a --run on a file system that all machines share"
    try:
        work(job)
    except run_folder.RunLocked:
        return LOCKED
    except (UserError, OSError) as error:
        return str(error)
    return ""


def settle(status: Status, reference: Any, ray: Any) -> None:
    try:
        said = ray.get(reference)
    except ray.exceptions.RayError as error:
        said, status.traceback = f"{status.job.folder}: {str(error).splitlines()[0]}", str(error)
    if said == LOCKED:
        status.state = "elsewhere"
    elif said:
        status.state, status.error = "failed", said
    else:
        progress(status)
        status.state, status.updates = "done", status.update


def progress(status: Status) -> None:
    """From the rows of the run folder, which this machine sees too."""
    folder: Path = status.job.folder
    rows, timings = run_folder.read_rows(folder / run_folder.METRICS), run_folder.read_rows(folder / run_folder.TIMINGS)
    if rows and timings:
        status.row, status.update, status.seconds = rows[-1], rows[-1]["update"], timings[-1]["seconds"]
        status.updates = status.update // rows[-1]["epoch"] * status.job.setup.config.epochs
