"""Peak memory of a training step: `python -m fastweights.bench.memory JOBS`, a forked process a job.

On a CPU: the largest resident set while the step runs, above what was resident before it. On a GPU: what torch had
allocated at most, above what it had before.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

Job = dict[str, Any]  # contender and shape, as their fields, and the seed and the threads
ANSWER = "answer: "  # begins a line of the child that is one
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peaks(jobs: list[Job]) -> list[int | str]:
    """Bytes for each job, or why there is no number."""
    if not jobs:
        return []
    command = [sys.executable, "-m", "fastweights.bench.memory", json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True)
    told = [line.removeprefix(ANSWER) for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    answers = [json.loads(line) for line in told]
    return answers + ["could not be measured"] * (len(jobs) - len(answers))


def main() -> None:
    import fastweights.bench.contenders  # noqa: F401 - once for all the children

    for job in json.loads(sys.argv[1]):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                answer: int | str = measure(job)
            except Exception as error:
                answer = f"{type(error).__name__}: {error}"
            os.write(writer, json.dumps(answer).encode()[:4000])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer_text = pipe.read().decode()
        os.waitpid(child, 0)
        print(ANSWER + (answer_text or json.dumps("was killed, for its memory perhaps")), flush=True)


def measure(job: Job) -> int:
    import torch

    from fastweights.bench.contenders import Contender, training
    from fastweights.bench.gate import Shape

    torch.set_num_threads(job["threads"])
    contender, shape = Contender(**job["contender"]), Shape(**job["shape"])
    tiny = Shape(2, 2, shape.hidden, shape.inner_steps, shape.device)
    training(Contender(contender.kind, min(contender.size, 8)), tiny, job["seed"])()  # what is loaded and compiled once
    if shape.device.startswith("cuda"):
        before = torch.cuda.memory_allocated(shape.device)
        torch.cuda.reset_peak_memory_stats(shape.device)
        training(contender, shape, job["seed"])()
        return torch.cuda.max_memory_allocated(shape.device) - before
    before = resident()
    training(contender, shape, job["seed"])()
    return max(0, largest() - before)


def resident() -> int:
    """Bytes; the mark of the largest so far is set back to it where the system can."""
    if not CLEAR.exists():
        return largest()
    CLEAR.write_text("5")
    return status("VmRSS")


def largest() -> int:
    if STATUS.exists():
        return status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
