"""Texts, labels and weights in every form that users of scikit-learn have them in."""

import numpy as np
import pytest

from clfcore.data.split import UnusableInput
from clfcore.errors import TuneshotError
from clfcore.types import Example
from tests.support.lazy import lazy

pa = lazy("pyarrow")
pd = lazy("pandas")
sparse = lazy("scipy.sparse")
exceptions = lazy("sklearn.exceptions")
arrays = lazy("clfcore.data.arrays")

TEXTS = ["win a prize", "see you at 8", "claim it now"]
LABELS = ["spam", "ham", "spam"]

COLUMNS = {
    "list": lambda values: list(values),
    "tuple": lambda values: tuple(values),
    "list of NumPy's strings": lambda values: list(np.array(values)),
    "array": lambda values: np.array(values),
    "object array": lambda values: np.array(values, dtype=object),
    "column of an array": lambda values: np.array(values)[:, None],
    "column of objects": lambda values: np.array(values, dtype=object)[:, None],
    "list of rows": lambda values: [[value] for value in values],
    "masked array without a mask": lambda values: np.ma.masked_array(values),
    "Series": lambda values: pd.Series(values, index=range(7, 7 + len(values))),
    "categories": lambda values: pd.Series(values, dtype="category"),
    "Index": lambda values: pd.Index(values),
    "table": lambda values: pd.DataFrame({"only": values}),
    "Arrow array": lambda values: pa.array(values),
    "Arrow column": lambda values: pa.table({"only": values})["only"],
    "Arrow table": lambda values: pa.table({"only": values}),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_texts_are_the_rows_of_whatever_holds_one_column(column):
    texts = arrays.check_texts(column(TEXTS))
    assert texts == TEXTS
    assert {type(text) for text in texts} == {str}


@pytest.mark.filterwarnings("ignore:A column-vector y")
@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize(
    ("labels", "names"),
    [(LABELS, ("ham", "spam")), ([1, 0, 1], ("0", "1")), ([True, False, True], ("False", "True"))],
    ids=["text", "numbers", "booleans"],
)
def test_labels_are_read_from_the_same_forms(column, labels, names):
    data = arrays.check_labelled(TEXTS, column(labels))
    assert data.classes.tolist() == sorted(set(labels))
    assert data.names == names
    assert data.examples == [Example(t, str(y)) for t, y in zip(TEXTS, labels, strict=True)]


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array(LABELS), "<U4"),
        (np.array(LABELS, dtype=object), object),
        (np.array([1, 0, 1], np.int8), np.int8),
        (np.array([2.0, 1.0, 2.0]), np.float64),
        ([True, False, True], np.bool_),
        (np.array([3, 2, 3], dtype=object), np.int64),
    ],
)
def test_classes_have_the_dtype_of_the_labels(labels, dtype):
    assert arrays.check_labelled(TEXTS, labels).classes.dtype == dtype


def test_labels_have_their_names_without_white_space_around_them_and_stay_as_they_are():
    data = arrays.check_labelled(TEXTS, [" spam", "ham", " spam"])
    assert data.classes.tolist() == [" spam", "ham"]
    assert data.names == ("spam", "ham")


def test_a_column_of_labels_is_read_with_scikit_learns_warning():
    with pytest.warns(exceptions.DataConversionWarning, match="A column-vector y"):
        arrays.check_labelled(TEXTS, [["spam"], ["ham"], ["spam"]])


