"""Messages out of files of every form."""

import csv
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.data.tables import FORMS, read_labelled, read_table, read_texts
from clfcore.errors import TuneshotError
from clfcore.types import Example
from tests.support.lazy import lazy

openpyxl = lazy("openpyxl")
pa = lazy("pyarrow")
parquet = lazy("pyarrow.parquet")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


# How a careful program writes each form; `columns` is name -> values.


def write_tsv(path, columns):
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    write(path, "".join("\t".join(row) + "\n" for row in rows))


def write_csv(path, columns):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])


def write_parquet(path, columns):
    parquet.write_table(pa.table(columns), path)


def write_jsonl(path, columns):
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_xlsx(path, columns):
    sheet = (book := openpyxl.Workbook()).active
    for row in [list(columns), *zip(*columns.values(), strict=True)]:
        sheet.append(row)
    for cell in (cell for row in sheet.rows for cell in row):
        cell.data_type = "s"  # a text, even if it begins with =
    book.save(path)


WRITERS = {
    ".tsv": write_tsv,
    ".csv": write_csv,
    ".xlsx": write_xlsx,
    ".parquet": write_parquet,
    ".jsonl": write_jsonl,
}
ANY_TEXT = st.text(max_size=20) | st.sampled_from(['"', "a\r\nb", "\r", "\n", "\u2028", "é,'\"\t"])
TEXTS = {
    ".tsv": st.text(st.characters(codec="utf-8", exclude_characters="\t\r\n"), max_size=20),
    # What XML can hold.
    ".xlsx": st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Co"]), max_size=20
    ),
}


def test_every_form_is_tried_here():
    assert WRITERS.keys() == set(FORMS)


@pytest.mark.parametrize("suffix", FORMS)
@settings(max_examples=60)
@given(st.data())
def test_whatever_is_written_to_a_table_comes_back(suffix, data):
    texts = data.draw(st.lists(TEXTS.get(suffix, ANY_TEXT), min_size=1, max_size=5))
    texts = ["and " + text for text in texts] if suffix == ".tsv" else texts  # no quote at first
    labels = data.draw(st.lists(st.sampled_from(["ham", "sp,am", "3"]), min_size=len(texts),
                                max_size=len(texts)))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{suffix}"
        WRITERS[suffix](path, {"label": labels, "text": texts})
        assert read_labelled(path) == [
            Example(text, label) for text, label in zip(texts, labels, strict=True)
        ]
        assert read_texts(path) == texts


@pytest.mark.parametrize("suffix", FORMS)
def test_columns_are_found_in_every_form_in_any_case_and_order(tmp_path, suffix):
    path = tmp_path / f"table{suffix.upper()}"
    WRITERS[suffix](path, {"REVIEW": ["hi"], "id": ["1"], "Category": ["ham"]})
    assert read_labelled(path) == [Example("hi", "ham")]


