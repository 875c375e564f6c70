"""Disks that are full or cannot be written."""

import builtins
import io
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Before a command: rights bind root, too.
AS_A_USER = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if hasattr(os, "geteuid") and os.geteuid() == 0
    else []
)
LIBRARIES_MAY_WRITE = 100_000  # bytes: what is not written by Python meets the system's own limit


@contextmanager
def full_disk(folder: Path, number: int) -> Iterator[None]:
    """Files below ``folder`` can be opened, and take half of what is written to them.

    Args:
        folder: what lies on that disk.
        number: what the system says, as ``errno.ENOSPC``.
    """
    usual = io.open

    def open_there(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        opened = usual(file, mode, *rest, **options)
        named = not isinstance(file, int) and not os.path.isdir(file)  # a scratch file has no name
        if (
            named
            and set(mode) & set("wax+")
            and Path(os.fsdecode(file)).absolute().is_relative_to(folder)
        ):
            opened.write = partial(_write_half, opened, opened.write, number)
        return opened

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", open_there)
        patch.setattr(builtins, "open", open_there)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIBRARIES_MAY_WRITE, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """``folder`` is a disk of its own, of two megabytes, where this system lets us."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "small", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leaves not a byte on the disk of ``folder``."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def _write_half(file: io.IOBase, write: Callable[[Any], int], number: int, content: Any) -> int:
    def refuse(_: object = None) -> int:
        raise OSError(number, os.strerror(number))

    written = write(content[: len(content) // 2])
    file.write = refuse
    return written if isinstance(file, io.RawIOBase) else refuse()
