"""One training run in a process of its own; job and progress are JSON."""

import json
import os
import select
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastweights.errors import UserError, in_one_line
from fastweights.jobs.job import Job
from fastweights.own import fault_of_own
from fastweights.process.codes import DONE, LOCKED, NOT_DONE, OURS, STOPPED
from fastweights.process.signals import Heard
from fastweights.training.run_folder import RunLocked

Tell = Callable[[dict[str, Any]], None]


def work(job: Job, report: Tell = lambda event: None, heard: Heard | None = None) -> dict[str, Any]:
    """Train the job in this process on one thread; returns the last row of its metrics."""
    from fastweights.training.run import Run
    from fastweights.training.trained import train_setup

    def watch(run: Run) -> None:
        run.heard.farewell = lambda: tell_of(run)
        tell_of(run)

    def tell_of(run: Run) -> None:
        at = {"update": run.progress.update, "updates": run.updates, "seconds": run.seconds, "row": run.last_row}
        report(at | {"saved": run.saved, "asked": run.asked})

    return train_setup(job.setup, job.data, job.folder, resume=job.resume, watch=watch, heard=heard)


def main(job: str, heard: Heard) -> int:
    events = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a user's model prints is no event

    def tell(event: dict[str, Any]) -> None:
        """Progress is dropped where nobody takes it: a run waits for no reader."""
        if "error" in event or select.select([], [events], [], 0)[1]:
            with suppress(OSError):  # there is nobody left to tell
                os.write(events, (json.dumps(event) + "\n").encode())

    return outcome(job, tell, heard)


def outcome(job: str, tell: Tell, heard: Heard | None = None) -> int:
    """Do the job, tell how it comes along and what was wrong; returns the exit code of its process."""
    try:
        work(Job.from_json(job), tell, heard)
    except KeyboardInterrupt:
        return STOPPED
    except RunLocked as error:
        tell({"error": str(error)})
        return LOCKED
    except (UserError, OSError) as error:
        tell({"error": in_one_line(error)})
        return NOT_DONE
    except (Exception, SystemExit) as error:
        if said := fault_of_own(error):
            tell({"error": said})
            return NOT_DONE
        tell({"error": "a fault of fastweights", "traceback": traceback.format_exc()})
        return OURS
    return DONE
