"""Excel workbooks, as Excel and other programs write them."""

import io
import zipfile
from datetime import date, datetime

import pytest

from clfcore.data.tables import read_table
from clfcore.errors import TuneshotError
from tests.support.lazy import lazy

openpyxl = lazy("openpyxl")


def saved(**sheets):
    """A workbook with these sheets: title -> rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


ROWS = [("Text", "Label", "n"), ("hi,\nyou", "ham", 1), ("win; now", "spam", 2.5)]


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv", "a"])
def test_a_workbook_is_read_under_any_name(name):
    table = read_table(saved(Data=ROWS), name)
    assert (table.texts, table.labels) == (("hi,\nyou", "win; now"), ("ham", "spam"))
    assert (table.header, table.numbers, table.notes) == (("Text", "Label", "n"), (2, 3), ())


def test_the_first_sheet_with_cells_is_read_and_the_others_are_named():
    table = read_table(saved(Empty=[], Data=ROWS, Old=[["x"]], Plan=[["y"]]), "a.xlsx")
    assert len(table.texts) == 2
    assert table.notes == ("a.xlsx: the sheet 'Data' is read, not 'Old', 'Plan'",)


def test_empty_rows_and_columns_do_not_matter_and_rows_keep_their_numbers():
    rows = [[], *ROWS[:2], [None, None], ["", ""], [*ROWS[2], None, None], [None] * 9]
    table = read_table(saved(Data=rows), "a.xlsx")
    assert table.texts == ("hi,\nyou", "win; now")
    assert table.numbers == (3, 6)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [((1, 0), ("1", "0")), ((True, False), ("True", "False")), ((0.5, 1.5), ("0.5", "1.5"))],
)
def test_numbers_and_truth_values_are_labels(labels, expected):
    rows = [("text", "label"), *((f"text {n}", label) for n, label in enumerate(labels))]
    assert read_table(saved(Data=rows), "a.xlsx").labels == expected


def test_numbers_and_dates_among_texts_become_texts_and_an_empty_cell_an_empty_one():
    cells = ["hi", 2024, date(2024, 1, 2), datetime(2024, 1, 2, 3, 4), None]
    table = read_table(saved(Data=[("text", "label"), *((c, "ham") for c in cells)]), "a.xlsx")
    assert table.texts == ("hi", "2024", "2024-01-02", "2024-01-02T03:04:00", "")


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("text", "label"), ("hi", None)], "a.xlsx, row 2: the label is empty"),
        ([("text", "label"), ("hi", "a"), ("yo", 1)], "a.xlsx: the labels are of several kinds"),
        ([("text", "label"), (1, "a")], "row 2: the text is not a string but of type int"),
        ([("text", "label"), ("=A1", "a")], "row 2: the value of a formula is not stored; open"),
        ([("a", "b"), ("hi", "ham")], "its header is: a, b"),
        ([], "a.xlsx holds no messages"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_told_by_its_row(rows, complaint):
    with pytest.raises(TuneshotError) as caught:
        read_table(saved(Data=rows), "a.xlsx")
    assert complaint in str(caught.value)


def test_a_sheet_that_claims_a_huge_size_is_read_as_far_as_it_goes():
    raw = saved(Data=ROWS)
    assert read_table(_with_dimension(raw, "A1:XFD1048576"), "a.xlsx").numbers == (2, 3)


def _with_dimension(raw, size):
    import re
    import zipfile

    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                content = re.sub(rb'ref="A1:[A-Z0-9]*"', f'ref="{size}"'.encode(), content)
            new.writestr(name, content)
    return changed.getvalue()


def test_one_wide_row_among_many_short_ones_is_refused_before_all_are_as_wide(monkeypatch):
    monkeypatch.setattr("clfcore.data.forms.sheet._FREE_CELLS", 1_000)
    rows = [[f"name {i}" for i in range(500)], *[["hi"]] * 99]
    with pytest.raises(TuneshotError, match=r"a\.xlsx has 50,000 cells or more, most of them"):
        read_table(saved(Data=rows), "a.xlsx")


def test_a_row_far_below_the_others_is_refused_before_the_gap_is_walked_through():
    with zipfile.ZipFile(io.BytesIO(saved(Data=ROWS))) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].replace(b'<row r="3"', b'<row r="2000000000"')
    assert sheet != parts["xl/worksheets/sheet1.xml"]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as new:
        for name, content in (parts | {"xl/worksheets/sheet1.xml": sheet}).items():
            new.writestr(name, content)
    with pytest.raises(TuneshotError, match="rows beyond number 1,048,576"):
        read_table(made.getvalue(), "a.xlsx")
