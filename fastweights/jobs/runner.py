"""Many runs over the cores of one machine: plain processes, one thread each, a run that is done is not done again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastweights import files
from fastweights.files import FileError
from fastweights.jobs.job import Job, finished
from fastweights.process import search_path, signals
from fastweights.process.codes import DONE, LOCKED, STOPPED
from fastweights.training import run_folder
from fastweights.training.metric import Metric

START = Path(__file__).with_name("start.py")
EVERY = 0.05  # seconds until it is looked again at what was asked
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
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
    saved: int = 0  # the update that a stop would leave in the checkpoint
    asked: int = 0  # the update that was saved last because somebody asked
    said: list[str] = field(default_factory=list)  # lines of its standard error that nobody has shown yet
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
        for name in ("update", "updates", "seconds", "row", "saved", "asked", "error", "traceback"):
            setattr(self, name, event.get(name, getattr(self, name)))

    def end(self, code: int, shared: bool) -> None:
        """The process of the run has ended with this exit code."""
        if code in (-number for number in signals.STOP):  # it had not begun to hear
            code = STOPPED
        state = {DONE: "done", STOPPED: "stopped"}.get(code, "failed")
        if code == LOCKED and shared:
            state, self.error = "elsewhere", ""
        if state == "failed" and not self.error:
            self.error = f"{self.job.folder}: the process of the run {ended(code)}; the run goes on from its checkpoint"
        if -code in CRASHES:
            self.traceback = f"the process {ended(code)}"
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
                self.row = run_folder.read_last(path := self.job.folder / run_folder.METRICS)
                with files.said_of(path):
                    Metric.of(self.job.setup.task).value(self.row)
                self.update = self.updates = self.row["update"]
                self.seconds = run_folder.read_last(self.job.folder / run_folder.TIMINGS)["seconds"]
            else:
                self.state = "waiting"
        except FileError as error:
            self.state, self.error = "failed", str(error)


def ended(code: int) -> str:
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended with code {code}"


def run_all(
    jobs: list[Job], workers: int, show: Callable[[list[Status]], None], every: float = 0.5, shared: bool = False
) -> list[Status]:
    """Run the jobs, `workers` at a time, calling `show` now and then.

    Told to stop, it lets the runs save before it raises KeyboardInterrupt; told to save, it tells them.
    shared: other runners may work on the same folders. A run that is done is taken as it is, and one that another
    process trains is waited for; otherwise such a run fails.
    """
    statuses = [Status(job) for job in jobs]
    for status in statuses if shared else ():
        status.look()
    threads: list[threading.Thread] = []
    with signals.heard() as heard:
        try:
            while any(status.open for status in statuses) and not heard.stop:
                running = sum(status.state == "running" for status in statuses)
                for status in statuses:
                    if shared and (status.state == "elsewhere" or (status.state == "waiting" and running < workers)):
                        status.look()
                    if status.state == "waiting" and running < workers:
                        threads.append(_start(status, shared))
                        running += 1
                show(statuses)
                wait(every, heard)
                if heard.save:
                    heard.save = False
                    _tell(statuses, signal.SIGUSR1)
        finally:
            _tell(statuses, signal.SIGTERM)
            for thread in threads:
                thread.join()
        show(statuses)
        if heard.stop and any(status.open or status.state == "stopped" for status in statuses):
            raise KeyboardInterrupt
    return statuses


def wait(seconds: float, heard: signals.Heard) -> None:
    """So long, or until something is asked."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (heard.stop or heard.save):
        time.sleep(EVERY)


def _tell(statuses: list[Status], number: int) -> None:
    for status in statuses:
        if status.process is not None and status.process.poll() is None:
            status.process.send_signal(number)


def _start(status: Status, shared: bool) -> threading.Thread:
    command = [sys.executable, "-P", str(START), status.job.as_json(), str(os.getpid())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search_path.named())}
    with signals.held_back():
        status.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env=environment,
        )
    status.state = "running"
    thread = threading.Thread(target=_listen, args=(status, shared), daemon=True)
    thread.start()
    return thread


def _listen(status: Status, shared: bool) -> None:
    saying = threading.Thread(target=_note, args=(status,), daemon=True)
    saying.start()
    for line in status.process.stdout:
        with suppress(json.JSONDecodeError):
            status.take(json.loads(line))
    status.process.wait()
    saying.join(1.0)  # a process that the run has left behind may hold it open
    status.end(status.process.wait(), shared)


def _note(status: Status) -> None:
    for line in status.process.stderr:
        status.said.append(line)
