"""Which character separates, which quotes are the form's, whether there is a header."""

import contextlib
import csv
import io
from time import process_time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from clfcore.data.tables import read_table
from clfcore.errors import TuneshotError

SEPARATORS = [",", ";", "\t", "|"]
ENDINGS = [".csv", ".tsv", ".txt", ""]
LABELS = st.sampled_from(["ham", "spam", "sp,am", "very good", "1"])
MESSAGES = [
    ("Hallo, wie geht es dir heute?", "ham"),
    ("Gewinn; jetzt anrufen | sofort", "spam"),
    ('sie sagte "ja", dann nichts', "ham"),
    ("1,5 Millionen gewonnen", "spam"),
    ("erste Zeile\nzweite Zeile", "ham"),
    ("", "spam"),
]


def written(rows, separator=",", line_end="\r\n", **style):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, lineterminator=line_end, **style).writerows(rows)
    return file.getvalue()


def pairs(content, name="table.csv", **options):
    raw = content if isinstance(content, bytes) else content.encode()
    table = read_table(raw, name, **options)
    return list(zip(table.texts, table.labels or [None] * len(table.texts), strict=True))


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), max_size=15
) | st.sampled_from([row[0] for row in MESSAGES])


@pytest.mark.parametrize("separator", SEPARATORS)
@settings(max_examples=80)
@given(
    rows=st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=6),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(ENDINGS),
    blank=st.integers(0, 3),
)
@example([("", "ham")], "utf-8", "\n", csv.QUOTE_MINIMAL, ".csv", 2)
@example(MESSAGES, "utf-16", "\r\n", csv.QUOTE_MINIMAL, ".csv", 0)
def test_whatever_a_csv_writer_wrote_comes_back(
    separator, rows, encoding, line_end, quoting, ending, blank
):
    # A tab in a text of several lines looks like a table of tabs: a stray quote must not swallow.
    assume(separator != "\t" or not any("\t" in text for text, _ in rows))
    # Python's writer does not quote a line end of another kind.
    strange = {"\r", "\n"} - set(line_end)
    assume(quoting == csv.QUOTE_ALL or not any(strange & set(text) for text, _ in rows))
    content = written([("text", "label"), *rows], separator, line_end, quoting=quoting)
    content += line_end * blank
    assert pairs(content.encode(encoding), f"table{ending}") == rows


WORDS = st.sampled_from(["äh", "Spaß…", "€5", "‘x’", "JOSÉ’S", "a;b", "c,d", "|", '"q"', "x\ny"])


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp1252"])
@given(st.lists(st.tuples(st.lists(WORDS).map(" ".join), LABELS), min_size=2, max_size=6))
def test_encodings_without_a_mark_come_back_with_one_note(separator, encoding, rows):
    rows = [("Grüße an dich", "ham"), *rows]
    content = written([("text", "label"), *rows], separator).encode(encoding)
    table = read_table(content, "table.csv")
    assert list(zip(table.texts, table.labels, strict=True)) == rows
    assert len(table.notes) == 1


@pytest.mark.parametrize("quotes", ["", '"'])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_excels_first_line_names_the_separator(separator, quotes):
    content = written([("text", "label"), *MESSAGES], separator)
    line = f"{quotes}sep={separator}{quotes}\r\n"
    assert pairs(line + content) == MESSAGES
    assert read_table((line + content).encode(), "a.csv").numbers[0] == 2  # as Excel counts


def test_a_space_after_each_separator_is_no_text():
    content = 'label, text\r\nham, "Go, now"\r\nspam, "Win"\r\n'
    assert pairs(content) == [("Go, now", "ham"), ("Win", "spam")]


def test_a_table_of_tabs_is_unquoted_only_if_a_writer_has_quoted_it():
    raw = [('"he said', "ham"), ('ok"', "spam"), ('say "hi" now', "ham"), ('"all of it"', "ham")]
    content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in raw)
    assert pairs(content, "a.tsv") == raw
    assert pairs('text\tlabel\n"he said ""x"""\tham\nok\tspam\n', "a.tsv") == [
        ('he said "x"', "ham"),
        ("ok", "spam"),
    ]
    # Excel's "Unicode text" quotes for a comma, too.
    assert pairs('text\tlabel\n"Hi, you"\tham\nok\tspam\n', "a.txt") == [
        ("Hi, you", "ham"),
        ("ok", "spam"),
    ]


def test_blank_rows_empty_columns_and_doubled_line_ends_of_spreadsheets_do_not_matter():
    assert pairs("text,label,,\n\nhi,ham,,\nyo,spam\n,,,\n,,,\n") == [("hi", "ham"), ("yo", "spam")]
    assert pairs("text,label\r\r\nhi,ham\r\r\n") == [("hi", "ham")]
    assert pairs("text;label;\nhi;ham;\n") == [("hi", "ham")]


MANY = [(f"text number {n} of many", ("ham", "spam")[n % 3 == 0]) for n in range(12)]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_two_columns_need_no_header_in_either_order(separator, ending):
    name = f"table{ending}"
    label_first = [(label, text) for text, label in MANY]
    assert pairs(written(label_first, separator, "\n"), name) == MANY
    table = read_table(written(MANY, separator, "\n").encode(), name)
    assert list(zip(table.texts, table.labels, strict=True)) == MANY
    assert table.notes == (f"{name}: it has no header; its second column is read as the label",)


