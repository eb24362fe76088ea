"""Files of the folders that commands work in.

Each is a regular file of its folder, or one line says what it is: no link is followed, a FIFO does not block, and
nothing is cut short. A file is written whole or not at all. What the user names as input may be a link or a stream.
"""

import errno
import json
import os
import select
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastweights import memory
from fastweights.errors import UserError
from fastweights.forms import fault

MOST = 2**28  # bytes of a file that is read whole
CHUNK = 2**20
TEXT_SHARE = 8  # a text needs at least so many times its size once its lines are apart
WRITER_WAIT = 5.0  # seconds for somebody to write into a FIFO
KINDS = {
    stat.S_IFREG: "a regular file", stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device",
}  # fmt: skip
DEEPEST, LONGEST = 30, 200  # layers of a JSON, and characters of what is wrong with it
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileError(UserError):
    """A file or a folder that cannot be used as asked; the message names it."""


class MissingFile(FileError):
    """There is no such file."""


@contextmanager
def named(path: Path, wanted: str = "a file that can be used") -> Iterator[None]:
    """What the system refuses is said in one line with the name of the file."""
    try:
        yield
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file or folder, wanted {wanted}") from None
    except OSError as error:
        wanted = "room for it; free some, or choose another folder" if error.errno in FULL else wanted
        raise FileError(f"{path}: got {error.strerror or error}, wanted {wanted}") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise FileError(f"{str(path)!r}: got {error}, wanted a path") from None  # a zero byte in it


def kind_of(path: Path) -> str | None:
    """What lies there, a link as such; None where nothing does."""
    try:
        with named(path):
            return KINDS.get(stat.S_IFMT(path.lstat().st_mode), "something else")
    except MissingFile:
        return None
    except FileError:
        if path.parent.is_dir():
            raise
        return None  # a file on the way there


def exists(path: Path) -> bool:
    return kind_of(path) is not None


def check(path: Path, wanted: str = "a regular file") -> None:
    """Raise unless there is a regular file, or nothing."""
    if (kind := kind_of(path)) not in (None, KINDS[stat.S_IFREG]):
        raise FileError(f"{path}: got {kind}, wanted {wanted}; remove it, or choose another folder")


def check_folder(folder: Path) -> None:
    """Raise where a folder that a command chose itself is a link to one elsewhere, or no folder."""
    if (kind := kind_of(folder)) not in (None, KINDS[stat.S_IFDIR]):
        raise FileError(f"{folder}: got {kind}, wanted a folder; remove it, or choose another one")


def open_file(path: Path, flags: int, wanted: str = "a regular file") -> int:
    """The descriptor of a regular file."""
    check(path, wanted)
    with named(path, wanted):
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise FileError(f"{path}: got no regular file, wanted {wanted}")
    return file


