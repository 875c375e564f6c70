"""Text becomes rows of cells: which character separates them, and whether there is a header.

Nothing is known but the text, so every separator that the first row has is tried, and the one is
taken with which most is understood: columns by known names, and rows of one width.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from clfcore.data.columns import ColumnNames, could_be_name, is_known, plain_name
from clfcore.data.forms.sheet import MOST_COLUMNS, NumberedRow, Sheet, check_cells
from clfcore.errors import TuneshotError

TABLE_SUFFIXES = (".csv", ".tsv")  # others may be texts, one a line
_SAMPLE = 500  # rows that decide about the form
_CORPUS = ("label", "text")  # the SMS Spam Collection's own form: no header; label, tab, text
# What a writer puts in quotes: cells with one of these, or all cells. The second is Excel.
_QUOTED_BY_WRITERS = (r'[\t"\r\n]', r'[\t",\r\n]', "")

_Row = tuple[int, list[str]]


class _Form(NamedTuple):
    """How cells are separated.

    Attributes:
        separator: one character.
        quoted: whether quotes around a cell belong to the form, not to the cell.
        spaced: whether a space follows each separator.
    """

    separator: str
    quoted: bool = True
    spaced: bool = False


_TABS = _Form("\t", quoted=False)


def read_separated(
    text: str, place: str, suffix: str, wanted: ColumnNames, optional: Collection[str] = ()
) -> Sheet:
    """The rows of a table; or each line as a text, where no table can be seen.

    A first row is a header if one of its cells is a column's known name, or if a column is asked
    for by name. Else a table of two columns has none.

    Args:
        text: of the file.
        place: the file, for error messages.
        suffix: of its name: ``.csv`` and ``.tsv`` are tables in any case.
        wanted: the columns that will be asked for.
        optional: those of them that need not be there.

    Raises:
        TuneshotError: not a well-formed table.
    """
    form, text = _declared(text)
    form = form or _form_of(text, wanted)
    sample = list(islice(_filled(_records(text, form, place)), _SAMPLE)) if form else []
    if form and not sample:
        return Sheet([], [])
    if sample and (width := len(sample[0][1])) > MOST_COLUMNS:
        if suffix in TABLE_SUFFIXES:
            check_cells(1, width, len(text), place)
        form = None  # a long message with many commas
    if form is None or not (suffix in TABLE_SUFFIXES or _is_table(sample, form, wanted)):
        labelled = "label" in wanted and "label" not in optional
        if labelled and suffix not in TABLE_SUFFIXES:
            return _without_header(text, _TABS, [], place)
        return _lines(text, suffix, labelled or any(wanted.values()), place)
    if _has_header(sample, form, suffix, wanted):
        return _with_header(text, form, place)
    return _without_header(text, form, sample, place)


# --- the form ------------------------------------------------------------------------------------


def _declared(text: str) -> tuple[_Form | None, str]:
    """Excel's first line ``sep=;``, taken out."""
    line = re.match(r'"?sep=(.)"?(\r\n|\n|\r)', text, re.IGNORECASE)
    return (_Form(line[1]), text[line.end() :]) if line else (None, text)


def _form_of(text: str, wanted: ColumnNames) -> _Form | None:
    """The form with which most is understood; None if no character separates the first row."""
    forms = [_Form("\t") if _tabs_are_quoted(text) else _TABS]
    for separator in "|;,":
        forms.append(_Form(separator))
        if f'{separator} "' in text:
            forms.append(_Form(separator, spaced=True))
    best: tuple[tuple[int, bool], _Form | None] = ((-1, False), None)
    for form in forms:  # of equals the first: tabs, bars and semicolons are rare in sentences
        try:
            sample = [cells for _, cells in islice(_filled(_records(text, form, "")), _SAMPLE)]
        except TuneshotError:  # not well-formed, which is said when this form is the best
            sample = []
        first, *rest = sample or [_first_line(text).split(form.separator)]
        if len(first) < 2:
            continue
        named = sum(map(is_known, first[:MOST_COLUMNS]))
        known = min(2, named + 2 * _asked_for(first, wanted))
        width = len(first)
        even = all(len(_without_empty_end(cells, width)) == width for cells in rest)
        if (found := (known, even and bool(rest))) > best[0]:
            best = found, form
    return best[1]


def _asked_for(cells: Sequence[str], wanted: ColumnNames) -> int:
    names = {plain_name(name).lower() for name in wanted.values() if name}
    return sum(plain_name(cell).lower() in names for cell in cells)


