"""Texts, labels and weights as scikit-learn's users have them: lists, arrays, a table's column.

One reader for all estimators of this project; what it refuses, it refuses in one line.
"""

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import DataConversionWarning

from clfcore.data.labels import check_one_kind, folded, is_missing
from clfcore.data.split import UnusableInput
from clfcore.errors import TuneshotError
from clfcore.types import Example
from clfcore.wording import listed


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """What ``fit`` learns from, checked; texts of weight 0 are left out.

    Attributes:
        examples: labels are strings here, whatever they were.
        classes: (K,) the different labels, sorted, in their own dtype.
        names: of the classes, in the same order, as in ``examples``: without outer white space.
    """

    examples: list[Example]
    classes: np.ndarray
    names: tuple[str, ...]


def check_labelled(X: object, y: object, sample_weight: object = None) -> LabelledTexts:
    """The arguments of an estimator's ``fit``.

    Args:
        X: (N,) texts, as for ``check_texts``.
        y: (N,) labels, or one column of them: all texts, all whole numbers, or all booleans.
        sample_weight: (N,) how much each text counts, 0 or more; ``None``: all the same.

    Raises:
        UnusableInput: not such texts, labels or weights, or not as many of each; labels that are
            missing or of several types; fewer than two different ones.
    """
    texts = check_texts(X)
    if not texts:
        raise UnusableInput("X holds no texts; give at least one of each class")
    if y is None:
        raise UnusableInput(
            "this classifier requires y to be passed, but the target y is None; give a list with "
            "one label for each text"
        )
    column = read_column(y, "y", "labels")
    check_length(len(column), "y", "labels", len(texts))
    labels = _labels(y, column)
    if labels.ndim == 2:  # as scikit-learn's own classifiers say it, to whoever called fit
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected; its rows are the labels",
            DataConversionWarning,
            stacklevel=3,
        )
    weights = check_weights(sample_weight, len(texts))
    count = weights > 0
    classes, numbers = np.unique(labels.ravel()[count], return_inverse=True)
    if len(classes) < 2:
        raise UnusableInput(
            f"all texts are of one class, {str(classes[0])!r}; a classifier needs at least 2, so "
            "add texts of another"
        )
    names = tuple(folded(str(label)) for label in classes.tolist())
    if alike := [name for name, count in Counter(names).items() if count > 1]:
        raise UnusableInput(
            f"y: labels {alike[0]!r} differ only in outer white space or in how their letters are "
            "encoded; write them alike"
        )
    examples = [
        Example(texts[row], names[number], float(weights[row]))
        for row, number in zip(np.flatnonzero(count), numbers, strict=True)
    ]
    return LabelledTexts(examples, classes, names)


def check_texts(X: object) -> list[str]:
    """The texts of a list, a tuple, an array, a Series, or a table of one column.

    Args:
        X: (N,) or (N, 1) strings, of Python, NumPy, pandas, Arrow or whatever else becomes an
            array.

    Raises:
        UnusableInput: one string, several columns, something that is no string, a missing text.
    """
    texts = read_column(X, "X", "texts")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            if is_missing(text):
                raise UnusableInput(
                    f"X, {_row(row)}: the text is missing; fill it in or remove the row"
                )
            raise UnusableInput(
                f"X, {_row(row)}: a text must be a string, not {type(text).__name__}; turn it into "
                "one, or remove it"
            )
    return list(map(str, texts))  # NumPy's strings, too


# --- shape ----------------------------------------------------------------------------------------


def read_column(values: object, name: str, items: str) -> np.ndarray:
    """(N,) objects: the rows of a sequence or of a table's only column.

    Args:
        values: anything.
        name: of the argument, for the error message.
        items: what it should hold, for the error message.

    Raises:
        UnusableInput: it is something else.
    """
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist()  # None where it is masked
    try:
        column = np.asarray(values, dtype=object)
    except ValueError as error:  # arrays of different shapes
        raise UnusableInput(f"{name} is no list of {items} ({error}); give a list") from error
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim == 1:
        return column
    if column.ndim == 0:
        what = "one string" if isinstance(values, str) else f"of type {type(values).__name__}"
        raise UnusableInput(f"{name} is {what}; give a list of {items}, an array or one column")
    if column.ndim > 2:
        raise UnusableInput(f"{name} has shape {column.shape}; give a list of {items}")
    names = getattr(values, "column_names", getattr(values, "columns", ()))  # Arrow's, pandas'
    called = f" ({listed(names)})" if len(names) else ""
    raise UnusableInput(
        f"{name} has {column.shape[1]} columns{called}; give the one that holds the {items}"
    )


def check_length(length: int, name: str, items: str, texts: int) -> None:
    """Raises ``UnusableInput`` where there is not one of ``items`` for each text."""
    if length != texts:
        raise UnusableInput(
            f"X has {texts:,} texts and {name} has {length:,} {items}; give one for each text"
        )


def _row(row: int) -> str:
    return f"row {row} (counted from 0)"


# --- labels and weights ---------------------------------------------------------------------------


def _labels(y: object, column: np.ndarray) -> np.ndarray:
    """(N,) or (N, 1) in the labels' own dtype: all text, all whole numbers or all booleans."""
    values = [label.item() if isinstance(label, np.generic) else label for label in column]
    for row, value in enumerate(values):
        if not is_missing(value):
            _check_label(value, row)
    try:
        check_one_kind(values, lambda row: f"y, {_row(row)}")
    except TuneshotError as error:
        raise UnusableInput(str(error)) from error
    labels = np.asarray(y)
    if labels.dtype == object and not isinstance(values[0], str):
        labels = np.array(values)  # NumPy's own type of numbers
    return labels


def _check_label(label: object, row: int) -> None:
    if not isinstance(label, str | int | float):
        raise UnusableInput(
            f"y, {_row(row)}: a label must be text, a whole number or a boolean, not "
            f"{type(label).__name__}"
        )
    if isinstance(label, float) and not label.is_integer():
        raise UnusableInput(
            f"y, {_row(row)}: {label} is a number on a scale, not a class (Unknown label type: "
            "continuous); give the classes as text or whole numbers"
        )


def check_weights(sample_weight: object, texts: int) -> np.ndarray:
    """(N,) float64, not all 0; ``UnusableInput`` for what is no such list of numbers."""
    if sample_weight is None:
        return np.ones(texts)
    column = read_column(sample_weight, "sample_weight", "numbers")
    check_length(len(column), "sample_weight", "numbers", texts)
    try:
        weights = column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UnusableInput(f"sample_weight holds something else than numbers: {error}") from error
    if not (wrong := ~(np.isfinite(weights) & (weights >= 0))).any():
        if weights.any():
            return weights
        raise UnusableInput(
            "sample_weight is zero for every text, so nothing is left to learn from"
        )
    row = int(wrong.argmax())
    raise UnusableInput(
        f"sample_weight, {_row(row)}: {weights[row]} is no weight; give numbers of 0 or more"
    )
