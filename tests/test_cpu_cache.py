"""Machine code of the kernels on disk: where it cannot be kept, and when it is out of date."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastweights

pytest.importorskip("numba")

FRESH = """
import logging, sys
import torch
logging.basicConfig(level=logging.INFO)
import fastweights.ops.fast_weights_rnn
assert "numba" not in sys.modules, "imported before it is needed"
from fastweights.ops import fast_weights_rnn
with torch.no_grad():
    got = fast_weights_rnn(torch.ones(2, 1, 3), torch.eye(3))[0]
assert got.flatten().tolist() == [1.0] * 6, got
from fastweights.ops.fast_weights_rnn import cpu_step_kernels
print("cached", bool(cpu_step_kernels.step.stats.cache_path))
"""


def test_a_first_call_where_no_cache_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file/cache")}
    environment.pop("FASTWEIGHTS_TOLD_OF_CACHE", None)
    done = subprocess.run([sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "cached False" in done.stdout
    assert "the step pass for float32 on CPU is loaded, or compiled" in done.stderr
    assert done.stderr.count("compiled kernels could not be kept there") == 1


IN_FORKS = """
import os, sys
import numba, torch  # once for all forks, each of which imports the package anew
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        exec(sys.argv[1])
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("a fork failed")
"""
ONE_STEP = """
import torch
from fastweights.ops import fast_weights_rnn
with torch.no_grad():
    print(fast_weights_rnn(torch.full((1, 1, 1), 3.0), torch.zeros(1, 1), backend="cpu", inner_steps=0)[0].item())
"""
LSTM_STEP = """
import torch
from fastweights.ops.lstm import LastHidden
print(LastHidden.apply(torch.ones(4, 1), torch.zeros(4, 1), torch.zeros(1, 1, dtype=torch.int64)).item())
"""
IDENTITY = """
@intrinsic
def hyperbolic_tangent(typing, value):
    return value(value), lambda context, builder, sig, args: args[0]
"""


def changed_in_settle(source):
    body = source.index("    units", source.index("def settle("))
    return source[:body] + "    x[0] = 7.0\n" + source[body:]


@pytest.mark.parametrize(
    "code,before,file,change,after",
    [
        (ONE_STEP, 3.0, "fast_weights_rnn/cpu_samples.py", changed_in_settle, 7.0),
        (LSTM_STEP, 0.36960, "cpu/lanes.py", lambda source: source + IDENTITY, 0.75 * 0.75),
    ],
    ids=["of the op alone", "shared by all ops"],
)
def test_machine_code_on_disk_belongs_to_all_the_sources_it_was_made_of(tmp_path, code, before, file, change, after):
    """A copy of the package in which only a helper of the kernels changes must not run the old kernels."""
    package = Path(fastweights.__file__).parent
    shutil.copytree(package, tmp_path / "fastweights", ignore=shutil.ignore_patterns("__pycache__"))

    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", IN_FORKS, code]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as forks:

        def run():
            print(file=forks.stdin, flush=True)
            return float(forks.stdout.readline())

        assert run() == pytest.approx(before, abs=1e-4)
        helper = tmp_path / "fastweights/ops" / file
        helper.write_text(change(helper.read_text()))
        assert run() == pytest.approx(after, abs=1e-4)
    assert forks.returncode == 0


def test_any_file_of_an_op_and_any_that_all_share_makes_its_kernels_anew(tmp_path, monkeypatch):
    from fastweights.ops.cpu import compilation

    ops = Path(compilation.__file__).parent.parent
    shutil.copytree(ops, tmp_path / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compilation, "__file__", str(tmp_path / "ops/cpu/compilation.py"))
    folders = [path.parent for path in (tmp_path / "ops").glob("*/cpu_kernels.py")]
    assert len(folders) >= 3
    for folder in folders:
        seen = set()
        for file in [*folder.glob("*.py"), *(tmp_path / "ops/cpu").glob("*.py")]:
            seen.add(compilation._sources.__wrapped__(folder))
            file.write_text(file.read_text() + "\n")
            assert compilation._sources.__wrapped__(folder) not in seen, file
