"""Folders for what lives as long as a process: below the system's temporary folder.

Who is killed cannot clean up, so the next process does. It takes away only what is surely
abandoned: each folder holds a file that its process keeps locked, and the system lets go of that
lock whatever ends the process.
"""

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clfcore.errors import TuneshotError

if sys.platform != "win32":  # where nothing is locked, and nothing taken away
    import fcntl

PREFIX = "tuneshot-"
_LOCK = ".in-use"


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A new folder, readable by its owner only; with all that is in it, it is gone at the end.

    What processes that were killed have left behind goes first.

    Args:
        purpose: a word for its name, for people who look.

    Raises:
        TuneshotError: the temporary folder is full, or cannot be written.
    """
    _remove_abandoned()
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    except OSError as error:
        raise no_room(error) from error
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def no_room(error: OSError) -> TuneshotError:
    """What to say of a temporary folder that is full, or cannot be written."""
    fault = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or error
    return TuneshotError(
        f"there is no room for temporary files ({fault}); "
        "free some space, or set TMPDIR to a folder that can be written"
    )


_of_this_process = contextlib.ExitStack()


def process_folder(purpose: str) -> Path:
    """A ``scratch_folder`` that is there as long as this process, or until it says otherwise.

    Args:
        purpose: a word for its name, for people who look.

    Raises:
        TuneshotError: the temporary folder is full, or cannot be written.
    """
    return _of_this_process.enter_context(scratch_folder(purpose))


@atexit.register
def remove_process_folders() -> None:
    """Takes away all of this process's; a server that a signal ends does not come to its end."""
    _of_this_process.close()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder; nobody sees the file before it is locked."""
    if sys.platform == "win32":
        yield
        return
    new = folder / f"{_LOCK}.new"
    try:
        lock = new.open("w")
    except OSError as error:
        raise no_room(error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(folder / _LOCK)
        yield


def _remove_abandoned() -> None:
    """Takes away our own folders whose process is gone."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                    continue
                with (folder / _LOCK).open("r+") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
