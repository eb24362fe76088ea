"""The cache of kernels: whatever lies in its files and whoever may write into its folder, the answer is right."""

import logging
import os
import pickle
import stat

import pytest

numba = pytest.importorskip("numba")

from fastweights.ops.cpu import compilation, machine_code  # noqa: E402


def double(x):
    return 2 * x


class Planted:
    """What executes code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["PLANTED"],)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    monkeypatch.setenv(machine_code.TOLD, "1")  # so that it is taken back, whatever the test makes of it
    monkeypatch.setenv("PLANTED", str(tmp_path / "planted"))
    return folder


def run(monkeypatch):
    """A process of its own, as far as the cache is concerned: (whether the kernel was loaded, its answer)."""
    monkeypatch.delenv(machine_code.TOLD, raising=False)
    kernel = compilation.cached(double)
    answer = kernel(21)
    return bool(kernel.stats.cache_hits), answer


def only_file(folder):
    (file,) = folder.iterdir()
    return file


def swapped(path):
    """The file of the same kernel for another signature."""
    compilation.cached(double)(1.5)
    (other,) = set(path.parent.iterdir()) - {path}
    other.replace(path)


def linked(path):
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def replaced(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut in its head": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "noise": lambda path: path.write_bytes(os.urandom(10**6)),
    "a flipped bit": flipped,
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Planted())),
    "a pickle behind its head": lambda path: path.write_bytes(path.read_bytes()[:85] + pickle.dumps(Planted())),
    "the file of another": swapped,
    "a link": linked,
    "a FIFO": replaced(lambda path: os.mkfifo(path, 0o600)),
    "a file that others can write": lambda path: path.chmod(0o666),
    "a file that the group can write": lambda path: path.chmod(0o660),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_kernel_is_compiled_again_with_one_line(damage, cache, monkeypatch, caplog, tmp_path):
    assert run(monkeypatch) == (False, 42) and run(monkeypatch) == (True, 42)
    path = only_file(cache)
    DAMAGES[damage](path)
    with caplog.at_level(logging.WARNING, "fastweights"):
        assert run(monkeypatch) == (False, 42)
    (record,) = caplog.records
    assert str(path) in record.getMessage() and "\n" not in record.getMessage()
    assert run(monkeypatch) == (True, 42)
    assert not (tmp_path / "planted").exists()


def test_a_folder_in_place_of_a_file_costs_a_compilation_each_time(cache, monkeypatch):
    run(monkeypatch)
    path = only_file(cache)
    path.unlink()
    path.mkdir()
    assert [run(monkeypatch) for _ in range(2)] == [(False, 42)] * 2


@pytest.mark.parametrize("what", ["numba", "llvmlite"])
def test_what_another_version_has_compiled_is_compiled_again(what, cache, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(getattr(machine_code, what), "__version__", "0.0")
        run(patch)
    with caplog.at_level(logging.WARNING, "fastweights"):
        assert run(monkeypatch) == (False, 42)
    assert "what another version has compiled" in caplog.text
    assert run(monkeypatch) == (True, 42) and len(list(cache.iterdir())) == 1


def test_a_kernel_that_numba_cannot_rebuild_is_compiled_again(cache, monkeypatch, caplog):
    run(monkeypatch)

    def broken(*given):
        raise KeyError("what")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "fastweights"):
        patch.setattr(machine_code.CompileResult, "_rebuild", broken)
        assert run(patch) == (False, 42)
    assert "it is compiled again" in caplog.text and run(monkeypatch) == (True, 42)


def test_the_folder_and_its_files_are_the_users_alone(cache, monkeypatch):
    before = os.umask(0)
    try:
        run(monkeypatch)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(only_file(cache).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702], ids=oct)
def test_a_folder_that_others_can_write_into_is_refused(mode, cache, monkeypatch, caplog):
    run(monkeypatch)
    before = only_file(cache).read_bytes()
    cache.chmod(mode)
    with caplog.at_level(logging.WARNING, "fastweights"):
        assert run(monkeypatch) == (False, 42)
    (record,) = caplog.records
    assert f"{cache}: others can write there" in record.getMessage() and "\n" not in record.getMessage()
    assert only_file(cache).read_bytes() == before
    cache.chmod(0o700)
    assert run(monkeypatch) == (True, 42)


def test_so_is_a_folder_that_others_can_move_away(cache, monkeypatch, caplog, tmp_path):
    above = tmp_path / "above"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(above / "cache"))
    run(monkeypatch)
    above.chmod(0o777)
    assert run(monkeypatch) == (False, 42) and f"{above}: others can write there" in caplog.text
    above.chmod(0o1777)
    assert run(monkeypatch) == (True, 42)


@pytest.mark.parametrize("whose", ["the folder", "a file"])
def test_what_belongs_to_somebody_else_is_refused(whose, cache, monkeypatch, caplog):
    run(monkeypatch)
    path = cache if whose == "the folder" else only_file(cache)
    place, stat_of = path.stat(), os.fstat

    def given_away(descriptor):
        info = stat_of(descriptor)
        same = (info.st_ino, info.st_dev) == (place.st_ino, place.st_dev)
        return os.stat_result((*info[:4], 12345, *info[5:])) if same else info

    monkeypatch.setattr(machine_code.os, "fstat", given_away)
    assert run(monkeypatch) == (False, 42) and f"{path}: belongs to user 12345" in caplog.text


def test_a_full_disk_costs_a_line(cache, monkeypatch, caplog):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(machine_code.os, "fsync", full)
        assert run(patch) == (False, 42)
    assert "No space left on device: compiled kernels could not be kept" in caplog.text and not any(cache.iterdir())


@pytest.mark.parametrize("given, found", [("/x", "/x/fastweights"), ("relative", "/home/me/.cache/fastweights"), ("", "/home/me/.cache/fastweights")])  # fmt: skip
def test_the_cache_lies_where_the_system_has_those_of_the_user(given, found, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert machine_code.folder() == found
