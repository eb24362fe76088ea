"""Many runs over the cores of one machine: plain processes, one thread each, a run that is done is not done again."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastweights import runs
from fastweights.worker import LOCKED, Job, finished

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

    def look(self) -> None:
        """Take the run as it is on disk: done, being trained by another process, or waiting to be trained here."""
        if self.state == "elsewhere" and time.monotonic() - self.looked < LOOK_AGAIN:
            return
        self.looked = time.monotonic()
        try:
            if self.job.folder.exists() and runs.is_locked(self.job.folder):
                self.state = "elsewhere"
            elif finished(self.job):
                self.state, self.error = "done", ""
                self.row = runs.read_rows(self.job.folder / runs.METRICS)[-1]
                self.update = self.updates = self.row["update"]
                self.seconds = runs.read_last(self.job.folder / runs.TIMINGS)["seconds"]
            else:
                self.state = "waiting"
        except runs.RunError as error:
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
    command = [sys.executable, "-m", "fastweights.worker", status.job.as_json()]
    status.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    status.state = "running"
    thread = threading.Thread(target=_listen, args=(status, shared), daemon=True)
    thread.start()
    return thread


def _listen(status: Status, shared: bool) -> None:
    for line in status.process.stdout:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # something that a user's model prints
            continue
        for name in ("update", "updates", "seconds", "row", "error") if isinstance(event, dict) else ():
            setattr(status, name, event.get(name, getattr(status, name)))
    code = status.process.wait()
    state = {0: "done", 130: "stopped"}.get(code, "failed")
    if code == LOCKED and shared:
        state, status.error = "elsewhere", ""
    status.state = state
    if status.state == "failed" and not status.error:
        status.error = f"the process of {status.job.folder} ended with code {code}"
