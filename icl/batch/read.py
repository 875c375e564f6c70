"""A dropped file becomes messages, or one line that says why not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clfcore.data.labels import unknown_labels
from clfcore.data.tables import read_table
from clfcore.errors import TuneshotError
from clfcore.types import MAX_CHARACTERS

MAX_BYTES = 2_000_000  # of a file as it is sent, and of its text when it is unpacked
MAX_ROWS = 10_000
SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".jsonl", "")  # "" as the SMS corpus has it


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
        notes: what to know about how the file was read.
    """

    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    true_labels: tuple[str, ...] | None
    labels: tuple[str, ...]
    empty: int
    notes: tuple[str, ...] = ()


def read_messages(source: Path | bytes, name: str, labels: Sequence[str]) -> Messages:
    """Messages out of an uploaded file, and their labels if there is a column of them.

    It is read as ``read_table`` reads every table; a ``.txt``, or a file without an ending, may
    also be one message a line. A file that ``BatchResult.to_csv`` wrote gives the messages it was
    made of.

    Args:
        source: the file, or its content.
        name: what the user calls it; its ending tells the form, perhaps before ``.gz``.
        labels: of the task.

    Raises:
        TuneshotError: another form, too large, unreadable; no message, or one that is too long;
            a label that the task does not have.
    """
    name = " ".join(Path(name).name.split())[-60:]  # one short line, with the ending
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    if suffix not in (*SUFFIXES, ".xls"):  # whose content says how to export it
        raise TuneshotError(
            f"{name} is no table of text; send a .csv, .tsv, .txt, .xlsx or .jsonl file"
        )
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MAX_BYTES:
        raise TuneshotError(
            f"{name} has {size / 1e6:.1f} MB; send at most {MAX_BYTES / 1e6:.0f} MB: split it"
        )
    raw = source if isinstance(source, bytes) else source.read_bytes()
    table = read_table(raw, name, labels_needed=False, skip_empty=True, most=MAX_BYTES)
    ours = [column.lower() for column in table.header[:2]] == RESULT_COLUMNS
    restore = unescape_formula if ours else str
    messages = Messages(
        texts=tuple(map(restore, table.texts)),
        numbers=table.numbers,
        true_labels=None if table.labels is None else tuple(map(restore, table.labels)),
        labels=tuple(labels),
        empty=table.blank,
        notes=table.notes,
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
            raise unknown_labels([label], messages.labels, "this task", f"{name}, row {number}")


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
