"""Every file of the cache, read to its last byte; what is damaged is removed, to be made again."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from clfcore.cache.checksums import State, examine, note_numbers, noted_below, remove
from clfcore.cache.database import DATABASES, DiskCache
from clfcore.cache.kept import remove_unfinished
from clfcore.cache.place import alone_with
from clfcore.paths import cache_dir

FOLDERS = ("embeddings", "models", "sms_spam")  # of the cache
UNREADABLE, LEFT_OVER = "cannot be read", "left by a program that was killed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        name: of a file or folder, below the cache.
        bytes: its size.
        state: one of ``State``, ``UNREADABLE`` or ``LEFT_OVER``.
        damaged: which of its files, or how many of its entries; empty: none, or all.
        removed: it is gone, and made again when it is needed.
    """

    name: str
    bytes: int
    state: str
    damaged: str = ""
    removed: bool = False

    @property
    def is_mended(self) -> bool:
        """Whether nothing is left to do."""
        return self.removed or self.state in (State.WHOLE, State.UNNOTED)

    def to_dict(self) -> dict[str, str | int | bool]:
        """For JSON."""
        return asdict(self)


def check_cache() -> Iterator[Finding]:
    """Checks all that is kept, one after the other, and removes what is damaged.

    What has no checksum yet gets one, if it can be read.
    """
    cache = cache_dir()
    for folder in FOLDERS:
        for path in noted_below(cache / folder):
            with alone_with(path):
                yield from _check_kept(path, path.relative_to(cache).as_posix())
    for name in DATABASES:
        if os.path.lexists(cache / name):
            yield _check_database(cache / name)
    for folder in (".", *FOLDERS):
        for scratch in remove_unfinished(cache / folder):
            name = scratch.relative_to(cache).as_posix()
            yield Finding(name, 0, LEFT_OVER, removed=True)


def _check_kept(path: Path, name: str) -> Iterator[Finding]:
    size = _size(path)
    try:
        state, where = examine(path, every_byte=True)
    except PermissionError:
        yield Finding(name, size, UNREADABLE)
        return
    if state is State.UNNOTED:
        try:
            note_numbers(path)
        except Exception:  # whatever a library says of a damaged file
            state = State.DAMAGED
    if state is State.ABSENT:  # somebody has removed it, to have it made again
        remove(path)
    elif state is State.DAMAGED:
        inside = "" if where == path else where.relative_to(path).as_posix()
        yield Finding(name, size, state, inside, remove(path))
    else:
        yield Finding(name, size, state)


def _check_database(path: Path) -> Finding:
    size = _size(path)
    try:
        entries, damaged, removed = DiskCache(path).check()
    except (OSError, sqlite3.Error):
        return Finding(path.name, size, UNREADABLE)
    if not damaged:
        return Finding(path.name, size, State.WHOLE)
    some = f"{damaged:,} of {entries:,} entries" if entries else ""
    return Finding(path.name, size, State.DAMAGED, some, removed)


def _size(path: Path) -> int:
    files = [path, *path.rglob("*")]
    return sum(each.stat().st_size for each in files if os.path.isfile(each))
