"""Machine code of the kernels on disk: where it cannot be kept, and when it is out of date."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fastweights
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import cpu_runtime

pytest.importorskip("numba")

FRESH = """
import logging, sys
import torch
logging.basicConfig(level=logging.INFO)
import fastweights.ops.fast_weights_rnn
assert "numba" not in sys.modules, "imported before it is needed"
from numba.core import caching
def refuse(self):
    raise OSError("read-only")
for locator in caching.CacheImpl._locator_classes:
    locator.ensure_cache_path = refuse
from fastweights.ops import fast_weights_rnn
from fastweights.ops.fast_weights_rnn import cpu_runtime
with torch.no_grad():
    got = fast_weights_rnn(torch.ones(2, 1, 3), torch.eye(3))[0]
assert got.flatten().tolist() == [1.0] * 6, got
from fastweights.ops.fast_weights_rnn import cpu_kernels
print("cached", bool(cpu_kernels.step.stats.cache_path))
"""


def test_a_first_call_where_no_cache_can_be_written(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "cached False" in done.stdout
    assert "the step pass for float32 on CPU is loaded, or compiled" in done.stderr
    assert not any(tmp_path.rglob("*.nbi"))


def test_a_full_disk_only_warns(monkeypatch, caplog):
    monkeypatch.setattr(cpu_runtime, "_ready", {})
    from fastweights.ops.fast_weights_rnn import cpu_kernels

    tries = []

    def full(*arguments):
        tries.append(arguments)
        if len(tries) == 1:
            raise OSError("no space left")

    monkeypatch.setattr(cpu_kernels, "step", full)
    with torch.no_grad(), caplog.at_level(logging.WARNING, "fastweights"):
        fast_weights_rnn(torch.ones(2, 1, 3), torch.eye(3), backend="cpu")
    assert len(tries) == 2 and "could not be kept on disk: no space left" in caplog.text


def test_machine_code_on_disk_belongs_to_all_the_sources_it_was_made_of(tmp_path):
    """A copy of the package in which only a helper of the kernels changes must not run the old kernels."""
    package = Path(fastweights.__file__).parent
    shutil.copytree(package, tmp_path / "fastweights", ignore=shutil.ignore_patterns("__pycache__"))
    samples = tmp_path / "fastweights/ops/fast_weights_rnn/cpu_samples.py"
    code = (
        "import torch; from fastweights.ops import fast_weights_rnn as op\n"
        "with torch.no_grad(): print(op(torch.full((1, 1, 1), 3.0), torch.zeros(1, 1), backend='cpu', inner_steps=0)[0].item())"
    )

    def run():
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run() == 3.0
    source = samples.read_text()
    body = source.index("    units", source.index("def settle("))
    samples.write_text(source[:body] + "    x[0] = 7.0\n" + source[body:])
    assert run() == 7.0
