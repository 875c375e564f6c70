"""A file's bytes: unpacked, and what they hold by their own marks, whatever the file is called."""

import gzip
import io
import os
import stat
import zipfile
import zlib
from pathlib import Path

from clfcore.errors import TuneshotError

MOST_UNPACKED = 500_000_000  # bytes; of a packed file, whose own size says little
MOST_READ = 2_000_000_000  # bytes; of a file as it is
_AT_A_TIME = 1_000_000
_XML_PER_BYTE = 10  # a workbook's XML has this many bytes for one of a table, and more

_GZIP, _ZIP, _PARQUET, _OLE = (
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"PAR1",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
)
_UNPACK = "unpack it first"
_EXPORT = "open it and save it as an Excel workbook (.xlsx) or as CSV UTF-8"
# How files begin that are no tables for us: what they are, and what to do.
_OTHERS: dict[bytes, tuple[str, str]] = {
    _OLE: ("an old (.xls) or password-protected Office file", f"{_EXPORT}, without a password"),
    b"BZh91AY&SY": ("packed with bzip2", _UNPACK),
    b"\xfd7zXZ\x00": ("packed with xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("packed with Zstandard", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"%PDF-": ("a PDF file", "give the table it was made of"),
    b"{\\rtf": ("a text with formats (.rtf)", "save it as plain text"),
    b"SQLite format 3\x00": ("an SQLite database", "export the table as CSV"),
    b"ARROW1\x00": ("an Arrow file", "write it as Parquet or CSV"),
}


def read_bytes(path: Path) -> bytes:
    """What is in a file, or comes out of a pipe: a device may never end.

    Raises:
        TuneshotError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if stat.S_ISREG(state.st_mode):
                if state.st_size > MOST_READ:
                    raise _too_large(path, MOST_READ)
                return file.read()
            content = bytearray()
            while part := file.read(_AT_A_TIME):
                content += part
                if len(content) > MOST_UNPACKED:
                    raise _too_large(path, MOST_UNPACKED)
            return bytes(content)
    except OSError as error:
        raise cannot_read(path, error) from error


def _too_large(path: Path, most: int) -> TuneshotError:
    return TuneshotError(f"{path} has more than {most:,} bytes; split it")


def cannot_read(path: Path, error: OSError) -> TuneshotError:
    """The error for a file or folder that the system does not give."""
    return TuneshotError(f"cannot read {path}: {error.strerror or error}; check the path")


def unpacked(raw: bytes, place: str, most: int = MOST_UNPACKED) -> bytes:
    """``raw``, or what was packed in it by gzip.

    Raises:
        TuneshotError: it is damaged, or would hold more than ``most`` bytes.
    """
    if not raw.startswith(_GZIP):
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TuneshotError(f"{place} is a damaged gzip file ({error}); pack it again") from error
    check_unpacked(len(content), most, place)
    return content


def check_unpacked(size: int, most: int, place: str) -> None:
    """Refuses a file that holds more than ``most`` bytes.

    Raises:
        TuneshotError: it does.
    """
    if size > most:
        raise TuneshotError(
            f"{place} holds more than {most / 1e6:,.0f} MB when it is unpacked; split it"
        )


def kind(raw: bytes, place: str, most: int = MOST_UNPACKED) -> str:
    """``parquet``, ``workbook`` or ``text``.

    Args:
        raw: the content, unpacked.
        place: the file, for the error message.
        most: bytes that its table may have; the workbook around it may be larger.

    Raises:
        TuneshotError: it is nothing of these, or a workbook that would unpack to too much.
    """
    if raw.startswith(_PARQUET):
        return "parquet"
    if raw.startswith(_ZIP):
        _check_workbook(raw, place, max(most * _XML_PER_BYTE, most))
        return "workbook"
    for start, (what, advice) in _OTHERS.items():
        if raw.startswith(start):
            raise TuneshotError(f"{place} is {what}; {advice}")
    # Some programs write web pages and call them workbooks; elsewhere, a message may begin so.
    begin = raw[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if ".xls" in place.lower() and begin.startswith((b"<!doctype", b"<html", b"<?xml", b"<table")):
        raise TuneshotError(f"{place} is a web page; {_EXPORT}")
    return "text"


def _check_workbook(raw: bytes, place: str, most: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise TuneshotError(f"{place} is a damaged zip file ({error}); save it again") from error
    names = {member.filename for member in members}
    if names & {"xl/workbook.bin", "content.xml"}:
        raise TuneshotError(f"{place} is a spreadsheet of another kind; {_EXPORT}")
    if not any(name.startswith("xl/") for name in names):
        raise TuneshotError(f"{place} is a zip archive; {_UNPACK}")
    # Python's zipfile gives no more bytes of a member than are announced here.
    if sum(member.file_size for member in members) > most:
        raise TuneshotError(
            f"{place} holds more than {most / 1e6:,.0f} MB when it is unpacked; save the sheet as "
            "CSV and split it"
        )