def _first_line(text: str) -> str:
    """The first with more than white space in it."""
    at = len(text) - len(text.lstrip())
    begin = 1 + max(text.rfind(end, 0, at) for end in "\r\n")
    return re.split(r"[\r\n]", text[begin:], maxsplit=1)[0] if at < len(text) else ""


def _tabs_are_quoted(text: str) -> bool:
    """Whether the quotes around cells are a writer's, not the messages' own.

    They are if quoting the cells again gives the same file, unless its lines are whole rows
    without that: a stray quote must not swallow the lines after it.
    """
    if '"' not in text or "\t" not in _first_line(text):
        return False
    try:
        rows = [cells for _, cells in _records(text, _Form("\t"), "")]
    except TuneshotError:
        return False
    lines = _split_lines(text)
    whole = len({line.count("\t") for line in lines if line}) == 1 and "\r" not in "".join(lines)
    if whole and len(rows) != len(lines):
        return False
    return any(_rewrites(rows, _unix(text), special) for special in _QUOTED_BY_WRITERS)


def _rewrites(rows: Sequence[Sequence[str]], text: str, special: str) -> bool:
    """Whether a writer that puts cells with ``special`` characters in quotes wrote ``text``."""
    at = 0
    for row in rows:
        cells = ('"' + c.replace('"', '""') + '"' if re.search(special, c) else c for c in row)
        line = _unix("\t".join(cells))
        if not text.startswith(line, at):
            return False
        at += len(line) + 1
    return True


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


# --- rows ----------------------------------------------------------------------------------------


def _records(text: str, form: _Form, place: str) -> Iterator[_Row]:
    """All rows with their numbers; nothing is in a row of a blank line.

    Raises:
        TuneshotError: quotes that do not close.
    """
    if not form.quoted:
        lines = _split_lines(text)
        tabs = _first_line(text).count(form.separator)  # the last column takes all others
        for number, line in enumerate(lines, start=1):
            yield number, line.split(form.separator, tabs) if line.strip() else []
        return
    csv.field_size_limit(2**31 - 1)
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=form.separator,
        skipinitialspace=form.spaced,
        strict=True,
    )
    try:
        yield from enumerate(rows, start=1)
    except csv.Error as error:
        raise TuneshotError(
            f"{place} is not a well-formed CSV: {error} (line {rows.line_num}); export it again, "
            "or as .tsv"
        ) from error


def _split_lines(text: str) -> list[str]:
    """Lines without their ends: LF or CR LF, or CR where there is nothing else."""
    lines = text.split("\n" if "\n" in text else "\r")
    lines = [line.rstrip("\r") for line in lines]
    return lines[:-1] if lines[-1] == "" else lines


def _filled(rows: Iterator[_Row]) -> Iterator[_Row]:
    return ((number, cells) for number, cells in rows if not _is_blank(cells))


def _is_blank(cells: Sequence[str]) -> bool:
    return not cells or (len(cells) > 1 and not any(cell.strip() for cell in cells))


def _without_empty_end(cells: Sequence[str], width: int) -> Sequence[str]:
    """``cells`` without empty ones beyond ``width``, as spreadsheets leave them."""
    return cells if any(cell.strip() for cell in cells[width:]) else cells[:width]


def _with_header(text: str, form: _Form, place: str) -> Sheet:
    rows = _records(text, form, place)
    header = next(_filled(rows), (0, [""]))[1]
    named = max((i for i, name in enumerate(header, start=1) if name.strip()), default=0)
    labels_last = not form.quoted and is_known(header[-1], ("label",))
    kept: list[NumberedRow] = []
    blank, again = 0, 0
    for number, cells in rows:
        if _is_blank(cells):
            blank += 1
            continue
        if len(header) == 1:
            cells = [form.separator.join(cells)]
        if cells == header and len(header) > 1:  # of a table that was put below another
            again += 1
            continue
        cells = list(_without_empty_end(cells, len(header)))
        check_cells(len(kept) * len(header), len(header), len(text), place)
        if len(cells) < len(header):  # columns without a name may be left out
            cells += [""] * (len(header) - max(len(cells), named))
        width = len(cells) + (cells[-1].count("\t") if labels_last else 0)  # a label has no tabs
        if width != len(header):
            raise TuneshotError(
                f"{place}, row {number}: {width} fields where the header has {len(header)}; "
                "correct the row or the header"
            )
        kept.append((number, cells))
    notes = (f"the header stands in it {again + 1:,} times, and is read once",) if again else ()
    return Sheet([plain_name(name) for name in header], kept, blank, notes)


