"""What every form is read into."""

from collections.abc import Sequence
from dataclasses import dataclass

NumberedRow = tuple[int, Sequence[object]]


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
