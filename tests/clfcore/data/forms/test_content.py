"""What a file is, is told by what is in it; and nothing unpacks to more than it may."""

import gzip
import io
import zipfile

import pytest

from clfcore.data.tables import read_labelled, read_table
from clfcore.errors import TuneshotError
from clfcore.types import Example

CSV = b"text,label\nhi,ham\n"
HI = [Example("hi", "ham")]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "a.gz", "a"])
def test_gzip_is_unpacked_whatever_the_name(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(CSV))
    assert read_labelled(tmp_path / name) == HI


@pytest.mark.parametrize("name", ["a.xlsx", "a.xls", "a.parquet", "a.tsv", "a.txt"])
def test_a_csv_is_read_under_any_name(tmp_path, name):
    (tmp_path / name).write_bytes(CSV)
    assert read_labelled(tmp_path / name) == HI


@pytest.mark.parametrize(
    "content", ['[{"text": "hi", "label": "ham"}]', '[\n{"label": "ham",\n"text": "hi"}\n]']
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_array_of_objects_is_a_table_too(content, name):
    assert read_table(f"\ufeff{content}".encode(), name).examples == HI


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.csv"])
def test_json_lines_are_seen_under_any_name(name, line_end):
    lines = ['{"text": "hi", "label": "ham"}', "", '{"label": "spam", "text": "yo"}', ""]
    table = read_table(line_end.join(lines).encode("utf-16"), name)
    assert (table.texts, table.labels, table.numbers) == (("hi", "yo"), ("ham", "spam"), (1, 3))


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is an old (.xls) or password-protected"),
        (zipped(content_dot_xml="x"), "is a spreadsheet of another kind; open it and save it as"),
        (zipped(a_dot_csv="x"), "is a zip archive; unpack it first"),
        (zipped(xl__workbook_dot_xml="x"), "is a damaged Excel workbook"),
        (b"PK\x03\x04 cut off", "is a damaged zip file"),
        (gzip.compress(CSV, mtime=0)[:-9], "is a damaged gzip file"),
        (b"BZh91AY&SY", "is packed with bzip2; unpack it first"),
        (b"%PDF-1.7\n", "is a PDF file"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_what_is_no_table_is_named_with_what_to_do(content, complaint, name):
    with pytest.raises(TuneshotError) as caught:
        read_table(content, name)
    assert f"{name} {complaint}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_web_page_that_calls_itself_a_workbook_is_named_and_a_message_may_begin_like_one():
    page = b"\xef\xbb\xbf\n<html><table><tr><td>text</td></tr></table>"
    for name in ("a.xls", "a.xlsx"):
        with pytest.raises(TuneshotError, match=r"is a web page; open it and save it as an Excel"):
            read_table(page, name)
    assert read_table(b"<html>WIN</html>\nhi\n", "a.txt", labels_needed=False).texts[1] == "hi"


def test_nothing_unpacks_to_more_than_it_may():
    bombs = {
        "a.csv.gz": gzip.compress(bytes(3_000_000)),
        "a.xlsx": zipped(xl__workbook_dot_xml=bytes(30_000_000)),
    }
    for name, bomb in bombs.items():
        assert len(bomb) < 40_000
        with pytest.raises(TuneshotError, match=r"MB when it is unpacked; .*split it"):
            read_table(bomb, name, most=2_000_000)
    with pytest.raises(TuneshotError, match=r"a\.csv is a Parquet file; send it as \.csv"):
        read_table(b"PAR1", "a.csv", most=2_000_000)
