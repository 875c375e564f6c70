"""A dropped file becomes messages, or one line that says why not."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten

from clfcore.data.tables import ALIASES, READERS, NumberedRow, read_texts, to_examples
from clfcore.errors import TuneshotError
from icl.session.session import MAX_CHARACTERS

MAX_BYTES = 2_000_000
MAX_ROWS = 10_000
SUFFIXES = (".csv", ".tsv", ".txt", "")  # of files; "" as the SMS corpus has it


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Messages:
    """What was in a file.

    Attributes:
        texts: the messages, in the file's order.
        numbers: the row each of them has in the file, as a person counts.
        true_labels: their labels, if the file has any.
        labels: the labels of the task, in its order.
        empty: how many rows without a text were skipped.
    """

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    true_labels: tuple[str, ...] | None
    labels: tuple[str, ...]
    empty: int


def read_messages(source: Path | bytes, name: str, labels: Sequence[str]) -> Messages:
    """Messages out of an uploaded file, and their labels if there is a column of them.

    A ``.csv`` (commas or semicolons) or ``.tsv`` names its columns in the first line, as for
    ``read_labelled``. So may a ``.txt`` with tabs; else its lines are label, tab and text, or,
    without a tab in the first line, one message each. UTF-8, or UTF-16 as spreadsheets save it.
    A file that ``BatchResult.to_csv`` wrote gives the messages it was made of.

    Args:
        source: the file, or its content.
        name: what the user calls it; its ending tells the form.
        labels: of the task.

    Raises:
        TuneshotError: another form, too large, unreadable; no message, or one that is too long;
            a label that the task does not have.
    """
    name = " ".join(Path(name).name.split())[-60:]  # one short line, with the ending
    if (suffix := Path(name).suffix.lower()) not in SUFFIXES:
        raise TuneshotError(f"{name} is no table of text; send a .csv, .tsv or .txt file")
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_BYTES:
        raise TuneshotError(
            f"{name} has {size / 1e6:.1f} MB; send at most {MAX_BYTES / 1e6:.0f} MB: split it"
        )
    raw = source if isinstance(source, bytes) else source.read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"messages{suffix}"  # never the user's own name
        try:
            rows = list(_rows(_utf8(raw, name), path, name))
            filled = [(number, row) for number, row in rows if str(row[0]).strip()]
            true_labels = None
            if filled and len(filled[0][1]) == 2:
                true_labels = tuple(example.label for example in to_examples(filled, name))
        except TuneshotError as error:
            raise TuneshotError(str(error).replace(str(path), name)) from error
    messages = Messages(
        texts=tuple(str(row[0]) for _, row in filled),
        numbers=tuple(number for number, _ in filled),
        true_labels=true_labels,
        labels=tuple(labels),
        empty=len(rows) - len(filled),
    )
    _check(messages, name)
    return messages


def _check(messages: Messages, name: str) -> None:
    if not messages.texts:
        raise TuneshotError(f"{name} holds no messages; give at least one")
    if (count := len(messages.texts)) > MAX_ROWS:
        raise TuneshotError(f"{name} has {count:,} rows; send at most {MAX_ROWS:,}: split it")
    for number, text in zip(messages.numbers, messages.texts, strict=True):
        if len(text) > MAX_CHARACTERS:
            raise TuneshotError(
                f"{name}, row {number} has {len(text):,} characters; a message has at most "
                f"{MAX_CHARACTERS:,}"
            )
    for number, label in zip(messages.numbers, messages.true_labels or (), strict=False):
        if label not in messages.labels:
            raise TuneshotError(
                f"{name}, row {number}: unknown label {label[:60]!r}; "
                f"use {shorten(', '.join(messages.labels), 200, placeholder=' …')}, or remove "
                "the column"
            )


def _utf8(raw: bytes, name: str) -> bytes:
    """UTF-16 with its mark becomes UTF-8; all else is left to the readers."""
    if not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw
    try:
        return raw.decode("utf-16").encode()
    except UnicodeError as error:
        raise TuneshotError(f"{name} is no well-formed UTF-16; save it as UTF-8") from error


def _rows(raw: bytes, path: Path, name: str) -> Iterator[NumberedRow]:
    """Row number and text, or text and label, by the readers of ``clfcore.data.tables``.

    Args:
        raw: the content.
        path: where it may be put for a reader; the ending tells the form.
        name: for the error message.
    """
    first = raw.partition(b"\n")[0].decode("utf-8-sig", "replace").rstrip("\r")
    if path.suffix == ".csv":
        separator = ";" if ";" in first and "," not in first else ","
        raw = _with_commas(raw, name) if separator == ";" else raw
    else:
        separator = "\t"
        raw = _without_blank_lines(raw, first.count("\t"))
    path.write_bytes(raw)
    header = [cell.strip().strip('"') for cell in first.split(separator)]
    if path.suffix not in (".csv", ".tsv") and len(header) == 1:
        for number, text in enumerate(read_texts(path), start=1):
            yield number, [text]
        return
    lowered = [cell.lower() for cell in header]
    named = [role for role in ALIASES if {role, *ALIASES[role]} & set(lowered)]
    if "text" not in named:
        # A .tsv of three columns and more has a header; so do all that are not label, tab, text.
        if path.suffix == ".csv" or (path.suffix == ".tsv" and len(header) != 2):
            raise TuneshotError(
                f"{name} has no column 'text'; its first row is: "
                f"{shorten(', '.join(header), 200, placeholder=' …')}; name the column with the "
                "messages text, and the one with the labels, if any, label"
            )
        named = list(ALIASES)
    read = READERS.get(path.suffix, READERS[".tsv"])
    restore = unescape_formula if lowered[:2] == RESULT_COLUMNS else str
    for number, values in read(path, dict.fromkeys(named)):
        yield number, [restore(str(value)) for value in values]


def _with_commas(raw: bytes, name: str) -> bytes:
    """Where the comma is in numbers, spreadsheets separate columns by semicolons."""
    text = raw.decode("utf-8-sig", "surrogateescape")  # the reader says what is not UTF-8
    csv.field_size_limit(2**31 - 1)
    commas = io.StringIO(newline="")
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True)
        csv.writer(commas).writerows(rows)
    except csv.Error as error:
        raise TuneshotError(f"{name} is not a well-formed CSV: {error}; export it again") from error
    return commas.getvalue().encode("utf-8", "surrogateescape")


def _without_blank_lines(raw: bytes, tabs: int) -> bytes:
    """A blank line gets the table's tabs: a row of empty cells, which is skipped and counted."""
    lines = raw.removesuffix(b"\n").split(b"\n")
    return b"\n".join(line if line.strip() else b"\t" * tabs for line in lines)


# --- the results file ---------------------------------------------------------------------------

RESULT_COLUMNS = ["text", "row"]  # how the header of a file of results begins

# Full-width signs too, and after white space: some spreadsheets are generous.
_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|[\t\r\n])")


def escape_formula(cell: str) -> str:
    """``cell`` with an apostrophe before what could be a formula, with or without apostrophes."""
    return "'" + cell if _FORMULA.match(cell) else cell


def unescape_formula(cell: str) -> str:
    """The cell that ``escape_formula`` escaped."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
