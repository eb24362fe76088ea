"""Many runs over the cores of one machine: plain processes, one thread each, a run that is done is not done again."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastweights.jobs.job import Job, finished
from fastweights.jobs.worker import LOCKED
from fastweights.training import run_folder

PACKAGES = str(Path(__file__).parents[2])
LOOK_AGAIN = 2.0  # seconds until a run that another process trains is looked at again


@dataclass
class Status:
    """What is known of one job."""

    job: Job
    state: str = "waiting"  # running, done, failed, stopped, elsewhere (another process trains it)
    update: int = 0
    updates: int = 0
    seconds: float = 0.0
    row: dict[str, Any] | None = None
    error: str = ""
    traceback: str = ""  # of a fault of this library
    process: Any = field(default=None, repr=False)
    looked: float = field(default=0.0, repr=False)

    @property
    def seconds_left(self) -> float | None:
        if not self.update or not self.updates:
            return None
        return self.seconds * (self.updates - self.update) / self.update

    @property
    def open(self) -> bool:
        return self.state in ("waiting", "running", "elsewhere")

    def take(self, event: dict[str, Any]) -> None:
        """What the process of the run tells of it."""
        for name in ("update", "updates", "seconds", "row", "error", "traceback"):
            setattr(self, name, event.get(name, getattr(self, name)))

    def end(self, code: int, shared: bool) -> None:
        """The process of the run has ended with this exit code."""
        state = {0: "done", 130: "stopped"}.get(code, "failed")
        if code == LOCKED and shared:
            state, self.error = "elsewhere", ""
        if state == "failed" and not self.error:
            self.error = f"the process of {self.job.folder} ended with code {code}"
        self.state = state

    def look(self) -> None:
        """Take the run as it is on disk: done, being trained by another process, or waiting to be trained here."""
        if self.state == "elsewhere" and time.monotonic() - self.looked < LOOK_AGAIN:
            return
        self.looked = time.monotonic()
        try:
            if self.job.folder.exists() and run_folder.is_locked(self.job.folder):
                self.state = "elsewhere"
            elif finished(self.job):
                self.state, self.error = "done", ""
                self.row = run_folder.read_rows(self.job.folder / run_folder.METRICS)[-1]
                self.update = self.updates = self.row["update"]
                self.seconds = run_folder.read_last(self.job.folder / run_folder.TIMINGS)["seconds"]
            else:
                self.state = "waiting"
        except run_folder.RunError as error:
            self.state, self.error = "failed", str(error)


def run_all(
    jobs: list[Job], workers: int, show: Callable[[list[Status]], None], every: float = 0.5, shared: bool = False
) -> list[Status]:
    """Run the jobs, `workers` at a time, calling `show` now and then. Ctrl-C lets the runs save, then is raised.

    shared: other runners may work on the same folders. A run that is done is taken as it is, and one that another
    process trains is waited for; otherwise such a run fails.
    """
    statuses = [Status(job) for job in jobs]
    for status in statuses if shared else ():
        status.look()
    threads: list[threading.Thread] = []
    try:
        while any(status.open for status in statuses):
            running = sum(status.state == "running" for status in statuses)
            for status in statuses:
                if shared and (status.state == "elsewhere" or (status.state == "waiting" and running < workers)):
                    status.look()
                if status.state == "waiting" and running < workers:
                    threads.append(_start(status, shared))
                    running += 1
            show(statuses)
            time.sleep(every)
    except KeyboardInterrupt:
        for status in statuses:
            if status.process is not None and status.process.poll() is None:
                status.process.terminate()
        for thread in threads:
            thread.join()
        raise
    for thread in threads:
        thread.join()
    show(statuses)
    return statuses


def _start(status: Status, shared: bool) -> threading.Thread:
    command = [sys.executable, "-P", "-m", "fastweights.jobs.worker", status.job.as_json()]
    paths = [PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])]  # the code of this process, wherever it lies
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    status.process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )
    status.state = "running"
    thread = threading.Thread(target=_listen, args=(status, shared), daemon=True)
    thread.start()
    return thread


def _listen(status: Status, shared: bool) -> None:
    for line in status.process.stdout:
        with suppress(json.JSONDecodeError):
            status.take(json.loads(line))
    status.end(status.process.wait(), shared)
