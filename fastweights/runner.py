"""Many runs over the cores of one machine: plain processes, one thread each, a run that is done is not done again."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastweights.worker import Job


@dataclass
class Status:
    """What is known of one job."""

    job: Job
    state: str = "waiting"  # running, done, failed, stopped
    update: int = 0
    updates: int = 0
    seconds: float = 0.0
    row: dict[str, Any] | None = None
    error: str = ""
    process: Any = field(default=None, repr=False)

    @property
    def seconds_left(self) -> float | None:
        if not self.update or not self.updates:
            return None
        return self.seconds * (self.updates - self.update) / self.update


def run_all(jobs: list[Job], workers: int, show: Callable[[list[Status]], None], every: float = 0.5) -> list[Status]:
    """Run the jobs, `workers` at a time, calling `show` now and then. Ctrl-C lets the runs save, then is raised."""
    statuses = [Status(job) for job in jobs]
    threads: list[threading.Thread] = []
    try:
        while any(status.state in ("waiting", "running") for status in statuses):
            running = sum(status.state == "running" for status in statuses)
            for status in statuses:
                if status.state == "waiting" and running < workers:
                    threads.append(_start(status))
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


def _start(status: Status) -> threading.Thread:
    command = [sys.executable, "-m", "fastweights.worker", status.job.as_json()]
    status.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    status.state = "running"
    thread = threading.Thread(target=_listen, args=(status,), daemon=True)
    thread.start()
    return thread


def _listen(status: Status) -> None:
    for line in status.process.stdout:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # something that a user's model prints
            continue
        for name in ("update", "updates", "seconds", "row", "error") if isinstance(event, dict) else ():
            setattr(status, name, event.get(name, getattr(status, name)))
    code = status.process.wait()
    status.state = {0: "done", 130: "stopped"}.get(code, "failed")
    if status.state == "failed" and not status.error:
        status.error = f"the process of {status.job.folder} ended with code {code}"