def test_of_an_empty_list_there_are_no_texts():
    assert arrays.check_texts([]) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("win a prize", "X is one string; give a list of texts"),
        (b"win", "X is of type bytes; give a list of texts"),
        (5, "X is of type int"),
        (None, "X is of type NoneType"),
        ({"text": TEXTS}, "X is of type dict"),
        (set(TEXTS), "X is of type set"),
        ((text for text in TEXTS), "X is of type generator"),
        (lambda: sparse.csr_matrix(np.eye(3)), "X is of type csr_matrix"),
        ([*TEXTS[:2], None], r"X, row 2 \(counted from 0\): the text is missing"),
        ([np.nan, *TEXTS[1:]], r"X, row 0 \(counted from 0\): the text is missing"),
        (lambda: pd.Series([*TEXTS[:2], pd.NA], dtype="string"), "row 2 .*: the text is missing"),
        (lambda: pd.DataFrame({"text": [*TEXTS[:2], None]}), "row 2 .*: the text is missing"),
        (np.ma.masked_array(TEXTS, mask=[0, 1, 0]), "row 1 .*: the text is missing"),
        (lambda: pa.array([*TEXTS[:2], None]), "row 2 .*: the text is missing"),
        (lambda: pd.to_datetime(pd.Series(["2026-01-01", None, None])), "not Timestamp"),
        (np.zeros(3), "row 0 .*: a text must be a string, not float"),
        ([*TEXTS[:2], 7], "row 2 .*: a text must be a string, not int"),
        ([*TEXTS[:2], b"bytes"], "not bytes"),
        ([["a"], ["b", "c"]], "not list"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], "X is no list of texts"),
        (np.array([["a", "b"]] * 3), "X has 2 columns; give the one that holds the texts"),
        (lambda: pd.DataFrame({"text": TEXTS, "label": LABELS}), r"2 columns \(text, label\)"),
        (lambda: pa.table({"text": TEXTS, "label": LABELS}), r"X has 2 columns \(text, label\)"),
        (lambda: pd.DataFrame(index=range(3)), "X has 0 columns"),
        (np.full((3, 1, 1), "a"), r"X has shape \(3, 1, 1\)"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_texts_is_refused_in_one_line(wrong, message):
    with pytest.raises(UnusableInput, match=message) as caught:
        arrays.check_texts(wrong() if callable(wrong) else wrong)
    assert isinstance(caught.value, TuneshotError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y to be passed, but the target y is None"),
        ("spam", "y is one string; give a list of labels"),
        (LABELS[:2], "X has 3 texts and y has 2 labels"),
        ([*LABELS[:2], None], r"y, row 2 \(counted from 0\): the label is empty"),
        ([*LABELS[:2], float("nan")], "row 2 .*: the label is empty"),
        ([1.0, 0.0, np.nan], "row 2 .*: the label is empty"),
        (lambda: pd.Series([1, 0, pd.NA], dtype="Int64"), "row 2 .*: the label is empty"),
        ([*LABELS[:2], "  "], "row 2 .*: the label is empty"),
        (
            ["spam", 0, "spam"],
            r"y: the labels are of several kinds: text \('spam'\) in row 0 .*number \('0'\) in row",
        ),
        (["spam", "ham", True], "several kinds: text .*, truth value"),
        ([1, 0, True], "several kinds: number .*, truth value"),
        (np.array(["spam", 0, 1], dtype=object), "several kinds: text .*, number"),
        ([0.25, 0.5, 1.0], "0.25 is a number on a scale.*Unknown label type: continuous"),
        ([1, 2, np.inf], "inf is a number on a scale"),
        ([b"a", b"b", b"a"], "a label must be text, a whole number or a boolean, not bytes"),
        ([["a"], ["b", "c"], ["a"]], "not list"),
        (np.array([["a", "b"]] * 3), "y has 2 columns; give the one that holds the labels"),
        (lambda: pd.DataFrame({"one": LABELS, "two": LABELS}), r"y has 2 columns \(one, two\)"),
        (["spam"] * 3, "all texts are of one class"),
        (["ham", "ham ", "spam"], "labels 'ham' differ only in outer white space"),
        (["Gr\u00fcn", "Gru\u0308n", "Rot"], "differ only in outer white space or in how"),
    ],
)
def test_labels_that_are_none_are_refused_in_one_line(labels, message):
    with pytest.raises(UnusableInput, match=message) as caught:
        arrays.check_labelled(TEXTS, labels() if callable(labels) else labels)
    assert "\n" not in str(caught.value)


def test_nothing_cannot_be_learnt_from():
    with pytest.raises(UnusableInput, match="X holds no texts"):
        arrays.check_labelled([], [])


def test_a_weight_goes_with_its_text_and_a_text_of_weight_0_is_left_out():
    data = arrays.check_labelled([*TEXTS, "hello"], [*LABELS, "other"], [2, 0.5, 1, 0])
    assert data.examples == [Example(TEXTS[0], "spam", 2.0), Example(TEXTS[1], "ham", 0.5),
                             Example(TEXTS[2], "spam")]  # fmt: skip
    assert data.classes.tolist() == ["ham", "spam"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], "X has 3 texts and sample_weight has 2 numbers"),
        (2.0, "sample_weight is of type float; give a list of numbers"),
        (np.ones((3, 2)), "sample_weight has 2 columns"),
        ([1, -1, 1], r"sample_weight, row 1 \(counted from 0\): -1.0 is no weight"),
        ([1, 1, np.nan], "row 2 .*: nan is no weight"),
        ([1, 1, np.inf], "row 2 .*: inf is no weight"),
        ([1, None, 1], "row 1 .*: nan is no weight"),
        (["a", "b", "c"], "sample_weight holds something else than numbers"),
        ([0, 0, 0], "sample_weight is zero for every text"),
        ([1, 0, 1], "all texts are of one class"),
    ],
)
def test_weights_that_are_none_are_refused_in_one_line(weights, message):
    with pytest.raises(UnusableInput, match=message) as caught:
        arrays.check_labelled(TEXTS, LABELS, weights)
    assert "\n" not in str(caught.value)