def test_a_label_that_is_a_columns_name_elsewhere_makes_no_header():
    rows = [("question", "Who are you?"), ("topic", "Trains"), ("question", "Why not?")]
    assert pairs(written(rows, "\t", "\n"), "a.tsv") == [(text, label) for label, text in rows]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_one_known_name_makes_a_header_and_the_other_column_is_the_other(separator, ending):
    for header in [("Meinung", "Label"), ("REVIEW", "Urteil"), ("feedback", "verdict")]:
        assert pairs(written([header, *MANY], separator), f"table{ending}") == MANY


@pytest.mark.parametrize("separator", SEPARATORS)
def test_names_that_nobody_knows_are_asked_for_with_those_there_are(separator):
    content = written([("Meinung", "Urteil"), *MANY], separator).encode()
    with pytest.raises(TuneshotError) as caught:
        read_table(content, "a.tsv")
    assert str(caught.value) == (
        "a.tsv has no column 'text' and no column 'label'; its header is: Meinung, Urteil; name "
        "the column so, or say which it is with --text-column and --label-column"
    )
    assert pairs(content, "a.tsv", text_column="meinung", label_column="URTEIL") == MANY
    assert pairs(content, "a.tsv", label_column="Urteil") == MANY  # the other is the text


def test_a_known_name_among_the_messages_changes_nothing():
    rows = [("text", "ham"), ("label", "spam"), ("message me", "ham")]
    assert pairs(written([("text", "label"), *rows])) == rows


def test_the_header_of_a_table_that_was_put_below_another_is_read_once():
    content = written([("text", "label"), *MESSAGES])
    table = read_table((content + content).encode(), "a.csv")
    assert table.texts == tuple(text for text, _ in MESSAGES * 2)
    assert table.notes == ("a.csv: the header stands in it 2 times, and is read once",)


def test_one_column_is_not_separated_and_needs_no_header_but_a_name_that_nobody_knows():
    texts = [("well, thanks; and you", None), ("fine", None)]
    for content in ("text\nwell, thanks; and you\n\nfine\n", '"well, thanks; and you"\nfine\n'):
        assert pairs(content, "a.csv", labels_needed=False) == texts
    with pytest.raises(TuneshotError, match=r"no column 'text'; its header is: Nachricht; name"):
        pairs("Nachricht\nfine\n", "a.csv", labels_needed=False)
    assert pairs("text\n", "a.txt", labels_needed=False) == [("text", None)]


@pytest.mark.parametrize(
    ("content", "name", "complaint"),
    [
        ("text\tlabel\nhi\tham\tx\n", "a.tsv", "row 2: 3 fields where the header has 2"),
        ("text;label\nhi,ham\n", "a.csv", "row 2: 1 fields where the header has 2"),
        (
            'text,label\n"hi,ham\n',
            "a.csv",
            "is not a well-formed CSV: unexpected end",
        ),
        ("Hello there, friend\nwell, thanks\n", "a.csv", "no column 'text'"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_their_number(content, name, complaint):
    with pytest.raises(TuneshotError) as caught:
        pairs(content, name)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "Hello, how are you; fine?\nWell, thanks; and you\n",
        "text me, when you are there\nok, will do\n",
        "one\n\nthree\ttabs\n",
        '"quoted\nnot closed\n',
        "a|b\nc|d\n",
    ],
)
def test_sentences_are_no_table(content):
    lines = content.splitlines()
    assert pairs(content, "a.txt", labels_needed=False) == [(line, None) for line in lines]


def test_a_table_in_a_text_file_gives_its_texts_alone():
    content = written([(label, text) for text, label in MANY], "\t", "\n")
    for name in ("SMSSpamCollection", "messages.txt"):
        table = read_table(content.encode(), name, labels_needed=False)
        assert table.texts == tuple(text for text, _ in MANY)


@pytest.mark.parametrize("content", [" " * 200_000, "\t" * 200_000, " " * 200_000 + "\nhi\n"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_line_of_white_space_costs_no_more_than_its_length(content, ending):
    start = process_time()
    with contextlib.suppress(TuneshotError):
        pairs(content, f"a{ending}", labels_needed=False, skip_empty=True)
    assert process_time() - start < 30  # its square: minutes


@pytest.mark.parametrize(
    ("header", "rows", "complaint"),
    [
        ("text" + "," * 20_000, 1, "a.csv has 20,001 columns, and a table may have 16,384"),
        ("text" + "," * 16_000, 1_000, "cells or more, most of them empty; keep the columns"),
    ],
)
def test_short_rows_below_a_wide_header_are_refused_before_they_are_filled_up(
    header, rows, complaint
):
    with pytest.raises(TuneshotError, match=complaint):
        pairs("\n".join([header, *["hi"] * rows]), "a.csv", labels_needed=False)


def test_a_message_with_many_commas_is_a_message():
    text = "a," * 20_000
    assert pairs(f"{text}\nhi\n", "a.txt", labels_needed=False) == [(text, None), ("hi", None)]