def _without_header(text: str, form: _Form, sample: Sequence[_Row], place: str) -> Sheet:
    """Two columns: label and text, or text and label where the labels are surely there."""
    kept: list[NumberedRow] = []
    blank = 0
    for number, cells in _records(text, form, place):
        if _is_blank(cells):
            blank += 1
            continue
        if not form.quoted:  # the first tab separates
            label, *others = cells
            cells = [label, form.separator.join(others)] if others else cells
        cells = list(_without_empty_end(cells, 2))
        if len(cells) != 2:
            raise TuneshotError(
                f"{place}, line {number}: expected label, a tab and the text; or give the table a "
                "header with the columns label and text"
                if form.separator == "\t"
                else f"{place}, row {number}: {len(cells)} fields where the first row has 2; "
                "correct the row, or give the table a header"
            )
        kept.append((number, cells))
    if _label_column([cells for _, cells in sample if len(cells) == 2]) == 1:
        note = "it has no header; its second column is read as the label"
        return Sheet(_CORPUS[::-1], kept, blank, (note,))
    return Sheet(_CORPUS, kept, blank)


# --- is it a table, and has it a header ----------------------------------------------------------


def _is_table(sample: Sequence[_Row], form: _Form, wanted: ColumnNames) -> bool:
    """Whether a text that need not be a table is one."""
    first = sample[0][1]
    named = [is_known(name) for name in first if name.strip()]
    even = all(len(cells) == len(first) for _, cells in sample)
    if any(wanted.values()) or (all(named) and even):
        return True
    if form.separator == "\t":
        return "label" in wanted or (even and (any(named) or _repeats(sample)))
    return "label" in wanted and even and len(first) == 2 and _repeats(sample)


def _repeats(sample: Sequence[_Row]) -> bool:
    """Whether one of two columns has few values, as labels do."""
    rows = [cells for _, cells in sample if len(cells) > 1]
    fewest = min(len({cells[column] for cells in rows}) for column in (0, 1))
    return len(rows) > 1 and fewest <= len(rows) / 2


def _has_header(sample: Sequence[_Row], form: _Form, suffix: str, wanted: ColumnNames) -> bool:
    """Whether the first row names the columns.

    A value that stands in a column again is no name. Names that nobody knows are told from a first
    message by their looks; with tabs, where the corpus' own form is the rule, they must also stand
    above a column of labels.
    """
    if not sample or any(wanted.values()):
        return True
    (_, first), *rest = sample
    others = [cells for _, cells in rest if cells != first]
    columns = [{cells[i] for cells in others if i < len(cells)} for i in range(len(first))]
    recurs = any(cell in values for cell, values in zip(first, columns, strict=True))
    if known := sum(map(is_known, first)):
        return known > 1 or len(first) != 2 or not recurs
    if len(first) != 2:
        return suffix in TABLE_SUFFIXES or form.separator != "\t"
    if recurs:
        return False
    names = all(map(could_be_name, first))
    if form.separator == "\t":
        return names and len(others) >= 8 and min(map(len, columns)) <= len(others) / 4
    return names or not _repeats(sample)


def _label_column(rows: Sequence[Sequence[str]]) -> int:
    """1 if the second of two columns surely has the labels; else 0.

    Labels are few for many texts; where there are too few rows to tell, they are much shorter.
    """
    first, second = ([cells[column] for cells in rows] for column in (0, 1))
    values = len(set(first)), len(set(second))
    if min(values) <= len(rows) / 2:
        return int(values[1] < values[0])
    longer = all(len(a.split()) > 2 * len(b.split()) for a, b in zip(first, second, strict=True))
    return int(longer and len(rows) > 1)


def _lines(text: str, suffix: str, has_header: bool, place: str) -> Sheet:
    """A text a line, or a table of one column."""
    form = _Form(",") if suffix == ".csv" else _TABS
    lines = [(number, form.separator.join(cells)) for number, cells in _records(text, form, place)]
    while lines and not lines[-1][1].strip():
        lines.pop()
    if not lines:
        return Sheet([], [])
    first = lines[0][1]
    named = len(lines) > 1 and is_known(first, ("text",))
    if has_header or named or (suffix in TABLE_SUFFIXES and could_be_name(first)):
        return _with_header(text, form, place)
    return Sheet(("text",), [(number, [line]) for number, line in lines])
