"""Splits that never part a message from its copies; the same seed gives the same split."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from clfcore.errors import TuneshotError
from clfcore.paths import ASSETS
from clfcore.types import Example

CARRIED_SPLITS = ASSETS / "splits.json"  # clfcore/cli/bundle_splits.py makes it
PARTS = "rvt"  # a row is of the training, validation or test part

MIN_PER_LABEL = 10  # different messages, for a split into three parts
SPARED_SHARE = 0.1  # of labelled messages, to validate on, where there are enough of them
ENOUGH_PER_LABEL = 10  # different messages of a label, of which some can be spared


def normal_form(text: str) -> str:
    """What two copies of a message share: everything but case and spacing."""
    return " ".join(text.casefold().split())


def near_duplicate_form(text: str) -> str:
    """What two mailings of one campaign share: the words, whatever the numbers and punctuation.

    Some test messages have such a near twin in the training part; figures without them are
    reported beside the others.
    """
    return _NOT_WORD.sub(" ", _NUMBER.sub("0", text.casefold())).strip() or normal_form(text)


_NUMBER = re.compile(r"\d+")
_NOT_WORD = re.compile(r"[\W_]+")


def duplicate_groups(texts: Iterable[str]) -> np.ndarray:
    """Group number of each text, (N,) int64; equal ``normal_form`` gives an equal number."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(normal_form(t), len(numbers)) for t in texts], np.int64)


def distinct_per_label(examples: Iterable[Example]) -> Counter[str]:
    """How many messages each label has, copies not counted."""
    return Counter(label for _, label in {(normal_form(e.text), e.label) for e in examples})


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, ascending; together every row once."""

    train: list[int]
    val: list[int]
    test: list[int]


def grouped_stratified_split(examples: Sequence[Example], seed: int = 0) -> Split:
    """70 / 10 / 20 percent for training, validation and test, for any number of labels.

    No duplicate group is in two parts, and each part keeps the natural class ratio
    (scikit-learn's ``StratifiedGroupKFold``, ten folds). That of the sample and of the corpus comes
    with the program: scikit-learn takes a second to import, and a first answer waits for it.

    Raises:
        TuneshotError: there is only one label; or a label has fewer than ten different messages,
            so that a part would miss it.
    """
    carried = _carried_splits().get(content_hash(examples)) if seed == 0 else None
    if carried is not None:
        train, val, test = ([row for row, p in enumerate(carried) if p == part] for part in PARTS)
        return Split(train, val, test)
    return compute_split(examples, seed)


def compute_split(examples: Sequence[Example], seed: int) -> Split:
    """As ``grouped_stratified_split``, whatever comes with the program."""
    counts = distinct_per_label(examples)
    _check_two_labels(counts)
    _check_counts(counts, MIN_PER_LABEL, "a split", "remove the label")
    folds = grouped_folds(examples, 10, seed)
    return Split(
        train=sorted(row for fold in folds[3:] for row in fold),
        val=sorted(folds[2]),
        test=sorted(folds[0] + folds[1]),
    )


@cache
def _carried_splits() -> Mapping[str, str]:
    """``content_hash`` -> a letter of ``PARTS`` for each row, with seed 0."""
    splits: dict[str, str] = json.loads(CARRIED_SPLITS.read_text(encoding="ascii"))
    return splits


def split_beside(examples: Sequence[Example], own: Mapping[str, range], seed: int = 0) -> Split:
    """The three parts where the user gave some; those that are not given are taken of the rest.

    Args:
        examples: all parts together; no given part has copies in the rest.
        own: "val", "test" or both -> their rows.
        seed: as ``grouped_stratified_split``, whose shares of the rest are taken.

    Raises:
        TuneshotError: there is only one label in the rest; or a label has too few different
            messages there for the parts that are taken of it.
    """
    given = {row for rows in own.values() for row in rows}
    train = [row for row in range(len(examples)) if row not in given]
    rest = [examples[row] for row in train]
    parts = {part: list(rows) for part, rows in own.items()}
    if missing := {"val", "test"} - own.keys():
        whole = grouped_stratified_split(rest, seed)
        taken = {part: getattr(whole, part) for part in missing}
        parts |= {part: [train[row] for row in rows] for part, rows in taken.items()}
        train = [row for row in train if not any(row in rows for rows in parts.values())]
    else:
        _check_two_labels(distinct_per_label(rest))
    return Split(train=train, val=parts["val"], test=parts["test"])


def grouped_folds(examples: Sequence[Example], count: int, seed: int) -> list[list[int]]:
    """Row numbers of ``count`` stratified folds; no duplicate group is in two of them."""
    from sklearn.model_selection import StratifiedGroupKFold  # a second; `--help` should not wait

    folds = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed).split(
        np.zeros(len(examples)),
        [example.label for example in examples],
        duplicate_groups(example.text for example in examples),
    )
    return [rows.tolist() for _, rows in folds]


def content_hash(examples: Iterable[Example]) -> str:
    """sha256 over labels, texts and weights in order: the identity of a data set or a part of it.

    A weight of 1 adds nothing.
    """
    lines = "".join(
        f"{example.label}\t{example.text}\n" + f"{example.weight}\n" * (example.weight != 1)
        for example in examples
    )
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()


def data_record(examples: Sequence[Example]) -> dict[str, Any]:
    """What a record says of a part of the data: how many messages, and their ``content_hash``."""
    return {"messages": len(examples), "sha256": content_hash(examples)}


class UnusableInput(TuneshotError, ValueError):
    """Messages, labels or parameters that cannot be used; scikit-learn expects a ``ValueError``."""


def validation_split(
    examples: list[Example], share: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Training and validation part; every label is in both, copies of a message are in one.

    Args:
        examples: labelled messages.
        share: of the validation part, at most 0.5; rounded to one half, third, quarter, …
        seed: the same seed gives the same parts.

    Raises:
        UnusableInput: a bad ``share``, one label only, or a label with fewer different messages
            than parts.
    """
    if not 0 < share <= 0.5:
        raise UnusableInput(f"validation_share must be above 0 and at most 0.5, not {share!r}")
    counts = distinct_per_label(examples)
    if len(counts) < 2:
        raise UnusableInput(
            f"a classifier needs messages of at least 2 classes, found {len(counts)}; add some"
        )
    parts = round(1 / share)
    _check_counts(counts, parts, f"a validation part of {share}", "raise validation_share")
    val = set(grouped_folds(examples, parts, seed)[0])
    return (
        [example for row, example in enumerate(examples) if row not in val],
        [example for row, example in enumerate(examples) if row in val],
    )


def spare_some(examples: list[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """A tenth of the messages to validate on, if every label has enough; else all serve for both.

    Args:
        examples: labelled messages.
        seed: the same seed gives the same parts.

    Returns:
        Messages to learn from, and messages to validate on.

    Raises:
        TuneshotError: one label only, or no message.
    """
    counts = distinct_per_label(examples)
    _check_two_labels(counts)
    if min(counts.values()) < ENOUGH_PER_LABEL:
        return examples, examples
    return validation_split(examples, SPARED_SHARE, seed)


def _check_two_labels(counts: Collection[str]) -> None:
    if len(counts) < 2:
        raise TuneshotError(
            f"all messages have one label: {', '.join(counts) or 'none'}; "
            "a classifier needs messages of at least two"
        )


def _check_counts(counts: Mapping[str, int], least: int, purpose: str, remedy: str) -> None:
    for label, count in sorted(counts.items()):
        if count < least:
            raise UnusableInput(
                f"label {label!r} has {count} messages, copies not counted; {purpose} needs at "
                f"least {least} of each label: add some, or {remedy}"
            )
