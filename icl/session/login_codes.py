"""Who may come in, as the environment says; read without the page, so that a mistake shows at once.

``TUNESHOT_CODES`` is ``anna:code1,ben:code2``; ``TUNESHOT_CODES_FILE`` a file with a name and a
code on each line. ``TUNESHOT_AUTH_HEADER`` is a header in which a proxy says who is there, e.g.
``X-Forwarded-User``: only behind a proxy that takes this header away from what visitors send.
``CHAINLIT_AUTH_SECRET`` signs the cookies of all of them. Programs send ``TUNESHOT_API_TOKEN``.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from clfcore.data.forms.text import read_text
from clfcore.errors import TuneshotError
from clfcore.paths import expanded
from icl.session.data_folder import SHORTEST_KEY, refuse_guessable, secret

log = logging.getLogger("tuneshot")

CODES, CODES_FILE, HEADER = "TUNESHOT_CODES", "TUNESHOT_CODES_FILE", "TUNESHOT_AUTH_HEADER"
AUTH_SECRET, API_TOKEN = "CHAINLIT_AUTH_SECRET", "TUNESHOT_API_TOKEN"

# Characters. Codes and tokens can only be tried by asking the server; wrong codes are answered
# slowly, wrong tokens as fast as they come.
SHORTEST_CODE, SHORTEST_TOKEN = 8, 16


def login_configured() -> bool:
    """Whether people log in.

    Raises:
        TuneshotError: in two ways at once.
    """
    variables = [name for name in (CODES, CODES_FILE, HEADER) if os.environ.get(name)]
    if len(variables) > 1:
        raise TuneshotError(f"{' and '.join(variables)} are both set; keep one way to log in")
    return bool(variables)


def read_codes() -> dict[str, str]:
    """Name -> code, from the environment or the file it names.

    Raises:
        TuneshotError: not of that form, a name twice, a code that can be guessed, or no name at
            all. No message contains a code.
    """
    if path := os.environ.get(CODES_FILE):
        place, lines = path, _read_private(expanded(path))
        pairs = [line.split(None, 1) for line in lines if line.strip()]
        form = "a name, a blank and a code on each line"
    else:
        place = CODES
        pairs = [part.split(":", 1) for part in os.environ.get(CODES, "").split(",")]
        form = "anna:code1,ben:code2"
    codes: dict[str, str] = {}
    for number, pair in enumerate(pairs, start=1):
        if len(pair) != 2 or not pair[0].strip():
            raise TuneshotError(f"entry {number} of {place} is not a name and a code; write {form}")
        name, code = pair[0].strip(), pair[1].strip()
        if name in codes:
            raise TuneshotError(f"{place} names {name!r} twice; give each person one code")
        refuse_guessable(f"the code of {name!r} in {place}", code, SHORTEST_CODE)
        codes[name] = code
    if not codes:
        raise TuneshotError(f"{place} names nobody; write {form}")
    return codes


class LoginCodes:
    """The codes in force; those of a file are read again when it has changed, without a restart.

    A file that cannot be used any more leaves the codes of before in force, and a line in the log.

    Raises:
        TuneshotError: as ``read_codes``.
    """

    def __init__(self) -> None:
        self._seen = _look()  # before it is read: what changes meanwhile is seen next time
        self._codes: Mapping[str, str] = read_codes()

    def current(self) -> Mapping[str, str]:
        """Name -> code; the same object until something changes. Costs one look at the file."""
        if (seen := _look()) != self._seen:
            self._seen = seen
            try:
                self._codes = read_codes()
            except TuneshotError as error:
                log.warning("the codes have changed, and those of before stay in force: %s", error)
        return self._codes


def _look() -> tuple[int, ...] | None:
    """What is different after the file of the codes has changed."""
    try:
        file = expanded(os.environ[CODES_FILE]).stat()
    except (KeyError, OSError):
        return None
    return file.st_mtime_ns, file.st_ctime_ns, file.st_size, file.st_ino


def cookie_key() -> str:
    """What signs the cookies: as the environment says, else a key of the data directory.

    Raises:
        TuneshotError: it can be guessed, or the data directory cannot be used.
    """
    if not (key := os.environ.get(AUTH_SECRET)):
        return secret("cookies")
    refuse_guessable(AUTH_SECRET, key, SHORTEST_KEY)
    return key


def api_token() -> str | None:
    """What programs send to ``/api/classify``; ``None``: it answers everybody.

    Raises:
        TuneshotError: it is set, but empty, or can be guessed.
    """
    if (token := os.environ.get(API_TOKEN)) is None:
        return None
    refuse_guessable(API_TOKEN, token, SHORTEST_TOKEN)
    return token.strip()


def _read_private(path: Path) -> list[str]:
    try:
        lines = read_text(path).split("\n")
    except TuneshotError as error:
        raise TuneshotError(f"{CODES_FILE}: {error}") from error
    if path.stat().st_mode & 0o077:
        log.warning("others on this machine can read the codes; run: chmod 600 %s", path)
    return lines
