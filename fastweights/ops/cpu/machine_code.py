"""Machine code of the kernels on disk, in a folder that nobody else can write into: what lies there is executed.

A file that is damaged, or of another version, is passed over with one line, and its kernel is compiled again.
"""

import grp
import hashlib
import logging
import os
import pickle
import pwd
import stat
import sys
from contextlib import suppress
from typing import Any

import llvmlite
import numba
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

MAGIC = b"fastweights kernel 1\n"
MOST = 2**26  # bytes of a file; the largest kernel has some 2**20
OTHERS = stat.S_IWGRP | stat.S_IWOTH
TOLD = "FASTWEIGHTS_TOLD_OF_CACHE"  # so that the processes which this one starts do not say it again

settings: Any = numba.config  # pyright: ignore[reportPrivateImportUsage]
_log = logging.getLogger("fastweights")


class Unsafe(Exception):
    """Somebody else could have written what is loaded here."""


class Damaged(Exception):
    """A file whose content is not what was written."""


class MachineCode:
    """The compiled variants of one kernel, a file each; a Numba dispatcher has it as its cache.

    A file has MAGIC, the stamp of what it was compiled of and by, a checksum over name, stamp and payload, and the
    payload: what Numba pickles of a kernel. Nothing is unpickled before stamp and checksum are right.

    It differs from Numba's cache in that: files are synced, checked, and of this user alone.
    """

    def __init__(self, function: Any, sources: str) -> None:
        self.folder = folder()
        self.kernel = f"{function.__module__.removeprefix('fastweights.ops.')}.{function.__name__}"
        self.file = function.__code__.co_filename
        self.code = (sources, numba.__version__, llvmlite.__version__)
        self.enabled = True

    @property
    def cache_path(self) -> str | None:
        try:
            os.close(open_folder(self.folder))
            return self.folder
        except (OSError, Unsafe):
            return None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel; None where it has to be compiled."""
        target_context.refresh()
        if not self.enabled:
            return None
        name, stamp = self._names(sig, target_context.codegen())
        path = os.path.join(self.folder, name)
        try:
            payload = payload_of(read(self.folder, name), name, stamp)
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except OSError:  # no such file, or no such folder: that is told where the kernel cannot be kept, either
            return None
        except Unsafe as error:
            tell(
                f"{error}, and what lies in the cache of kernels is executed: got none of it, compiling in each "
                "process; wanted a folder that you alone can write into (chmod go-w, or NUMBA_CACHE_DIR=FOLDER)"
            )
        except Exception as error:  # whatever a file makes of Numba: a kernel can always be compiled
            tell(f"{path}: got {said(error)}, wanted a compiled kernel: it is compiled again")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if not self.enabled or data.library.has_dynamic_globals:
            return
        name, stamp = self._names(sig, data.codegen)
        payload = dumps(data._reduce())
        try:
            write(self.folder, name, MAGIC + stamp + checksum(name, stamp, payload) + payload)
        except OSError as error:
            tell(f"{self.folder}: got {said(error)}: compiled kernels could not be kept there (NUMBA_CACHE_DIR=FOLDER)")
        except Unsafe:
            pass  # that was told when it was to be loaded

    def flush(self) -> None:
        """Nothing is kept in this process."""

    def enable(self) -> None:
        self.enabled = True

    def disable(self) -> None:
        self.enabled = False

    def _names(self, sig: Any, codegen: Any) -> tuple[str, bytes]:
        """The file, one for each checkout, interpreter, processor and signature; and the stamp of its content."""
        place = repr((self.file, sys.implementation.cache_tag, codegen.magic_tuple(), str(sig)))
        stamp = hashlib.sha256(repr((*self.code, place)).encode()).digest()
        return f"{self.kernel}-{hashlib.sha256(place.encode()).hexdigest()[:16]}", stamp


def folder() -> str:
    """Numba's own option, or the folder that the system has for caches of the user."""
    own = os.environ.get("XDG_CACHE_HOME", "")
    caches = own if os.path.isabs(own) else os.path.expanduser("~/.cache")
    return os.path.abspath(settings.CACHE_DIR or os.path.join(caches, "fastweights"))


def payload_of(content: bytes, name: str, stamp: bytes) -> bytes:
    """What was kept. Raises `Damaged` where that is not what was written, or of something else."""
    at, size = len(MAGIC), hashlib.sha256().digest_size
    got, check, payload = content[at : at + size], content[at + size : at + 2 * size], content[at + 2 * size :]
    if content[:at] != MAGIC or check != checksum(name, got, payload):
        raise Damaged("a damaged file")
    if got != stamp:
        raise Damaged("what another version has compiled")
    return payload


def checksum(name: str, stamp: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(name.encode() + stamp + payload).digest()


def open_folder(path: str) -> int:
    """The descriptor of the folder, which is made for this user alone. Raises `Unsafe` where others can change it."""
    make_folder(path)
    path = os.path.realpath(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        check_owner(path, os.fstat(descriptor), OTHERS)
        while (path := os.path.dirname(path)) != os.path.dirname(path):  # who may move our folder away
            info = os.stat(path)
            alone = stat.S_IWGRP if own_group(info.st_gid) else 0
            check_owner(path, info, 0 if info.st_mode & stat.S_ISVTX else OTHERS & ~alone)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_folder(path: str) -> None:
    if not os.path.isdir(path):
        if (above := os.path.dirname(path)) != path:
            make_folder(above)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)


def check_owner(path: str, info: os.stat_result, refused: int) -> None:
    if info.st_uid not in (os.geteuid(), 0, os.stat("/").st_uid):
        raise Unsafe(f"{path}: belongs to user {info.st_uid}")
    if info.st_mode & refused:
        raise Unsafe(f"{path}: others can write there (mode {stat.S_IMODE(info.st_mode):o})")


def own_group(number: int) -> bool:
    """Whether a group has this user alone, as many systems make one for each: they let it write by default."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return (group.gr_gid, group.gr_name) == (user.pw_gid, user.pw_name) and set(group.gr_mem) <= {user.pw_name}


def read(path: str, name: str) -> bytes:
    within = open_folder(path)
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(error.strerror) from None
    finally:
        os.close(within)
    with os.fdopen(file, "rb") as opened:
        info = os.fstat(file)
        check_owner(os.path.join(path, name), info, OTHERS)
        if not stat.S_ISREG(info.st_mode) or info.st_size > MOST:
            raise Damaged("no file of a kernel")
        return opened.read()


def write(path: str, name: str, content: bytes) -> None:
    """The whole new file or the whole old one, whatever is killed or cut when."""
    within, part = open_folder(path), f".{name}.{os.getpid()}.part"
    try:
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=within)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=within)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(file)
            os.replace(part, name, src_dir_fd=within, dst_dir_fd=within)
        except BaseException:
            os.unlink(part, dir_fd=within)
            raise
    finally:
        os.close(within)


def said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:100] or type(error).__name__


def tell(text: str) -> None:
    """One line, whatever else is wrong: the way out is the same."""
    if TOLD not in os.environ:
        os.environ[TOLD] = "1"
        _log.warning("%s", text)
