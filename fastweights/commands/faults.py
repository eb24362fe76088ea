"""What breaks in this library is shown with its traceback: it is no fault of whoever asked."""

import sys
from collections.abc import Iterable

from fastweights.errors import plain
from fastweights.jobs.runner import Status
from fastweights.process.codes import DONE, OURS

PLEASE = "fastweights: this is a fault of fastweights, not yours: please report it with the lines above"


def tell_faults(statuses: Iterable[Status]) -> int:
    """The tracebacks of the runs that broke so, and the exit code; `DONE`: none did."""
    broken = [status for status in statuses if status.traceback]
    for status in broken:
        print("\n".join(map(plain, f"{status.job.folder}:\n{status.traceback}".splitlines())), file=sys.stderr)
    if broken:
        print(PLEASE, file=sys.stderr)
    return OURS if broken else DONE
