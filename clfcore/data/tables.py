"""Messages out of files: tables, the corpus' own form, a folder of text files per class.

One reader per form, listed in ``READERS``. A reader finds the columns it is asked for and gives
their values row by row; what a message and a label may be is decided in one place for all forms.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

from clfcore.errors import TuneshotError
from clfcore.types import Example

# Role of a column ("text", "label") -> its name, where the user says it.
ColumnNames = Mapping[str, str | None]
# Row number as a person counts it in the file, and the values of the wanted columns.
NumberedRow = tuple[int, Sequence[object]]

# What others call these columns; v1 and v2 are Kaggle's copy of the SMS Spam Collection.
ALIASES = {
    "text": ("message", "sms", "sentence", "content", "body", "review", "v2"),
    "label": ("category", "class", "target", "type", "v1"),
}


def read_labelled(
    path: Path, text_column: str | None = None, label_column: str | None = None
) -> list[Example]:
    """Labelled messages from a file or a folder.

    Args:
        path: a table in one of the forms of ``READERS``; a folder with one sub-folder of
            ``.txt`` files per class; or any other text file: a tab-separated table whose header
            names the columns, or else the corpus' own form (no header; label, first tab, text).
        text_column: name of the column with the messages; default: ``text``, or an alias.
        label_column: name of the column with the labels; default: ``label``, or an alias.

    Raises:
        TuneshotError: unreadable, not UTF-8, a column cannot be found, a row without a text or a
            label, or no message at all.
    """
    return to_examples(_rows(path, {"text": text_column, "label": label_column}), str(path))


def read_texts(path: Path, text_column: str | None = None) -> list[str]:
    """Messages to classify: the text column of a table or a folder, or else every line.

    Raises:
        TuneshotError: unreadable, not UTF-8, or a table without such a column.
    """
    if not path.is_dir() and path.suffix.lower() not in READERS and text_column is None:
        return read_lines(path)
    rows = _rows(path, {"text": text_column})
    return [_text(value, f"{path}, row {number}") for number, [value] in rows]


def find_columns(header: Sequence[str], wanted: ColumnNames, place: str) -> list[int]:
    """Where the wanted columns are, whatever their case; in the order of ``wanted``.

    Raises:
        TuneshotError: one of them is not there, or more than one could be meant.
    """
    return [_find(header, role, name, place) for role, name in wanted.items()]


def to_examples(rows: Iterable[NumberedRow], place: str) -> list[Example]:
    """Checked messages; labels become strings, whatever their type in the table.

    Args:
        rows: the values are text and label.
        place: the file or data set, for the error message.

    Raises:
        TuneshotError: no rows; a missing text or label, or one that is a list, say.
    """
    examples = [
        Example(_text(text, f"{place}, row {number}"), _label(label, f"{place}, row {number}"))
        for number, (text, label) in rows
    ]
    if not examples:
        raise TuneshotError(f"{place} holds no messages; give at least one")
    return examples


def _text(value: object, where: str) -> str:
    if _missing(value):
        raise TuneshotError(f"{where}: the text is missing; fill it in or remove the row")
    if not isinstance(value, str):
        raise TuneshotError(
            f"{where}: the text is not a string but of type {type(value).__name__}; "
            "choose another --text-column"
        )
    return value


def _label(value: object, where: str) -> str:
    if _missing(value) or not str(value).strip():
        raise TuneshotError(f"{where}: the label is empty; fill it in or remove the row")
    if not isinstance(value, str | int | float):
        raise TuneshotError(
            f"{where}: the label is not one word or number but of type {type(value).__name__}; "
            "choose another --label-column"
        )
    return str(value)


def _missing(value: object) -> bool:
    """No value, or the not-a-number that pandas writes in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


# --- columns ------------------------------------------------------------------------------------


def _find(header: Sequence[str], role: str, name: str | None, place: str) -> int:
    option = f"--{role}-column"
    for names in ((name,),) if name else ((role,), ALIASES[role]):
        columns = _named(header, names)
        if len(columns) > 1:
            which = ", ".join(repr(header[column]) for column in columns)
            raise TuneshotError(
                f"{place} has {len(columns)} columns for the {role}: {which}; "
                f"choose one with {option}, or rename the others"
            )
        if columns:
            return columns[0]
    raise TuneshotError(
        f"{place} has no column {name or role!r}; its header is: "
        f"{shorten(', '.join(header), 200, placeholder=' …') or 'empty'}; "
        f"say which column it is with {option}"
    )


def _named(header: Sequence[str], names: Iterable[str]) -> list[int]:
    lowered = {name.strip().lower() for name in names}
    return [column for column, name in enumerate(header) if name.strip().lower() in lowered]


# --- one reader per form ------------------------------------------------------------------------


def _rows(path: Path, wanted: ColumnNames) -> Iterator[NumberedRow]:
    if path.is_dir():
        return _read_folder(path, wanted)
    return READERS.get(path.suffix.lower(), _read_tsv)(path, wanted)


