"""What a label may be, in every form of table."""

import csv
import io
import json

import pytest

from clfcore.data.labels import unknown_labels
from clfcore.data.tables import read_labelled, read_table
from clfcore.errors import DataNote, TuneshotError


def table(*labels):
    rows = "".join(
        json.dumps({"text": f"text {row}", "label": label}) + "\n"
        for row, label in enumerate(labels)
    )
    return read_table(rows.encode(), "a.jsonl")


def test_white_space_and_unicode_forms_are_folded_with_a_note_each():
    found = table("ham", " ham\u00a0", "caf\u00e9", "cafe\u0301", "\ufeffham")
    assert found.labels == ("ham", "ham", "caf\u00e9", "caf\u00e9", "ham")
    assert found.notes == (
        "a.jsonl: spaces around labels are left out: 'ham'",
        "a.jsonl: accented letters of labels are brought to one Unicode form: 'caf\u00e9'",
    )


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["Praise", "praise"], "labels that differ only in case count as different: 'Praise' and"),
        (["1", "1.0", "0"], "labels that are the same number count as different: '1' and '1.0';"),
        ([1, 1.0, 0], "labels that are the same number count as different: '1' and '1.0';"),
    ],
)
def test_labels_that_look_like_one_are_told(labels, note):
    found = table(*labels)
    assert found.labels == tuple(map(str, labels))
    [told] = found.notes
    assert note in told


@pytest.mark.parametrize("labels", [(1, 0), (0.0, 1.0), (True, False), ("a", "1", "True")])
def test_labels_of_one_kind_need_no_note(labels):
    found = table(*labels)
    assert found.labels == tuple(map(str, labels))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (("spam", 0), "the labels are of several kinds: text ('spam') in row 1, number ('0') in "),
        ((1, True), "number ('1') in row 1, truth value ('True') in row 2; write all of them as"),
        (("a", None), "a.jsonl, row 2: the label is empty; fill it in or remove the row"),
        (("a", " \u200b"), "a.jsonl, row 2: the label is empty; fill it in or remove the row"),
        (("a", ["b"]), "a.jsonl, row 2: the label is not one word or number but of type list"),
    ],
)
def test_missing_and_mixed_labels_are_refused_with_their_rows(labels, complaint):
    with pytest.raises(TuneshotError) as caught:
        table(*labels)
    assert complaint in str(caught.value)


def test_labels_that_somebody_lacks_are_not_all_listed_and_numbers_are_explained():
    many = [f"label {n}" for n in range(49)]
    assert str(unknown_labels(many, many, "the model")).count("label ") < 20
    assert "1.0 and 1 are one number but two labels: pandas writes 1 as 1.0" in str(
        unknown_labels(["1.0"], ["0", "1"], "the model")
    )


def test_python_sees_notes_as_warnings(tmp_path):
    file = io.StringIO()
    csv.writer(file).writerows([("text", "label"), ("hi", "ham "), ("yo", "spam")])
    (tmp_path / "a.csv").write_text(file.getvalue())
    with pytest.warns(DataNote, match=r"a\.csv: spaces around labels are left out: 'ham'$"):
        read_labelled(tmp_path / "a.csv")
