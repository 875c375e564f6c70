"""The user's cache as a place: one process at a time, and what is said of it."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path

from filelock import FileLock, Timeout

from clfcore.paths import NOWHERE, cache_dir
from clfcore.wording import say

_SOON_SECONDS = 2.0  # a shorter wait is not worth a line
_PATIENCE_SECONDS = 900.0  # then this process goes on, too


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Inside it, no other process or thread makes, mends or replaces ``path``.

    Where no lock can be had nobody waits: in a cache that is read-only nobody writes.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"), is_singleton=True)
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(lock.acquire(_SOON_SECONDS))
            except Timeout:
                say(f"waiting for another process, which makes {path}…")
                held.enter_context(lock.acquire(_PATIENCE_SECONDS))
        yield


def can_keep() -> bool:
    """Whether the cache can be written; if not, it is said."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_dir()):
            return True
    except OSError as error:
        say_not_kept(error)
        return False


_said: set[Path] = set()


def say_not_kept(error: BaseException | None) -> None:
    """One line on stderr: nothing can be kept, what that costs, and what would help.

    It is said once of each cache, and not by the processes that this one starts.
    """
    folder = cache_dir()
    if folder in _said or parent_process() is not None:
        return
    _said.add(folder)
    reason = getattr(error, "strerror", None) or error
    why = "there is no home folder" if folder == NOWHERE else f"{folder}: {reason}"
    say(
        f"note: nothing can be kept ({why}), so a model is converted (25 seconds) and messages "
        "are embedded again each time; set TUNESHOT_CACHE to a folder that can be written"
    )


def say_damaged(path: Path, making: str = "") -> None:
    """One line on stderr.

    Args:
        path: what was damaged.
        making: what it takes to make it again; empty: no time.
    """
    detail = f": {making}" if making else ""
    say(f"note: {path} was damaged, so it is made again{detail}")
