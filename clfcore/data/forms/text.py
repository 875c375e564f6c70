"""Bytes become text: UTF-8, UTF-16 with or without a mark, Windows-1252.

What is only likely is said in a note. U+0000 is a character like any other where the bytes are
UTF-8; in every second byte it is the half of a UTF-16 character.
"""

import codecs
import warnings
from collections.abc import Sequence
from pathlib import Path

from clfcore.data.forms.content import read_bytes
from clfcore.errors import DataNote, TuneshotError

_MARKS = {  # UTF-32 before UTF-16, as the one begins like the other
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LINE_ENDS = b"\n\r"
_MOST_NULS = 0.3  # of the bytes of a text in UTF-8


def read_text(path: Path) -> str:
    """A file that somebody wrote by hand, each line end as LF; notes are told as ``DataNote``.

    Raises:
        TuneshotError: as ``decoded``; or it cannot be read.
    """
    text, notes = decoded(read_bytes(path), str(path))
    for note in notes:
        warnings.warn(f"{path}: {note}", DataNote, stacklevel=2)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decoded(raw: bytes, place: str) -> tuple[str, tuple[str, ...]]:
    """The text of a file without byte order marks, and notes on how it was read.

    Raises:
        TuneshotError: binary, or in no encoding that is known here.
    """
    mark = next((mark for mark in _MARKS if raw.startswith(mark)), b"")
    encoding, raw = _MARKS.get(mark, "utf-8"), raw.removeprefix(mark)
    if encoding != "utf-8":
        try:
            return raw.decode(encoding).lstrip("\ufeff"), ()
        except UnicodeError as error:
            name = encoding[:6].upper()
            raise TuneshotError(f"{place} is no well-formed {name}; save it as UTF-8") from error
    if b"\x00" in raw:
        for encoding in ("utf-16-le", "utf-16-be"):
            if (text := _without_mark(raw, encoding)) is not None:
                return text.lstrip("\ufeff"), ("it is UTF-16 without a byte order mark",)
        if bytes(4) in raw or raw.count(0) > _MOST_NULS * len(raw):
            raise _binary(place)
    try:
        return raw.decode("utf-8").lstrip("\ufeff"), ()
    except UnicodeDecodeError as error:
        if b"\x00" in raw:
            raise _binary(place) from error
    text, note = _windows(raw.split(b"\n"), place)
    return text.lstrip("\ufeff"), (note,)


def _binary(place: str) -> TuneshotError:
    return TuneshotError(f"{place} is a binary file, no text; give a table or a text file")


def _without_mark(raw: bytes, encoding: str) -> str | None:
    """The text, if NULs stand where UTF-16 has those of line ends, or of most characters."""
    little = encoding == "utf-16-le"
    low, high = (raw[0::2], raw[1::2]) if little else (raw[1::2], raw[0::2])
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return None
    if "\x00" in text or high.count(0) == 0 or _reads_well(raw):
        return None
    line_ends = sum(map(text.count, "\n\r"))
    if written := sum(map(low.count, _LINE_ENDS)) + sum(map(high.count, _LINE_ENDS)):
        return text if line_ends >= 0.8 * written else None
    return text if high.count(0) >= 0.5 * len(high) else None


def _reads_well(raw: bytes) -> bool:
    """Whether these bytes are UTF-8 in which nothing but a few NULs is odd."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    odd = sum(c < " " and c not in "\t\n\r" for c in set(text) - {"\x00"})
    return not odd and text.count("\x00") < 0.25 * len(text)


def _windows(lines: Sequence[bytes], place: str) -> tuple[str, str]:
    """Lines that are not UTF-8 are Windows-1252; so are all, unless as many surely are UTF-8."""
    texts: dict[int, str] = {}  # line -> as UTF-8, for those that are or may be
    for number, line in enumerate(lines):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if line.isascii() or _is_surely_utf8(text):
            texts[number] = text
    others = [number for number in range(len(lines)) if number not in texts]
    mixed = sum(not text.isascii() for text in texts.values()) >= len(others)
    for number, line in enumerate(lines):
        if number not in texts or not mixed:
            try:
                texts[number] = line.decode("cp1252")
            except UnicodeDecodeError as error:
                raise TuneshotError(
                    f"{place} is not UTF-8 (line {others[0] + 1}), nor Windows-1252 (line "
                    f"{number + 1}); open it in the program it comes from and save it as UTF-8"
                ) from error
    more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
    note = (
        f"it is UTF-8, but for line {others[0] + 1}{more}, which is read as Windows-1252"
        if mixed
        else f"it is not UTF-8 (line {others[0] + 1}{more}) and read as Windows-1252"
    )
    text = "\n".join(texts[number] for number in range(len(lines)))
    return text, f"{note}; save it as UTF-8 if letters look wrong"


def _is_surely_utf8(text: str) -> bool:
    """Whether bytes that are this text in UTF-8 are hardly by accident.

    "Spaß…" in Windows-1252 is "Spa" and a letter of N'Ko in UTF-8, as capital letters and "ß" are
    the first byte of such letters, and punctuation the second. Letters of Western Europe, its
    punctuation and emoji do not come about like that, nor do many different ones in one line.
    """
    letters = {c for c in text if not c.isascii()}
    return len(letters) > 3 or any(
        c <= "\xff" or "\u2000" <= c <= "\u22ff" or c > "\uffff" for c in letters
    )
