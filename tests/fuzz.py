"""Random and broken inputs: `make fuzz`, or `python tests/fuzz.py --count 100000 --seed 0 [--only KIND]`.

Sequences, CSV, JSON, safetensors and options are broken at random and given to the library in this process. Each must
end well, with a UserError, or with the exit code 0 or 2 of a command and one line; anything else is printed with its
seed and its place, which give it back. No input may take LONGEST seconds, nor the process more than MEMORY.
"""

import argparse
import contextlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz_ends import said
from fuzz_inputs import Inputs
from hangs import no_hang
from in_process import run_jobs_here

from fastweights.errors import UserError

MEMORY = 2 * 2**30  # bytes

SHARES = {"sequences": 28, "csv": 22, "own_lines": 14, "json": 20, "safetensors": 13, "options": 3}  # per cent


@contextlib.contextmanager
def prepared() -> Iterator[Inputs]:
    """Inputs in a folder of their own; no process is started, and from here on no run is trained."""
    from fastweights.bench import measure
    from fastweights.jobs import worker

    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        for name in ("measure_shape", "measure_token"):
            patch.setattr(measure, name, lambda *given: None)
        try:
            os.chdir(folder)
            inputs = Inputs(Path(folder))
            patch.setattr(worker, "outcome", lambda job, tell: 0)
            yield inputs
        finally:
            os.chdir(before)


def one(inputs: Inputs, kind: str, seed: int, number: int) -> str | None:
    """What went wrong with one input; None: nothing did."""
    draw = random.Random(f"{seed} {kind} {number}")
    try:
        with no_hang(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(inputs, kind)(draw)
    except UserError as error:
        try:
            said(error)
        except AssertionError as odd:
            return f"{kind} {number}: what is said is no line of a terminal: {odd}"
    except (Exception, SystemExit):
        return f"{kind} {number}: {traceback.format_exc()}"
    if (largest := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) > MEMORY:
        return f"{kind} {number}: {largest} bytes of memory, more than {MEMORY}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SHARES)
    parser.add_argument("--number", type=int, help="this one alone")
    parser.add_argument("--parts", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--part", type=int, help="this one of them alone")
    given = parser.parse_args()
    if given.part is None and given.number is None and given.parts > 1:
        again = [sys.executable, __file__, *sys.argv[1:], "--parts", str(given.parts), "--part"]
        running = [subprocess.Popen([*again, str(part)]) for part in range(given.parts)]
        return max(abs(process.wait()) for process in running)
    torch.set_num_threads(1)
    wrong, began, part = [], time.time(), f"part {given.part}, " if given.part is not None else ""
    with prepared() as inputs:
        for kind, share in SHARES.items():
            if given.only not in (None, kind):
                continue
            start = time.time()
            numbers: Any = range(given.part or 0, given.count * share // 100, given.parts if part else 1)
            numbers = numbers if given.number is None else [given.number]
            found = [said for number in numbers if (said := one(inputs, kind, given.seed, number))]
            print(f"{part}{len(numbers):,} {kind}: {len(found)} wrong, {time.time() - start:.0f} s", flush=True)
            for each in found[:20]:
                print(each, file=sys.stderr, flush=True)
            wrong += found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{part}seed {given.seed}: {len(wrong)} wrong, {time.time() - began:.0f} s, {peak:.1f} GiB at most")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