def read(path: Path, wanted: str = "a regular file", most: int = MOST) -> bytes:
    """All of a file; `MissingFile` where there is none."""
    file = open_file(path, os.O_RDONLY, wanted)
    try:
        with named(path, wanted):
            content = _read_up_to(file, most)
    finally:
        os.close(file)
    if content is None:
        raise FileError(f"{path}: got a file of more than {memory.size(most)}, wanted {wanted}")
    return content


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON; `ValueError` whatever is wrong with it."""
    with suppress(RecursionError):
        found = json.loads(text)
        layer = [found]
        for _ in range(DEEPEST):
            layer = [x for each in layer if isinstance(each, dict | list)
                     for x in (each.values() if isinstance(each, dict) else each)]  # fmt: skip
            if not layer:
                return found
    raise ValueError("it is nested too deep")


def read_json(path: Path, form: Any, wanted: str) -> Any:
    """The content of a JSON of this form (forms.py)."""
    content = read(path, wanted)
    try:
        found = parse_json(content)
    except ValueError as error:
        said = str(error)[:LONGEST]
        raise FileError(f"{path}: got a file that cannot be read as JSON ({said}), wanted {wanted}") from None
    if said := fault(found, form):
        raise FileError(f"{path}: {said}, in {wanted}")
    return found


def write_json(path: Path, content: Any) -> None:
    write(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


@contextmanager
def said_of(path: Path) -> Iterator[None]:
    """What is wrong with the content of a file is said with its name."""
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise FileError(f"{path}: {error}") from None


def write(path: Path, content: bytes) -> None:
    """The whole new file or the whole old one, whatever is killed or cut when; after the call, the new one."""
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Every file, or none of them where one cannot be written; they come to be there in this order."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    for path in contents:
        check(path)
    try:
        for path, part in parts.items():
            with named(path, "a file to write"):
                part.unlink(missing_ok=True)
                with os.fdopen(open_file(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                    file.write(contents[path])
                    file.flush()
                    os.fsync(file.fileno())
        for path, part in parts.items():
            with named(path, "a file to write"):
                os.replace(part, path)
                sync_folder(path.parent)
    finally:
        for part in parts.values():
            with suppress(OSError, ValueError):
                part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A power cut leaves the names in the folder as they are now."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)


def append(path: Path, line: str) -> None:
    """A line more, whole or not at all; after the call, a power cut leaves it there."""
    new = not exists(path)
    file = open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        size, content = os.fstat(file).st_size, line.encode()
        with named(path, "a file to write"):
            try:
                while content:
                    content = content[os.write(file, content) :]
                os.fsync(file)
                if new:
                    sync_folder(path.parent)
            except OSError:
                os.ftruncate(file, size)
                raise
    finally:
        os.close(file)


def touch(path: Path) -> None:
    os.close(open_file(path, os.O_WRONLY | os.O_CREAT))


def remove_parts(folder: Path, names: Iterable[str]) -> None:
    """Of these files what a process left that was killed as it wrote."""
    for name in names:
        for part in folder.glob(f".{name}.*.part"):
            check(part)
            with named(part):
                part.unlink()


def make_folder(folder: Path) -> None:
    """With all folders above it; one that nothing can be written into is refused."""
    try:
        with named(folder, "a folder; choose another"):
            missing = [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            for each in missing:
                sync_folder(each.parent)
    except FileError:
        if any(exists(each) and not each.is_dir() for each in (folder, *folder.parents)):
            raise FileError(f"{folder}: got a file on the way there, wanted a folder; choose another") from None
        raise
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"{folder}: got a folder that nothing can be written into; choose another")


def most_text() -> int:
    """Bytes of a text whose lines fit into what memory is free."""
    return int(min(memory.available() / TEXT_SHARE, 2**62))


def is_stream(path: Path) -> bool:
    """Whether what the user names can be read once alone: a descriptor such as /dev/stdin, or a FIFO."""
    if descriptor_of(path) is not None:
        return True
    with suppress(OSError, ValueError):
        return not (path.is_file() or path.is_dir()) and path.exists()
    return False


@contextmanager
def readable_again(path: Path | None) -> Iterator[Path | None]:
    """What the user names, if it can be read again and again; of a stream a copy, as long as this lasts.

    What is said of the copy is said of the stream.
    """
    if path is None or not is_stream(path):
        yield path
        return
    content = read_named(path)
    with tempfile.TemporaryDirectory(prefix="fastweights-") as folder:
        copy = Path(folder) / "stream"
        write(copy, content)
        try:
            yield copy
        except UserError as error:
            if str(copy) not in str(error):
                raise
            raise FileError(str(error).replace(str(copy), str(path))) from None


def read_named(path: Path, wanted: str = "a file") -> bytes:
    """All of a file that the user names: a link is followed, a stream is read to its end."""
    most = most_text()
    with named(path, wanted):
        descriptor = descriptor_of(path)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if descriptor is None else os.dup(descriptor)
        try:
            kind = stat.S_IFMT(os.fstat(file).st_mode)
            if descriptor is None and kind == stat.S_IFIFO and not _has_writer(file):
                raise FileError(f"{path}: got a FIFO that nobody writes into, wanted {wanted}")
            if descriptor is None and kind not in (stat.S_IFREG, stat.S_IFIFO):
                raise FileError(f"{path}: got {KINDS.get(kind, 'something else')}, wanted {wanted}")
            content = _read_up_to(file, most)
        finally:
            os.close(file)
    if content is None:
        raise FileError(f"{path}: got more than {memory.size(most)}, wanted what the free memory can hold")
    return content


def descriptor_of(path: Path) -> int | None:
    """The open descriptor that a path such as /dev/stdin or /dev/fd/63 means."""
    with suppress(OSError, ValueError):
        homes = {os.path.realpath("/dev/fd"), f"/proc/{os.getpid()}/fd"}
        for _ in range(10):
            if path.name.isdecimal() and os.path.realpath(path.parent) in homes:
                return int(path.name)
            path = path.parent / os.readlink(path)
    return None


def _read_up_to(file: int, most: int) -> bytes | None:
    """All that a descriptor gives; None where that is more."""
    chunks, count = [], 0
    while True:
        try:
            chunk = os.read(file, CHUNK)
        except BlockingIOError:
            select.select([file], [], [])
            continue
        chunks.append(chunk)
        count += len(chunk)
        if not chunk or count > most:
            return b"".join(chunks) if count <= most else None


def _has_writer(file: int) -> bool:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(1000 * WRITER_WAIT))