@pytest.mark.parametrize("suffix", FORMS)
def test_a_named_column_goes_before_the_usual_ones(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    WRITERS[suffix](path, {"text": ["no"], "label": ["no"], "Nachricht": ["ja"], "Art": ["ham"]})
    assert read_labelled(path, "nachricht", "art") == [Example("ja", "ham")]
    assert read_texts(path, "Nachricht") == ["ja"]


@pytest.mark.parametrize("suffix", FORMS)
def test_a_column_that_cannot_be_found_is_asked_for_and_the_header_shown(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    WRITERS[suffix](path, {"Farbe": ["rot"], "Nachricht": ["hi"], "label": ["ham"]})
    for read in (read_labelled, read_texts):
        with pytest.raises(
            TuneshotError,
            match=r"no column 'text'; its header is: Farbe, Nachricht, label; .*--text-",
        ):
            read(path)
    with pytest.raises(TuneshotError, match=r"no column 'Art'; .*--label-column"):
        read_labelled(path, "Nachricht", "Art")


@pytest.mark.parametrize("suffix", FORMS)
def test_two_columns_that_could_be_meant_are_a_question(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    WRITERS[suffix](path, {"text": ["hi"], "type": ["sms"], "Category": ["ham"]})
    with pytest.raises(TuneshotError, match="2 columns for the label: 'type', 'Category'; choose"):
        read_labelled(path)
    assert read_labelled(path, label_column="category") == [Example("hi", "ham")]


# --- .tsv and the corpus' own form --------------------------------------------------------------


def test_every_line_of_the_file_is_one_message(tmp_path):
    """Default CSV quoting would merge these three lines into one."""
    file = write(tmp_path / "sms", 'ham\tshe said "ok\nspam\tWIN "£100\nham\tbye"\n')
    assert read_labelled(file) == [
        Example('she said "ok', "ham"),
        Example('WIN "£100', "spam"),
        Example('bye"', "ham"),
    ]


def test_only_the_first_tab_separates_and_exotic_line_ends_are_text(tmp_path):
    file = write(tmp_path / "sms", "ham\ta\tb\u2028c\x85d\r\nspam\te\n")
    assert [e.text for e in read_labelled(file)] == ["a\tb\u2028c\x85d", "e"]


def test_a_header_names_the_columns_in_any_order(tmp_path):
    tsv = write(tmp_path / "a.tsv", 'id\tlabel\ttext\n1\tspam\tsay "hi\t2 u\n')
    plain = write(tmp_path / "a", "\ufeffText\tLabel\nhi\tham\n")
    assert read_labelled(tsv) == [Example('say "hi\t2 u', "spam")]
    assert read_labelled(plain) == [Example("hi", "ham")]


def test_the_corpus_is_read_under_the_name_the_book_gives_it(tmp_path):
    """Chapter 6 renames the file to SMSSpamCollection.tsv; it has no header."""
    file = write(tmp_path / "SMSSpamCollection.tsv", "ham\tok\nspam\twin\tnow\n")
    assert read_labelled(file) == [Example("ok", "ham"), Example("win\tnow", "spam")]


def test_texts_come_from_lines_or_from_the_text_column(tmp_path):
    lines = write(tmp_path / "a.txt", "\ufeffone\n\nthree\ttabs\n")
    table = write(tmp_path / "a.csv", "n,text\n1,hello\n")
    assert read_texts(lines) == ["one", "", "three\ttabs"]
    assert read_texts(table) == ["hello"]


# --- the other forms ----------------------------------------------------------------------------


def test_kaggles_copy_with_its_nameless_columns_is_read(tmp_path):
    file = write(tmp_path / "spam.csv", 'v1,v2,,,\r\nham,"Go, now",,,\r\n\r\nspam,Win,,,\r\n')
    assert read_labelled(file) == [Example("Go, now", "ham"), Example("Win", "spam")]


def test_labels_of_any_plain_type_become_strings(tmp_path):
    for written, labels in {"1, 2.5": ["1", "2.5"], "true, false": ["True", "False"]}.items():
        first, second = written.split(", ")
        lines = [f'{{"text": "\\ud83d", "label": {first}}}', "",
                 f'{{"label": {second}, "text": "b", "more": []}}']  # fmt: skip
        file = write(tmp_path / "a.jsonl", "\n".join(lines))
        assert read_labelled(file) == [Example("\ud83d", labels[0]), Example("b", labels[1])]


def test_a_folder_holds_one_folder_of_text_files_per_class(tmp_path):
    write(tmp_path / "spam/2.txt", "second\nline\r\n")
    write(tmp_path / "spam/1.txt", "first\n\n")
    write(tmp_path / "ham/10.TXT", "\ufeffhi")
    write(tmp_path / "ham/notes.md", "not a message")
    write(tmp_path / "ham/.hidden.txt", "not a message")
    write(tmp_path / ".git/1.txt", "not a message")
    write(tmp_path / "README.txt", "not a message")
    assert read_labelled(tmp_path) == [
        Example("hi", "ham"),
        Example("first\n", "spam"),
        Example("second\nline", "spam"),
    ]
    assert read_texts(tmp_path) == ["hi", "first\n", "second\nline"]


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sms", "ham\tok\nno label here\n", "line 2: expected label, a tab"),
        ("sms", "\tno label\n", "row 1: the label is empty"),
        ("sms", "", "holds no messages"),
        ("sms", b"ham\tok\nham\t\x81\n", "not UTF-8 (line 2), nor Windows-1252 (line 2)"),
        ("a.json", '[{"text": "hi"}]', "no column 'label'; its header is: text;"),
        ("a.csv", "a,b,label\nhi,x,ham\n", "no column 'text'; its header is: a, b, label;"),
        ("a.csv", "", "holds no messages"),
        ("a.csv", "text,label\n", "holds no messages"),
        ("a.csv", "text,label\nhi\n", "row 2: 1 fields where the header has 2"),
        ("a.csv", "text,label\nhi,ham\nhi,  \n", "row 3: the label is empty"),
        ("a.csv", 'text,label\n"hi,ham\n', "not a well-formed CSV"),
        ("a.tsv", "text\tlabel\nhi\n", "row 2: 1 fields where the header has 2"),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n{', "line 2 is not JSON"),
        ("a.jsonl", '["hi"]', "line 1 is not an object"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"label": 1}', "row 2: the text is missing"),
        ("a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b"}', "row 3: the label is empty"),
        ("a.jsonl", '{"text": 3, "label": "x"}', "row 1: the text is not a string but of type int"),
        ("a.jsonl", '{"text": "a", "label": ["x"]}', "the label is not one word or number"),
        ("a.parquet", "PAR1text,label\n", "as Parquet"),
        ("empty/notes.md", "hi", "empty holds no .txt file"),
        ("notes.md", None, "has no sub-folders; expected one for each class"),
    ],
)
def test_bad_data_is_refused_in_one_line(tmp_path, name, content, message):
    file = write(tmp_path / name, content or "")
    whole_folder = content is None or "/" in name
    with pytest.raises(TuneshotError) as caught:
        read_labelled(tmp_path if whole_folder else file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_hole_in_a_parquet_column_is_refused_by_its_row(tmp_path, missing):
    write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [1.0, missing]})
    with pytest.raises(TuneshotError, match="row 2: the label is empty"):
        read_labelled(tmp_path / "a.parquet")
    write_parquet(tmp_path / "b.parquet", {"text": ["a", None], "label": ["x", "y"]})
    for read in (read_labelled, read_texts):
        with pytest.raises(TuneshotError, match="row 2: the text is missing"):
            read(tmp_path / "b.parquet")


@pytest.mark.parametrize("name", ["nowhere.txt", *(f"nowhere{suffix}" for suffix in FORMS)])
def test_a_file_that_is_not_there_is_refused(tmp_path, name):
    for read in (read_labelled, read_texts):
        with pytest.raises(TuneshotError, match=r"cannot read .*No such file"):
            read(tmp_path / name)


def test_a_folder_with_a_pipe_or_a_device_in_it_is_refused_and_not_waited_for(tmp_path):
    write(tmp_path / "ham/1.txt", "hi")
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        make(tmp_path / "ham/2.txt")
        with pytest.raises(TuneshotError, match=r"2\.txt is not a file; remove it"):
            read_labelled(tmp_path)
        (tmp_path / "ham/2.txt").unlink()


def test_a_device_that_never_ends_and_a_file_of_a_terabyte_are_refused_at_once(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("clfcore.data.forms.content.MOST_UNPACKED", 3_000_000)
    (tmp_path / "zeros.csv").touch()
    os.truncate(tmp_path / "zeros.csv", 10**12)
    for path, most in ((Path("/dev/zero"), "3,000,000"), (tmp_path / "zeros.csv", "2,000,000,000")):
        for read in (read_labelled, read_texts):
            with pytest.raises(TuneshotError, match=f"has more than {most} bytes; split it"):
                read(path)


@pytest.fixture
def few_cells(monkeypatch):
    monkeypatch.setattr("clfcore.data.forms.sheet._FREE_CELLS", 1_000)


def test_names_that_only_one_object_has_are_refused_before_each_row_has_all_of_them(few_cells):
    lines = [json.dumps({"text": "hi", f"name {i}": 1}) for i in range(100)]
    for content in ("\n".join(lines), f"[{','.join(lines)}]"):
        with pytest.raises(TuneshotError, match=r"a\.jsonl has 10,100 cells or more"):
            read_table(content.encode(), "a.jsonl", labels_needed=False)


def test_a_parquet_file_is_refused_by_what_it_would_be_when_it_is_unpacked(tmp_path, few_cells):
    columns = {"text": ["a" * 1_000_000] * 600, "label": ["ham"] * 600}  # stored once
    write_parquet(tmp_path / "a.parquet", columns)
    assert (tmp_path / "a.parquet").stat().st_size < 2_000_000
    with pytest.raises(TuneshotError, match="holds more than 500 MB when it is unpacked"):
        read_texts(tmp_path / "a.parquet")
    write_parquet(tmp_path / "b.parquet", {"text": ["a"] * 60_000, "label": ["b"] * 60_000})
    with pytest.raises(TuneshotError, match="has 120,000 cells or more"):
        read_texts(tmp_path / "b.parquet")
