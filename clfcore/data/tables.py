"""Messages out of files: every form of table, texts one a line, a folder of text files per class.

One reader for all of them. It looks at what a file holds before it trusts its name, in one
direction: bytes (``forms/content.py``) → text (``forms/text.py``) → rows (one file a form) →
columns (``columns.py``) → checked texts and labels (here and in ``labels.py``).
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clfcore.data.columns import ColumnNames, find_columns, in_header
from clfcore.data.forms.content import MOST_UNPACKED, cannot_read, kind, read_bytes, unpacked
from clfcore.data.forms.records import begins_with_object, read_json, read_parquet
from clfcore.data.forms.separated import read_separated
from clfcore.data.forms.sheet import NumberedRow, Sheet
from clfcore.data.forms.text import decoded
from clfcore.data.forms.workbook import read_workbook
from clfcore.data.labels import is_missing, read_labels
from clfcore.errors import DataNote, TuneshotError
from clfcore.types import Example

FORMS = (".tsv", ".csv", ".xlsx", ".parquet", ".jsonl")  # named where a table is asked for
_HEADER_CHARACTERS = 2000  # enough to see which column names a text begins with
_JSON = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class Table:
    """What was in a file.

    Attributes:
        texts: the messages, in the file's order.
        labels: theirs; None where the file has none, or none were asked for.
        numbers: the row of each message, as a person counts them in the file.
        header: names of all columns.
        blank: rows that were left out because nothing, or no text, stood in them.
        notes: what to know about how the file was read, one line each.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    numbers: tuple[int, ...]
    header: tuple[str, ...] = ()
    blank: int = 0
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> list[Example]:
        """The labelled messages; none if there are no labels."""
        return [Example(*pair) for pair in zip(self.texts, self.labels or (), strict=False)]


def read_labelled(
    path: Path, text_column: str | None = None, label_column: str | None = None
) -> list[Example]:
    """Labelled messages from a file or a folder; what is odd about it is told as a ``DataNote``.

    Args:
        path: a table: separated by commas, semicolons, tabs or bars, an Excel workbook, JSON Lines
            or Parquet, perhaps packed with gzip; the corpus' own form (no header; label, first
            tab, text); or a folder with one sub-folder of ``.txt`` files per class.
        text_column: name of the column with the messages; default: ``text``, or an alias.
        label_column: name of the column with the labels; default: ``label``, or an alias.

    Raises:
        TuneshotError: unreadable, a column cannot be found, a row without a text or a label,
            labels of several kinds, or no message at all.
    """
    return _told(read_table(path, text_column=text_column, label_column=label_column)).examples


def read_texts(path: Path, text_column: str | None = None) -> list[str]:
    """Messages to classify: the text column of a table or a folder, or else every line.

    Raises:
        TuneshotError: unreadable, or a table without such a column.
    """
    wanted = {"text": text_column}
    sheet = _read(path, str(path), wanted, ())
    return list(_told(_table(sheet, wanted, str(path))).texts)


def read_table(
    source: Path | bytes,
    name: str = "",
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    labels_needed: bool = True,
    skip_empty: bool = False,
    most: int | None = None,
) -> Table:
    """Messages and labels, and what to know about how they were read.

    Args:
        source: a file, a folder, or a file's content.
        name: what the user calls it; its ending may tell the form. Default: the path.
        text_column: as ``read_labelled``.
        label_column: as ``read_labelled``.
        labels_needed: whether a table without labels is refused.
        skip_empty: leave out, and count, rows without a text.
        most: bytes of text in a file from a stranger, packed or not. Parquet, whose size cannot
            be told beforehand, is refused then.

    Raises:
        TuneshotError: as ``read_labelled``; or too large.
    """
    wanted = {"text": text_column, "label": label_column}
    optional = () if labels_needed else ("label",)
    place = name or str(source)
    sheet = _read(source, place, wanted, optional, most)
    table = _table(sheet, wanted, place, optional, skip_empty)
    if labels_needed and not table.texts:
        raise TuneshotError(f"{place} holds no messages; give at least one")
    if most and sum(map(len, table.texts)) > most:
        raise TuneshotError(f"{place} has more than {most / 1e6:.0f} MB of text; split it")
    return table


def read_columns(path: Path, names: Sequence[str]) -> Iterator[dict[str, object]]:
    """Rows of a table as name -> value, of the columns with these names.

    Raises:
        TuneshotError: unreadable, or a column is not there.
    """
    sheet = _read(path, str(path), {name: name for name in names}, ())
    if missing := [name for name in names if name not in sheet.header]:
        raise TuneshotError(
            f"{path} has no column {missing[0]!r}; its columns should be {', '.join(names)}"
        )
    columns = [sheet.header.index(name) for name in names]
    for _, cells in sheet.rows:
        yield {name: cells[column] for name, column in zip(names, columns, strict=True)}


def to_examples(rows: Iterable[NumberedRow], place: str) -> list[Example]:
    """Checked messages; labels become strings, whatever their type in the table.

    Args:
        rows: the values are text and label.
        place: the file or data set, for messages.

    Raises:
        TuneshotError: no rows; a missing text or label, or one that is a list, say.
    """
    wanted = {"text": None, "label": None}
    table = _told(_table(Sheet(("text", "label"), list(rows)), wanted, place))
    if not table.texts:
        raise TuneshotError(f"{place} holds no messages; give at least one")
    return table.examples


