"""One training run in a process of its own: `python -m fastweights.jobs.worker JOB`; job and progress are JSON."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from fastweights.errors import UserError, in_one_line, out_of_memory
from fastweights.jobs.job import Job, job_data
from fastweights.own import fault_of_own
from fastweights.training.run_folder import RunLocked

LOCKED = 75  # exit code: another process has the run folder
OURS = 1  # exit code: a fault of this library


def work(job: Job, report: Callable[[dict[str, Any]], None] = lambda event: None) -> dict[str, Any]:
    """Train the job in this process on one thread; returns the last row of its metrics."""
    import torch

    from fastweights.training.run import Run, train

    torch.set_num_threads(1)

    def watch(run: Run) -> None:
        at = {"update": run.progress.update, "updates": run.updates, "seconds": run.seconds, "row": run.last_row}
        report(at)

    with out_of_memory("--hidden-size, --batch-size or --valid-size"):
        return train(job.setup, job_data(job), job.folder, resume=job.resume, watch=watch)


def main() -> int:
    parent, events = os.getppid(), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a user's model prints is no event

    def tell(event: dict[str, Any]) -> None:
        if os.getppid() != parent:  # nobody is left to tell: save and leave
            os.kill(os.getpid(), 15)
            return
        print(json.dumps(event), file=events, flush=True)

    return outcome(sys.argv[1], tell)


def outcome(job: str, tell: Callable[[dict[str, Any]], None]) -> int:
    """Do the job, tell how it comes along and what was wrong; returns the exit code of its process."""
    try:
        work(Job.from_json(job), tell)
    except KeyboardInterrupt:
        return 130
    except RunLocked as error:
        tell({"error": str(error)})
        return LOCKED
    except (UserError, OSError) as error:
        tell({"error": in_one_line(error)})
        return 2
    except (Exception, SystemExit) as error:
        if said := fault_of_own(error):
            tell({"error": said})
            return 2
        tell({"error": "a fault of fastweights", "traceback": traceback.format_exc()})
        return OURS
    return 0


if __name__ == "__main__":
    sys.exit(main())
