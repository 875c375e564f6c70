"""What a label may be: one text, number or truth value, written in one way in the whole table."""

import math
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from clfcore.errors import TuneshotError
from clfcore.wording import listed

_SHOWN = 3  # labels, or pairs of them, in a note
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"  # marks that stand around words copied from pages


def is_missing(value: object) -> bool:
    """No value, or what pandas writes in its place: not-a-number, NA, NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def read_labels(
    values: Sequence[object], where: Callable[[int], str]
) -> tuple[list[str], list[str]]:
    """Labels as strings, and what to know about them, a sentence each.

    White space around a label is left out, and its letters are brought to one Unicode form (NFC).

    Args:
        values: texts, numbers or truth values, all of one kind.
        where: names the place of the value at an index, such as ``mine.csv, row 3``.

    Raises:
        TuneshotError: a label is missing or a list, say, or there are several kinds of them.
    """
    check_one_kind(values, where)
    raw = [str(value) for value in values]
    names = {label: folded(label) for label in set(raw)}
    return [names[label] for label in raw], list(_notes(names))


def check_one_kind(values: Sequence[object], where: Callable[[int], str]) -> None:
    """Raises ``TuneshotError`` as ``read_labels``, whose arguments it has."""
    first: dict[str, int] = {}  # kind -> where it is first met
    for index, value in enumerate(values):
        if is_missing(value) or not _trimmed(str(value)):
            raise TuneshotError(f"{where(index)}: the label is empty; fill it in or remove the row")
        if not isinstance(value, str | int | float):
            raise TuneshotError(
                f"{where(index)}: the label is not one word or number but of type "
                f"{type(value).__name__}; choose another --label-column"
            )
        first.setdefault(_kind(value), index)
    if len(first) > 1:
        found = (
            f"{kind} ({str(values[i])[:50]!r}) in {where(i).rpartition(', ')[2]}"
            for kind, i in first.items()
        )
        place = where(0).rpartition(", ")[0]
        raise TuneshotError(
            f"{place}: the labels are of several kinds: {listed(found)}; write all of them as "
            "texts, or all as numbers"
        )


def folded(label: str) -> str:
    """``label`` without white space around it, its letters in one Unicode form (NFC)."""
    return unicodedata.normalize("NFC", _trimmed(label))


def same_number(one: str, other: str) -> bool:
    """Whether two different labels are one number, as 1 and 1.0 are."""
    try:
        return one != other and float(one) == float(other)
    except ValueError:
        return False


def unknown_labels(
    unknown: Iterable[str], known: Sequence[str], owner: str, data: str = "the data"
) -> TuneshotError:
    """The error for labels in the data that ``owner`` does not have."""
    names = sorted(unknown)
    why = next(
        (
            f" ({name} and {label} are one number but two labels: pandas writes 1 as 1.0 where a "
            "column has gaps; write both alike)"
            for name in names
            for label in known
            if same_number(name, label)
        ),
        "",
    )
    many = "the label" if len(names) == 1 else "labels"
    return TuneshotError(
        f"{data} has {many} {listed(map(repr, names))}, and {owner} has not{why}; it has "
        f"{listed(known)}"
    )


def _notes(folded: Mapping[str, str]) -> Iterator[str]:
    trimmed = sorted(
        {new for old, new in folded.items() if old != old.strip() or old != _trimmed(old)}
    )
    if trimmed:
        yield f"spaces around labels are left out: {listed(map(repr, trimmed), _SHOWN)}"
    forms = sorted({new for old, new in folded.items() if _trimmed(old) != new})
    if forms:
        yield (
            "accented letters of labels are brought to one Unicode form: "
            f"{listed(map(repr, forms), _SHOWN)}"
        )
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(set(folded.values())):
        alike[label.casefold()].append(label)
    cases = [" and ".join(map(repr, labels)) for labels in alike.values() if len(labels) > 1]
    if cases:
        yield f"labels that differ only in case count as different: {listed(cases, _SHOWN)}"
    numbers: defaultdict[float, list[str]] = defaultdict(list)
    for label in sorted(set(folded.values())):
        try:
            numbers[float(label)].append(label)
        except ValueError:
            continue
    equal = [" and ".join(map(repr, labels)) for labels in numbers.values() if len(labels) > 1]
    if equal:
        yield (
            f"labels that are the same number count as different: {listed(equal, _SHOWN)}; write "
            "them in one way"
        )


def _trimmed(label: str) -> str:
    return label.strip().strip(_INVISIBLE).strip()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "truth value"
    return "text" if isinstance(value, str) else "number"


@contextmanager
def labels_of_few_messages() -> Iterator[None]:
    """Silences scikit-learn where it takes labels of a few messages each for numbers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        yield