# --- the way of a file ---------------------------------------------------------------------------


def _read(
    source: Path | bytes,
    place: str,
    wanted: ColumnNames,
    optional: Sequence[str],
    most: int | None = None,
) -> Sheet:
    if isinstance(source, Path):
        if source.is_dir():
            return _read_folder(source)
        source = read_bytes(source)
    raw = unpacked(source, place, most or MOST_UNPACKED)
    suffix = Path(place.lower().removesuffix(".gz")).suffix
    match kind(raw, place, most or MOST_UNPACKED):
        case "workbook":
            return read_workbook(raw, place)
        case "parquet" if most is None:
            return read_parquet(raw, place, wanted, optional)
        case "parquet":
            raise TuneshotError(f"{place} is a Parquet file; send it as .csv or .xlsx")
    text, notes = decoded(raw, place)
    if suffix in _JSON or begins_with_object(text):
        sheet = read_json(text, place)
    else:
        first = "\n".join(text[:_HEADER_CHARACTERS].splitlines()[:2])  # one may be Excel's sep=;
        wanted = in_header(wanted, re.split(r"[,;|\t\n]", first))
        sheet = read_separated(text, place, suffix, wanted, optional)
    return Sheet(sheet.header, sheet.rows, sheet.blank, (*notes, *sheet.notes))


def _read_folder(path: Path) -> Sheet:
    """One sub-folder per class, one ``.txt`` file per message; a last line end is not text."""
    files: list[Path] = []
    for folder in sorted(child for child in _visible(path) if child.is_dir()):
        texts = sorted(child for child in _visible(folder) if child.suffix.lower() == ".txt")
        if not texts:
            raise TuneshotError(f"{folder} holds no .txt file; add some, or remove the folder")
        files += texts
    if not files:
        raise TuneshotError(
            f"{path} has no sub-folders; expected one for each class, with a .txt file for each "
            "message: spam/001.txt"
        )
    rows: list[NumberedRow] = []
    notes: dict[str, Path] = {}  # each once, with the first file it is about
    for number, file in enumerate(files, start=1):
        if not file.is_file():  # a pipe would wait, a device would never end
            raise TuneshotError(f"{file} is not a file; remove it from the folder")
        text, found = decoded(read_bytes(file), str(file))
        notes = dict.fromkeys(found, file) | notes
        rows.append((number, (file.parent.name, text.removesuffix("\n").removesuffix("\r"))))
    return Sheet(
        ("label", "text"),
        rows,
        notes=tuple(f"{file.relative_to(path)}: {note}" for note, file in notes.items()),
    )


def _visible(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        raise cannot_read(folder, error) from error


def _table(
    sheet: Sheet,
    wanted: ColumnNames,
    place: str,
    optional: Sequence[str] = (),
    skip_empty: bool = False,
) -> Table:
    """The wanted columns of a sheet, checked."""
    if not sheet.header and not sheet.rows:
        return Table((), None, (), notes=_placed(sheet.notes, place))
    columns = find_columns(sheet.header, wanted, place, optional)
    rows = [
        (number, cells)
        for number, cells in sheet.rows
        if not (skip_empty and _is_empty(cells[columns["text"]]))
    ]
    numbers = tuple(number for number, _ in rows)

    def where(row: int) -> str:
        return f"{place}, row {numbers[row]}"

    texts = _texts([cells[columns["text"]] for _, cells in rows], where)
    labels: list[str] | None = None
    notes: list[str] = []
    if "label" in columns:
        labels, notes = read_labels([cells[columns["label"]] for _, cells in rows], where)
    return Table(
        texts=tuple(texts),
        labels=None if labels is None else tuple(labels),
        numbers=numbers,
        header=tuple(sheet.header),
        blank=sheet.blank + len(sheet.rows) - len(rows),
        notes=_placed((*sheet.notes, *notes), place),
    )


def _texts(values: Sequence[object], where: Callable[[int], str]) -> list[str]:
    """Texts; numbers among them become texts, but a column of numbers is not one of messages."""
    numbers_too = any(isinstance(value, str) for value in values)
    for row, value in enumerate(values):
        if is_missing(value):
            raise TuneshotError(f"{where(row)}: the text is missing; fill it in or remove the row")
        if not isinstance(value, str) and not (numbers_too and isinstance(value, int | float)):
            raise TuneshotError(
                f"{where(row)}: the text is not a string but of type {type(value).__name__}; "
                "choose another --text-column"
            )
    return [str(value) for value in values]


def _placed(notes: Sequence[str], place: str) -> tuple[str, ...]:
    return tuple(f"{place}: {note}" for note in notes)


def _is_empty(text: object) -> bool:
    return is_missing(text) or (isinstance(text, str) and not text.strip())


def _told(table: Table) -> Table:
    for note in table.notes:
        warnings.warn(note, DataNote, stacklevel=3)
    return table
