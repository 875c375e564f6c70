"""Whether what was kept is still what was written.

Beside a file or folder ``NAME`` of the cache lies ``.NAME.checksum``, written with it: the size,
time of change and sha256 of each of its files. To look at sizes and times costs nothing; only where
they differ from those noted are the bytes read, which takes a second for a model.
"""

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from clfcore.json_text import to_json
from clfcore.paths import CannotWriteError, atomic_write

CHECKSUM = ".checksum"
Sums = dict[str, tuple[int, int, str]]  # file, "." if it is the only one -> size, time, sha256
_NO_SUMS = (OSError, ValueError, TypeError, KeyError, AttributeError)  # what a damaged note raises


class State(StrEnum):
    """What can be said of a file or folder of the cache."""

    ABSENT = "not there"
    UNNOTED = "no checksum yet"  # kept by an earlier version, or by hand
    WHOLE = "whole"
    DAMAGED = "damaged"


def is_unchanged(path: Path) -> bool:
    """Whether sizes and times are those noted; a look, which needs no lock."""
    try:
        return _sizes_and_times(path) == {name: sum_[:2] for name, sum_ in _noted(path).items()}
    except _NO_SUMS:
        return False


def examine(path: Path, every_byte: bool = False) -> tuple[State, Path]:
    """What can be said of it, and which of its files that is about.

    Args:
        path: no other process writes it now, see ``alone_with``.
        every_byte: reads also what has the size and time that were noted.

    Raises:
        PermissionError: it may not be read.
    """
    if not os.path.lexists(path):
        return State.ABSENT, path
    if not os.path.lexists(note_path(path)):
        return (State.UNNOTED if path.is_file() or path.is_dir() else State.DAMAGED), path
    try:
        noted, found = _noted(path), _sizes_and_times(path)
        if unlike := noted.keys() ^ found.keys():
            return State.DAMAGED, path / min(unlike)
        changed = [name for name, look in found.items() if look != noted[name][:2]]
        for name in found if every_byte else changed:
            if _sha256(path / name) != noted[name][2]:
                return State.DAMAGED, path / name
        if changed:
            note(path, {name: (*look, noted[name][2]) for name, look in found.items()})
    except PermissionError:
        raise
    except _NO_SUMS:
        return State.DAMAGED, path
    return State.WHOLE, path


def checksums(path: Path) -> Sums:
    """Those of a file or folder: reads all of it.

    Raises:
        OSError: it cannot be read.
    """
    return {name: (*look, _sha256(path / name)) for name, look in _sizes_and_times(path).items()}


def note(path: Path, sums: Sums) -> None:
    """Writes them beside ``path``; where that is not possible, nothing is noted."""
    with suppress(CannotWriteError), atomic_write(note_path(path)) as new:
        new.write_text(to_json(sums), encoding="ascii")


def note_numbers(path: Path) -> None:
    """Notes what has no checksum yet, if it can be read and its tensors are numbers.

    Raises:
        Exception: whatever a library says of a damaged file.
    """
    check_numbers(path)
    note(path, checksums(path))


def note_path(path: Path) -> Path:
    """Where the checksums of a file or folder lie."""
    return path.with_name(f".{path.name}{CHECKSUM}")


def noted_below(folder: Path) -> list[Path]:
    """The files and folders in ``folder`` that are noted, or could be: no hidden ones."""
    if not folder.is_dir():
        return []
    names = {
        each.name.removeprefix(".").removesuffix(CHECKSUM)
        for each in folder.iterdir()
        if not each.name.startswith(".") or each.name.endswith(CHECKSUM)
    }
    return [folder / name for name in sorted(names)]


def check_numbers(path: Path) -> None:
    """Of tensors without a checksum: each of their numbers has to be one.

    Raises:
        ValueError: one is infinite, or none.
        OSError, SafetensorError: they cannot be read.
    """
    import numpy as np
    from safetensors import safe_open

    for file in path.rglob("*.safetensors") if path.is_dir() else [path]:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                    if not np.isfinite(tensors.get_tensor(name)).all():
                        raise ValueError(f"{file}: {name} is not finite")


def remove(path: Path) -> bool:
    """Removes a file or folder and its checksums; whether that was possible."""
    try:
        for each in (path, note_path(path)):
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _noted(path: Path) -> Sums:
    """What was noted; raises one of ``_NO_SUMS`` if that is not there or damaged."""
    if not note_path(path).is_file():  # nobody waits for a pipe, or reads a device to its end
        raise ValueError("not a file")
    noted = json.loads(note_path(path).read_bytes())
    return {name: (int(size), int(time), str(sha)) for name, (size, time, sha) in noted.items()}


def _sizes_and_times(path: Path) -> dict[str, tuple[int, int]]:
    """Of each file; hidden ones, which other programs leave (``.DS_Store``), do not count."""
    files = [each for each in path.rglob("[!.]*") if not each.is_dir()]
    found = {}
    for file in files if path.is_dir() else [path]:
        if not file.is_file():
            raise ValueError("not a file")
        if not os.access(file, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        stat = file.stat()
        found[file.relative_to(path).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
