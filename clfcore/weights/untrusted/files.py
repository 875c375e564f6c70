"""A file is a file: no link out of its folder, no pipe, no device, and not larger than it may be.

Nothing here imports torch, so that a checkpoint can be described, and refused, at once.
"""

import os
import stat
from pathlib import Path
from typing import Any

from clfcore.errors import TuneshotError
from clfcore.json_text import from_json

MOST_JSON = 16_000_000  # bytes
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_file(path: Path) -> int:
    """Refuses what cannot be read as a file: a pipe would wait, a device would never end.

    Returns:
        Its size in bytes.

    Raises:
        TuneshotError: it is none, or may not be read.
    """
    try:
        state = os.stat(path)
        if not os.access(path, os.R_OK):
            raise PermissionError(None, "Permission denied")
    except FileNotFoundError as error:
        raise TuneshotError(f"{path} is missing; copy the folder again") from error
    except (OSError, ValueError) as error:
        raise TuneshotError(
            f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); "
            "copy the folder again"
        ) from error
    if not stat.S_ISREG(state.st_mode):
        kind = _KINDS.get(stat.S_IFMT(state.st_mode), "something else")
        raise TuneshotError(f"{path} is {kind}, not a file; copy the folder again")
    return state.st_size


def check_file_of(folder: Path, name: str) -> Path:
    """A file of a model's folder, which is no link to anywhere else.

    The cache of Hugging Face keeps its files in ``blobs``, beside the folders of links.

    Raises:
        TuneshotError: it is not there, is one, or cannot be read.
    """
    path = folder / name
    check_file(path)
    inside, real = folder.resolve(), path.resolve()
    snapshots = next((above for above in inside.parents if above.name == "snapshots"), None)
    blobs = inside if snapshots is None else snapshots.parent / "blobs"
    if not real.is_relative_to(inside) and real.parent != blobs:
        raise TuneshotError(
            f"{path} is a link to {real}, outside of its folder; copy that file into the folder"
        )
    return path


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object in a file.

    Raises:
        TuneshotError: it cannot be read as one.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise TuneshotError(f"{path} is damaged: it is no JSON object")
    return value


def read_json(path: Path) -> Any:  # noqa: ANN401
    """What JSON in a file says.

    Raises:
        TuneshotError: it is too large, or no JSON.
    """
    if (size := check_file(path)) > MOST_JSON:
        raise TuneshotError(
            f"{path} has {size:,} bytes; such a file has {MOST_JSON:,} at most; copy it again"
        )
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TuneshotError(f"{path} is damaged: {error}") from error


def check_memory(place: object, needed: int) -> None:
    """Refuses weights that this machine has no memory for.

    Args:
        place: whose they are.
        needed: bytes.

    Raises:
        TuneshotError: it has none.
    """
    free = _free_memory()
    if free is not None and needed > free:
        raise TuneshotError(
            f"{place} needs {needed / 1e9:,.1f} GB of memory, and this machine has "
            f"{free / 1e9:,.1f} GB free; choose a smaller model"
        )


def _free_memory() -> int | None:
    """Bytes that programs can still have; ``None`` where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in
                     (line.partition(":") for line in lines)}  # fmt: skip
        return 1024 * (kilobytes["MemAvailable"] + kilobytes["SwapFree"])
    except (OSError, ValueError, KeyError, IndexError):  # not Linux
        return None
