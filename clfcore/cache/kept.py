"""Files and folders of the cache: made once, and made again when they are damaged."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from clfcore.cache.checksums import (
    State,
    checksums,
    examine,
    is_unchanged,
    note,
    note_numbers,
    note_path,
    remove,
)
from clfcore.cache.place import alone_with, say_damaged, say_not_kept
from clfcore.errors import TuneshotError
from clfcore.paths import UNFINISHED, CannotWriteError, atomic_write
from clfcore.wording import say

T = TypeVar("T")

# Not the file's fault; whatever else a library says of it, it is damaged.
_NO_DAMAGE = (TuneshotError, MemoryError, PermissionError)
_NOBODY_WRITES_FOR_SECONDS = 3600
_immovable: set[Path] = set()  # damaged files of a cache that is read-only, which were told of


def kept(path: Path, read: Callable[[Path], T], make: Callable[[], T], making: str = "") -> T:
    """What ``read`` makes of a file or folder of the cache, or ``make``'s if that is not possible.

    What is damaged is removed, and one line on stderr says so. Of several processes that need the
    same, one makes it and the others wait.

    Args:
        path: in ``cache_dir()``.
        read: raises anything if it is not what it should be.
        make: makes it, and calls ``keep``.
        making: a line on stderr for whoever waits; empty: it takes no time.

    Raises:
        TuneshotError: of ``read`` or ``make``.
    """
    if is_unchanged(path):
        try:
            return read(path)
        except _NO_DAMAGE:
            raise
        except Exception:  # another process may be replacing it
            pass
    with alone_with(path):
        try:
            state, where = examine(path)
            if state in (State.WHOLE, State.UNNOTED):
                try:
                    return _read(path, read, state)
                except _NO_DAMAGE:
                    raise
                except Exception:
                    state = State.DAMAGED
        except PermissionError as error:
            say_not_kept(error)
            return make()
        if state is State.DAMAGED:
            if (removed := remove(path)) or path not in _immovable:
                say_damaged(where, making)
            if not removed:
                _immovable.add(path)
        elif making:
            say(making)
        return make()


def _read(path: Path, read: Callable[[Path], T], state: State) -> T:
    value = read(path)
    if state is State.UNNOTED:
        note_numbers(path)
    return value


def keep(path: Path, write: Callable[[Path], object]) -> bool:
    """Writes a file or folder of the cache, as ``kept_write`` does, if that is possible.

    Else nothing is lost but time, and a line on stderr says why, see ``say_not_kept``.

    Args:
        path: in ``cache_dir()``.
        write: makes it at the path that it is given.

    Returns:
        Whether it is there.
    """
    try:
        with kept_write(path) as new:
            write(new)
    except CannotWriteError as error:
        say_not_kept(error.__cause__)
        return False
    return True


@contextmanager
def kept_write(path: Path) -> Iterator[Path]:
    """As ``atomic_write``, with a checksum beside what is written.

    Raises:
        CannotWriteError: the disk is full, or the place cannot be written.
    """
    remove_unfinished(path.parent)
    with ExitStack() as alone:
        with atomic_write(path) as new:
            yield new
            sums = checksums(new)
            alone.enter_context(alone_with(path))  # nobody sees the one without the other
            note_path(path).unlink(missing_ok=True)
        note(path, sums)


def remove_unfinished(folder: Path) -> list[Path]:
    """Removes what programs that were killed were writing there, and returns where it was."""
    removed = []
    for scratch in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - scratch.stat().st_mtime > _NOBODY_WRITES_FOR_SECONDS:
                shutil.rmtree(scratch)
                removed.append(scratch)
    return removed
