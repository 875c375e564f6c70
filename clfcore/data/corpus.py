"""The SMS Spam Collection: download it once, and know the original from its altered copies.

Almeida, Gómez Hidalgo, Yamakami 2011 (UCI 228, CC BY 4.0): 5,574 messages, of which 403 repeat
another one. Many public copies are altered, so a file is recognised by its hash and by nothing
else.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from clfcore.errors import TuneshotError
from clfcore.paths import cache_dir
from clfcore.types import ignore

CORPUS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"
SAMPLE_SHA256 = "95ddb347d64f980dc18497bea50d80dede76a6044097b2b2f0ae22780f4f9450"
_MOST_BYTES = 50_000_000  # of what is fetched; the corpus has 200,000
CORPUS_SOURCES = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00228/smsspamcollection.zip",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a data set comes from, and what may be done with it.

    Attributes:
        source: who made it, when, and where it is.
        licence: of it; ``None``: it is not known here.
    """

    source: str
    licence: str | None = None


# ``content_hash`` of all messages -> where they come from, under whatever name they are read.
ORIGINS: dict[str, Origin] = {
    CORPUS_SHA256: Origin(
        "SMS Spam Collection, Almeida, Gómez Hidalgo & Yamakami 2011, "
        "archive.ics.uci.edu/dataset/228",
        "CC BY 4.0",
    ),
    SAMPLE_SHA256: Origin("sample messages, written for this project", "Apache-2.0"),
}


def corpus_path() -> Path:
    """Where ``fetch_corpus`` keeps the SMS Spam Collection."""
    return cache_dir() / "sms_spam" / "SMSSpamCollection"


def fetch_corpus(source: str | None = None, on_progress: Callable[[str], None] = ignore) -> Path:
    """Puts the SMS Spam Collection into the user's cache.

    Args:
        source: a URL or a local path (the zip, or the text file); default: UCI, then mirrors.
        on_progress: called with what is being tried, one line each.

    Returns:
        The path of the text file.

    Raises:
        TuneshotError: no source could be reached, or none had the right hash. An old copy in
            the cache is left as it was.
    """
    reasons = []
    for place in [source] if source else CORPUS_SOURCES:
        on_progress(f"trying {place}")
        try:
            raw = _corpus_file(_get(place))
            check_corpus(raw, place)
        except (OSError, ValueError, zipfile.BadZipFile, TuneshotError) as error:
            reasons.append(f"{place}: {getattr(error, 'reason', None) or error}")
        else:
            from clfcore.cache.kept import kept_write

            with kept_write(corpus_path()) as new:
                new.write_bytes(raw)
            return corpus_path()
    raise TuneshotError(
        "could not get the SMS Spam Collection ("
        + "; ".join(reasons)
        + "); download it elsewhere and run: clf data fetch --from FILE"
    )


def kept_corpus() -> Path | None:
    """Where the SMS Spam Collection is; ``None`` if nobody has fetched it.

    Raises:
        TuneshotError: it is damaged, and cannot be fetched again.
    """
    path = corpus_path()
    if not os.path.exists(path):
        return None
    try:
        check_corpus(path.read_bytes(), str(path))
    except (OSError, TuneshotError):
        from clfcore.cache.place import say_damaged

        try:
            fetch_corpus()
        except TuneshotError as error:
            raise TuneshotError(
                f"{path} is damaged: {error}, or delete it and use the sample messages"
            ) from error
        say_damaged(path, "fetched")
    return path


def _get(place: str) -> bytes:
    if not place.startswith(("http://", "https://")):
        with Path(place).open("rb") as file:
            return file.read(_MOST_BYTES)
    try:
        with urlopen(place, timeout=20) as response:
            return response.read(_MOST_BYTES)
    except URLError as error:
        raise OSError(f"no answer ({error.reason})") from error


def _corpus_file(raw: bytes) -> bytes:
    """The text file itself, taken out of the UCI zip if need be."""
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        return raw
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        if "SMSSpamCollection" not in archive.namelist():
            raise TuneshotError("the zip holds no file SMSSpamCollection")
        return archive.read("SMSSpamCollection")


def check_corpus(raw: bytes, place: str) -> None:
    """Raises unless these bytes are the original file.

    Args:
        raw: what was read.
        place: where, for the error message.

    Raises:
        TuneshotError: the hash is another one.
    """
    digest = hashlib.sha256(raw).hexdigest()
    if digest != CORPUS_SHA256:
        raise TuneshotError(
            f"{place} is not the original SMS Spam Collection: its sha256 is {digest[:12]}…, "
            f"expected {CORPUS_SHA256[:12]}…"
        )
