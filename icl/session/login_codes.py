"""Who may log in, as the environment says; read without the page, so that a mistake shows at once.

``TUNESHOT_CODES`` is ``anna:code1,ben:code2``; ``TUNESHOT_CODES_FILE`` a file with a name and a
code on each line. ``TUNESHOT_AUTH_HEADER`` is a header in which a proxy says who is there, e.g.
``X-Forwarded-User``: only behind a proxy that takes this header away from what visitors send.
"""

import logging
import os
from pathlib import Path

from clfcore.data.forms.text import read_text
from clfcore.errors import TuneshotError
from clfcore.paths import expanded

log = logging.getLogger("tuneshot")

CODES, CODES_FILE, HEADER = "TUNESHOT_CODES", "TUNESHOT_CODES_FILE", "TUNESHOT_AUTH_HEADER"
SHORTEST_CODE = 8  # characters


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
        TuneshotError: not of that form, a name twice, a code that is too short, or no name at
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
        if len(code) < SHORTEST_CODE:
            raise TuneshotError(
                f"the code of {name!r} in {place} is too short to be safe; "
                f"use at least {SHORTEST_CODE} characters"
            )
        codes[name] = code
    if not codes:
        raise TuneshotError(f"{place} names nobody; write {form}")
    return codes


def _read_private(path: Path) -> list[str]:
    try:
        lines = read_text(path).split("\n")
    except TuneshotError as error:
        raise TuneshotError(f"{CODES_FILE}: {error}") from error
    if path.stat().st_mode & 0o077:
        log.warning("others on this machine can read the codes; run: chmod 600 %s", path)
    return lines
