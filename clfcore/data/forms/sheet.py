"""What every form is read into, and how large it may be."""

from collections.abc import Sequence
from dataclasses import dataclass

from clfcore.errors import TuneshotError

NumberedRow = tuple[int, Sequence[object]]

MOST_COLUMNS = 16_384  # as many as Excel has
MOST_ROWS = 1_048_576  # of a workbook, as many as Excel has
_FREE_CELLS = 10_000_000  # allowed in any file: 80 MB


@dataclass(frozen=True, slots=True)
class Sheet:
    """A header and rows of cells.

    Attributes:
        header: names of the columns.
        rows: the number of each row, as a person counts it in the file, and its cells, as many as
            the header has.
        blank: how many rows were left out because nothing stood in them.
        notes: what to know about how it was read, a sentence each.
    """

    header: Sequence[str]
    rows: Sequence[NumberedRow]
    blank: int = 0
    notes: tuple[str, ...] = ()


def check_cells(cells: int, columns: int, size: int, place: str) -> None:
    """Refuses a table with far more cells than its file has bytes for.

    Every row is filled up to the width of the header, so one wide row among many short ones, or a
    name of its own in each object, would take a thousand times the memory of the file.

    Args:
        cells: how many there are so far, empty ones too.
        columns: of a row.
        size: of the file, in bytes or characters.
        place: the file, for the error message.

    Raises:
        TuneshotError: it is one.
    """
    if columns > MOST_COLUMNS:
        raise TuneshotError(
            f"{place} has {columns:,} columns, and a table may have {MOST_COLUMNS:,}; keep those "
            "with the texts and the labels"
        )
    if cells > max(size, _FREE_CELLS):
        raise TuneshotError(
            f"{place} has {cells:,} cells or more, most of them empty; keep the columns with the "
            "texts and the labels"
        )
