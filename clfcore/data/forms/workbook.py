"""Excel workbooks: the values of the first sheet with anything on it."""

import io
import warnings
from collections.abc import Sequence
from datetime import date, datetime, time
from textwrap import shorten
from typing import TYPE_CHECKING

from clfcore.data.forms.sheet import MOST_ROWS, Sheet, check_cells
from clfcore.errors import TuneshotError
from clfcore.wording import listed

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

_Row = tuple[int, list[object]]


def read_workbook(raw: bytes, place: str) -> Sheet:
    """The first visible sheet that has cells; its first row with cells is the header.

    Numbers and truth values keep their types, dates become texts, formulas give the values that
    were stored with them.

    Args:
        raw: a workbook of sizes that were checked.
        place: the file, for error messages.

    Raises:
        TuneshotError: it is damaged, or a formula has no stored value.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts of workbooks that do not matter here
            book = _opened(raw, values=True)
            sheets = [s for s in book.worksheets if getattr(s, "sheet_state", "") == "visible"]
            filled = [
                (s.title, rows) for s in sheets if (rows := _rows(book, s.title, len(raw), place))
            ]
            title, rows = filled[0] if filled else ("", [])
            width = max((len(cells) for _, cells in rows), default=0)
            check_cells(len(rows) * width, width, len(raw), place)
            if any(cell is None for _, cells in rows for cell in cells):
                _check_formulas(rows, _opened(raw, values=False), title, len(raw), place)
    except TuneshotError:
        raise
    except Exception as error:  # other people's files: whatever goes wrong, it is not our bug
        raise TuneshotError(
            f"{place} is a damaged Excel workbook ({shorten(str(error), 100) or 'unreadable'}); "
            "save it again, or as CSV UTF-8"
        ) from error
    others = [name for name, _ in filled[1:]]
    notes = (f"the sheet {title!r} is read, not {listed(map(repr, others))}",) if others else ()
    if not rows:
        return Sheet([], [], notes=notes)
    (first, header), *below = rows
    names = [str(cell) for cell in _padded(header, width)]
    blank = rows[-1][0] - first - len(below)
    return Sheet(names, [(number, _padded(cells, width)) for number, cells in below], blank, notes)


def _opened(raw: bytes, *, values: bool) -> "Workbook":
    import openpyxl  # a third of a second; most tables are no workbooks

    return openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=values)


def _rows(book: "Workbook", title: str, size: int, place: str) -> list[_Row]:
    """Rows with at least one value, without empty cells at their end."""
    rows: list[_Row] = []
    held = 0
    sheet = book[title]
    sheet.reset_dimensions()  # what a sheet says of its own size may be wrong, and huge
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number > MOST_ROWS:
            raise TuneshotError(
                f"{place} has rows beyond number {MOST_ROWS:,}, where a sheet of Excel ends; save "
                "it again, or as CSV UTF-8"
            )
        filled = next((i for i in range(len(cells), 0, -1) if cells[i - 1] is not None), 0)
        if filled:
            held += filled
            check_cells(held, filled, size, place)
            rows.append((number, [_value(cell) for cell in cells[:filled]]))
    return rows


def _value(cell: object) -> object:
    if isinstance(cell, datetime) and cell.time() == time():
        cell = cell.date()
    return cell.isoformat() if isinstance(cell, date | time) else cell


def _padded(cells: Sequence[object], width: int) -> list[object]:
    """``cells`` up to ``width``; nothing is an empty text, as in a CSV."""
    return ["" if cell is None else cell for cell in [*cells, *[None] * (width - len(cells))]]


def _check_formulas(
    rows: list[_Row], formulas: "Workbook", title: str, size: int, place: str
) -> None:
    """Raises ``TuneshotError`` if a cell without a value has a formula."""
    written = dict(_rows(formulas, title, size, place))
    for number, cells in rows:
        for cell, formula in zip(cells, written.get(number, ()), strict=False):
            if cell is None and isinstance(formula, str) and formula.startswith("="):
                raise TuneshotError(
                    f"{place}, row {number}: the value of a formula is not stored; open the "
                    "workbook in Excel, save it, and try again"
                )
