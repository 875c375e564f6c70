"""The data directory: what people leave behind, and the secret that guards it.

Unlike the cache it cannot be made again. Only its owner may look inside.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from clfcore.errors import TuneshotError
from clfcore.paths import NOWHERE, expanded, users_folder


def data_dir() -> Path:
    """``$TUNESHOT_DATA`` or the user's data folder; it exists afterwards.

    Raises:
        TuneshotError: it cannot be made.
    """
    named = os.environ.get("TUNESHOT_DATA")
    usual = users_folder("XDG_DATA_HOME", ".local/share", "data") / "chats"
    folder = expanded(named) if named else usual
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_use(folder, error) from error
    return folder


def secret(purpose: str) -> str:
    """A key of 64 hexadecimal digits for one purpose; the same after every restart.

    All keys come from one file, made when first needed.

    Raises:
        TuneshotError: the file cannot be read or written.
    """
    path = data_dir() / "secret"
    try:
        if not path.exists():
            _create(path, secrets.token_hex(32))
        return hmac.new(path.read_bytes(), purpose.encode(), hashlib.sha256).hexdigest()
    except OSError as error:
        raise _cannot_use(path, error) from error


def _create(path: Path, text: str) -> None:
    """Whole or not at all; the first of two processes wins, and both use what it wrote."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner only
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)


def _cannot_use(path: Path, error: OSError) -> TuneshotError:
    why = f"cannot use {path} ({error.strerror or error})"
    if path.is_relative_to(NOWHERE):
        why = "there is no home folder to keep chats and votes in"
    return TuneshotError(f"{why}; set TUNESHOT_DATA to a folder that can be written")
