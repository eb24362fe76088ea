"""What a power cut may leave of a folder, at any moment of what is done to it.

The system calls of this process are watched. Content that was not synced since may be there in whole, in part, as zeros
or not at all; so may a name, until its folder is synced; each on its own. The result is every such state, as
{file: content}.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

State = frozenset[tuple[str, bytes | None]]  # None: a folder
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
MOST = 4096  # states of one moment
FOLDER = -1  # in place of the number of a file

_watching: list["Watched"] = []


@sys.addaudithook
def _before(event: str, arguments: Any) -> None:
    if _watching and event in EVENTS and not isinstance(arguments[0], int) and arguments[0] is not None:
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if f"{path}/".startswith(f"{_watching[-1].root}/"):
            _watching[-1].look()


def states_of(
    root: Path,
    action: Callable[[], Any],
    promised: Callable[[], int] = lambda: 0,
    synced: Callable[[Path], bool] = lambda path: True,
) -> dict[State, int]:
    """Every state that a power cut during the action can leave; of each the most that was `promised` when it was one.

    synced: whether a call of fsync for this path does anything.
    """
    watched = Watched(root, promised)
    with patched_fsync(watched, synced):
        _watching.append(watched)
        try:
            action()
        finally:
            watched.look()
            _watching.pop()
            watched.close()
    return watched.states


def write_state(state: State, folder: Path) -> None:
    folder.mkdir()
    for name, content in sorted(state):
        path = folder / name
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)


@contextmanager
def patched_fsync(watched: "Watched", synced: Callable[[Path], bool]) -> Iterator[None]:
    real = os.fsync

    def fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        watched.look()
        real(descriptor)
        if synced(Path(os.readlink(f"/proc/self/fd/{descriptor}"))):
            watched.sync(descriptor)

    os.fsync = fsync
    try:
        yield
    finally:
        os.fsync = real


class Watched:
    def __init__(self, root: Path, promised: Callable[[], int]) -> None:
        self.root, self.promised = root.resolve(), promised
        self.states: dict[State, int] = {}
        self.names: dict[str, list[int | None]] = {}  # what each name may be: first as synced, last as it is
        self.contents: dict[int, list[bytes]] = {}  # likewise of each file, by its number
        self.held: dict[int, int] = {}  # descriptors, so that no number is given to another file
        self.busy = True
        self.take()
        self.names = {name: each[-1:] for name, each in self.names.items()}
        self.contents = {number: each[-1:] for number, each in self.contents.items()}
        self.busy = False

    def close(self) -> None:
        for descriptor in self.held.values():
            os.close(descriptor)

    def look(self) -> None:
        if not self.busy:
            self.busy = True
            self.take()
            self.tell()
            self.busy = False

    def sync(self, descriptor: int) -> None:
        info = os.fstat(descriptor)
        if info.st_ino in self.contents:
            self.contents[info.st_ino] = self.contents[info.st_ino][-1:]
        for name, each in self.names.items():
            above = (self.root / name).parent
            if above.is_dir() and above.stat().st_ino == info.st_ino:
                self.names[name] = each[-1:]
        self.look()

    def take(self) -> None:
        """The names and contents as they are."""
        there = {str(path.relative_to(self.root)): path for path in self.root.rglob("*")}
        for name in there.keys() | self.names.keys():
            path = there.get(name)
            number = None if path is None else FOLDER if path.is_dir() else path.stat().st_ino
            each = self.names.setdefault(name, [None])
            if each[-1] != number:
                each.append(number)
            if number not in self.held and number not in (None, FOLDER):
                self.held[number] = os.open(path, os.O_RDONLY)
        for number, descriptor in self.held.items():
            content = os.pread(descriptor, 2**30, 0)
            each = self.contents.setdefault(number, [b""])
            if each[-1] != content:
                each.append(content)

    def tell(self) -> None:
        promised = self.promised()
        names = list(self.names)
        several = list(product(*(dict.fromkeys(self.names[name]) for name in names)))
        assert len(several) <= MOST, f"{len(several)} states of names at once"
        for chosen in several:
            placed = {name: number for name, number in zip(names, chosen, strict=True) if number is not None}
            numbers = sorted({number for number in placed.values() if number != FOLDER})
            for contents in product(*(torn(self.contents[number]) for number in numbers)):
                held = dict(zip(numbers, contents, strict=True))
                state = frozenset(
                    (name, held.get(number)) for name, number in placed.items()
                    if all(placed.get(str(above)) == FOLDER for above in list(Path(name).parents)[:-1])
                )  # fmt: skip
                self.states[state] = max(self.states.get(state, promised), promised)


def torn(contents: list[bytes]) -> list[bytes]:
    """What may be found in a file: as synced, as it is, and what lies between, cut or zero."""
    old, new = contents[0], contents[-1]
    if old == new:
        return list(dict.fromkeys(contents))
    same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    half = (same + len(new)) // 2
    return list(dict.fromkeys([*contents, new[:half], new[:half] + bytes(len(new) - half), new[:-1]]))
