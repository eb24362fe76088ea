"""Jobs in the process of the tests: for all that does not ask for processes, each of which would import torch."""

import json
import threading
import time

import pytest

from fastweights.jobs import runner, worker


def run_jobs_here(patch):
    """The runner does each job as it is started, and does not sleep; what it is told goes through JSON all the same."""

    def start(status, shared):
        status.state = "running"
        status.end(
            worker.outcome(status.job.as_json(), lambda event: status.take(json.loads(json.dumps(event)))), shared
        )
        ended = threading.Thread(target=lambda: None)
        ended.start()
        return ended

    patch.setattr(runner, "_start", start)
    patch.setattr(runner, "wait", lambda seconds, heard: time.sleep(0.01))


@pytest.fixture
def jobs_here(monkeypatch):
    run_jobs_here(monkeypatch)
