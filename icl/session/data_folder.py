"""The data directory: what people leave behind, and the secret that guards it.

Unlike the cache it cannot be made again. Only its owner may look inside.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import shlex
import tempfile
from itertools import pairwise
from pathlib import Path

from clfcore.errors import TuneshotError
from clfcore.paths import NOWHERE, expanded, users_folder

# Characters. Who has one cookie can try keys at home, as fast as a computer can, so a key is as
# long as RFC 7518, section 3.2, wants it for HMAC-SHA256.
SHORTEST_KEY = 32


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
        TuneshotError: the file cannot be read or written, or what it holds can be guessed.
    """
    path = data_dir() / "secret"
    try:
        if not path.exists():
            _create(path, secrets.token_hex(32))
        key = path.read_bytes()
    except OSError as error:
        raise _cannot_use(path, error) from error
    refuse_guessable(
        str(path),
        key.decode("latin-1"),
        SHORTEST_KEY,
        "put it back from a backup, or have the next start make a new one, which everybody has to "
        f"log in for again: rm {shlex.quote(str(path))}",
    )
    return hmac.new(key, purpose.encode(), hashlib.sha256).hexdigest()


def refuse_guessable(what: str, text: str, shortest: int, remedy: str | None = None) -> None:
    """Refuses a secret that others could guess.

    One letter, a word or a row of digits, written again and again, takes the same few steps from
    each character to the next. Of random ones with 16 kinds of characters, two in 100,000 of 8
    characters look like that, and none in a million of 16.

    Args:
        what: whose secret it is; the message never says the secret itself.
        text: the secret; blanks around it do not count.
        shortest: how many characters it must have.
        remedy: what to do; default: the command that makes a good one.

    Raises:
        TuneshotError: it is empty, too short, or predictable.
    """
    text = text.strip()
    steps = {ord(following) - ord(character) for character, following in pairwise(text)}
    if not text:
        complaint = "is empty"
    elif len(text) < shortest:
        complaint = f"is too short: {len(text)} of at least {shortest} characters"
    elif len(steps) <= shortest // 4:
        complaint = "is predictable: it repeats itself"
    else:
        return
    command = f"python3 -c 'import secrets; print(secrets.token_hex({shortest}))'"
    raise TuneshotError(f"{what} {complaint}; {remedy or f'make a good one: {command}'}")


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
