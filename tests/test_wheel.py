"""The wheel: what is in it, and that it works where nothing of the checkout is."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRAIN = """
import pathlib, fastweights
assert pathlib.Path(fastweights.__file__).is_relative_to(pathlib.Path("site").resolve()), fastweights.__file__
run = fastweights.train("GRU", folder="run", hidden_size=8, epochs=1, train_size=128, valid_size=32)
print(len(run.curve), fastweights.load("run").name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: nothing is written into the checkout."""
    where = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "fastweights", where / "fastweights", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, where / name)
    pip("wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", where=where)
    (built,) = (where / "dist").iterdir()
    return built


def pip(*arguments, where):
    command = [sys.executable, "-m", "pip", *arguments, "--no-index", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_has_every_module_the_types_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (entry,) = [file.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "fastweights").rglob("*.py")}
    data = {"py.typed"} | {f"explorer/{name}" for name in ("page.html", "explorer.css", "explorer.js")}
    assert {name for name in names if name.startswith("fastweights/")} == modules | {
        f"fastweights/{name}" for name in data
    }
    assert "fastweights = fastweights.cli:main" in entry


def test_it_installs_and_trains_in_a_folder_apart(wheel, tmp_path):
    pip("install", str(wheel), "--no-deps", "--target", "site", where=tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", TRAIN], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1 GRU\n"), done.stderr
    about = [sys.executable, "-m", "fastweights", "--version"]
    assert subprocess.run(about, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout == "0.1.0\n"