def _columns_of(
    path: Path,
    header: Sequence[str],
    rows: Iterable[tuple[int, Sequence[object]]],
    wanted: ColumnNames,
) -> Iterator[NumberedRow]:
    """The wanted columns of numbered ``rows``, each of which must be as wide as ``header``."""
    columns = find_columns(header, wanted, str(path))
    for number, cells in rows:
        if len(cells) != len(header):
            raise TuneshotError(
                f"{path}, row {number}: {len(cells)} fields where the header has {len(header)}; "
                "correct the row or the header"
            )
        yield number, [cells[column] for column in columns]


def split_tsv(lines: Sequence[str]) -> list[list[str]]:
    """The cells of a tab-separated table, its header first; its last column takes all other tabs.

    Never unquoted: a stray ``"`` in a message must not swallow the lines after it.
    """
    tabs = lines[0].count("\t") if lines else 0
    return [line.split("\t", tabs) for line in lines]


def _read_tsv(path: Path, wanted: ColumnNames) -> Iterator[NumberedRow]:
    lines = read_lines(path)
    header, *rows = split_tsv(lines) or [[]]
    if "label" in wanted and not any(wanted.values()) and _is_corpus_form(path, header):
        return _columns_of(path, ("label", "text"), _corpus_rows(path, lines), wanted)
    return _columns_of(path, header, enumerate(rows, start=2), wanted)


def _is_corpus_form(path: Path, header: Sequence[str]) -> bool:
    """Whether the first line is a message: nothing in it looks like the name of a column.

    In a ``.tsv`` of three columns and more the first line is a header, known names or not.
    """
    surely_header = path.suffix.lower() == ".tsv" and len(header) > 2
    return not (surely_header or all(_named(header, (role, *ALIASES[role])) for role in ALIASES))


def _corpus_rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    for number, line in enumerate(lines, start=1):
        label, tab, text = line.partition("\t")
        if not tab:
            raise TuneshotError(
                f"{path}, line {number}: expected label, a tab and the text; other forms are "
                f"told by the file's ending: {', '.join(READERS)}"
            )
        yield number, (label, text)


def _read_csv(path: Path, wanted: ColumnNames) -> Iterator[NumberedRow]:
    csv.field_size_limit(2**31 - 1)
    rows = csv.reader(io.StringIO(_decoded(path), newline=""), strict=True)
    try:
        header = next(rows, [])
        # A blank line is no row.
        filled = ((number, cells) for number, cells in enumerate(rows, start=2) if cells)
        yield from _columns_of(path, header, filled, wanted)
    except csv.Error as error:
        raise TuneshotError(
            f"{path} is not a well-formed CSV: {error}; export it again, or as .tsv"
        ) from error


def _read_jsonl(path: Path, wanted: ColumnNames) -> Iterator[NumberedRow]:
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TuneshotError(
                f"{path}, line {number} is not JSON ({error}); write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise TuneshotError(f"{path}, line {number} is not an object; write one object a line")
        rows.append((number, row))
    header = list(dict.fromkeys(name for _, row in rows for name in row))
    filled = ((number, [row.get(name) for name in header]) for number, row in rows)
    return _columns_of(path, header, filled, wanted)


def _read_parquet(path: Path, wanted: ColumnNames) -> Iterator[NumberedRow]:
    from pyarrow import ArrowException, parquet  # half a second; `--help` should not wait

    try:
        with parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            columns = find_columns(header, wanted, str(path))
            table = file.read(columns=[header[column] for column in columns])
    except (OSError, ArrowException) as error:
        raise TuneshotError(
            f"cannot read {path} as Parquet ({shorten(str(error), 200)}); write it again, or as "
            ".jsonl"
        ) from error
    values = (table.column(header[column]).to_pylist() for column in columns)
    return enumerate(zip(*values, strict=True), start=1)


def _read_folder(path: Path, wanted: ColumnNames) -> Iterator[NumberedRow]:
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
    rows = (
        (file.parent.name, _decoded(file).removesuffix("\n").removesuffix("\r")) for file in files
    )
    return _columns_of(path, ("label", "text"), enumerate(rows, start=1), wanted)


def _visible(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        raise _cannot_read(folder, error) from error


# --- text ---------------------------------------------------------------------------------------


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without their ends: LF or CR LF. U+2028 and the like are text.

    Raises:
        TuneshotError: unreadable, or not UTF-8.
    """
    lines = [line.removesuffix("\r") for line in _decoded(path).split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _decoded(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _cannot_read(path, error) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TuneshotError(
            f"{path} is not UTF-8 (line {line}); convert it: iconv -f latin1 -t utf-8 {path}"
        ) from error


def _cannot_read(path: Path, error: OSError) -> TuneshotError:
    return TuneshotError(f"cannot read {path}: {error.strerror or error}; check the path")


READERS: dict[str, Callable[[Path, ColumnNames], Iterator[NumberedRow]]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}
