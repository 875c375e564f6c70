"""Texts, labels and weights as scikit-learn's users have them: lists, arrays, a table's column.

One reader for all estimators of this project; what it refuses, it refuses in one line.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from textwrap import shorten
from unicodedata import normalize

import numpy as np
from sklearn.exceptions import DataConversionWarning

from clfcore.data.split import UnusableInput
from clfcore.types import Example


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """What ``fit`` learns from, checked; texts of weight 0 are left out.

    Attributes:
        examples: labels are strings here, whatever they were.
        classes: (K,) the different labels, sorted, in their own dtype.
        names: of the classes, in the same order, as in ``examples``.
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
    column = _column(y, "y", "labels")
    _check_length(len(column), "y", "labels", len(texts))
    labels = _labels(y, column)
    if labels.ndim == 2:  # as scikit-learn's own classifiers say it, to whoever called fit
        warnings.warn("y is a column, and is read as a list", DataConversionWarning, stacklevel=3)
    weights = _weights(sample_weight, len(texts))
    count = weights > 0
    classes, numbers = np.unique(labels.ravel()[count], return_inverse=True)
    if len(classes) < 2:
        raise UnusableInput(
            f"a classifier needs texts of at least 2 classes, found {len(classes)}; add some"
        )
    names = tuple(map(str, classes.tolist()))
    _check_distinct(names)
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
    texts = _column(X, "X", "texts")
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


def is_missing(value: object) -> bool:
    """No value, or what NumPy or pandas write in its place: NaN, NaT, NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


# --- shape ----------------------------------------------------------------------------------------


def _column(values: object, name: str, items: str) -> np.ndarray:
    """(N,) objects: the rows of a sequence or of a table's only column."""
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
    listed = f" ({shorten(', '.join(map(str, names)), 200, placeholder=' …')})" * (len(names) > 0)
    raise UnusableInput(
        f"{name} has {column.shape[1]} columns{listed}; give the one that holds the {items}"
    )


def _check_length(length: int, name: str, items: str, texts: int) -> None:
    if length != texts:
        raise UnusableInput(
            f"X has {texts:,} texts and {name} has {length:,} {items}; give one for each text"
        )


def _row(row: int) -> str:
    return f"row {row} (counted from 0)"


# --- labels and weights ---------------------------------------------------------------------------


def _labels(y: object, column: np.ndarray) -> np.ndarray:
    """(N,) or (N, 1) in the labels' own dtype: all text, all whole numbers or all booleans."""
    kinds = [_kind(label, row) for row, label in enumerate(column)]
    if len(set(kinds)) > 1:
        row = next(row for row, (kind, then) in enumerate(pairwise(kinds), 1) if kind != then)
        raise UnusableInput(
            f"y mixes {' and '.join(Counter(kinds))}: {column[row - 1]!r} in row {row - 1} and "
            f"{column[row]!r} in row {row} (counted from 0); write all labels as one type"
        )
    labels = np.asarray(y)
    if labels.dtype == object and "text" not in kinds:
        labels = np.array(column.tolist())  # NumPy's own type of numbers
    return labels


def _kind(label: object, row: int) -> str:
    if is_missing(label) or (isinstance(label, str) and not label.strip()):
        raise UnusableInput(f"y, {_row(row)}: the label is missing; fill it in or remove the row")
    if isinstance(label, str):
        return "text"
    if isinstance(label, bool | np.bool_):
        return "booleans"
    if not isinstance(label, Real):
        raise UnusableInput(
            f"y, {_row(row)}: a label must be text, a whole number or a boolean, not "
            f"{type(label).__name__}"
        )
    if not float(label).is_integer():
        raise UnusableInput(
            f"y, {_row(row)}: {label} is a number on a scale, not a class (Unknown label type: "
            "continuous); give the classes as text or whole numbers"
        )
    return "numbers"


def _check_distinct(names: Sequence[str]) -> None:
    """Refuses labels that nobody can tell apart by sight."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(normalize("NFC", name).strip(), name)) != name:
            raise UnusableInput(
                f"y: the labels {other!r} and {name!r} differ only in outer white space or in how "
                "their letters are encoded; write them alike"
            )


def _weights(sample_weight: object, texts: int) -> np.ndarray:
    """(N,) float64, 0 or more, not all 0."""
    if sample_weight is None:
        return np.ones(texts)
    column = _column(sample_weight, "sample_weight", "numbers")
    _check_length(len(column), "sample_weight", "numbers", texts)
    try:
        weights = column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise UnusableInput(f"sample_weight holds something else than numbers: {error}") from error
    if not (wrong := ~(np.isfinite(weights) & (weights >= 0))).any():
        if weights.any():
            return weights
        raise UnusableInput("sample_weight is 0 for every text, so nothing is left to learn from")
    row = int(wrong.argmax())
    raise UnusableInput(
        f"sample_weight, {_row(row)}: {weights[row]} is no weight; give numbers of 0 or more"
    )
