"""Labelled messages: load them, group duplicates, split without leaks."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clfcore.corpus import check_corpus, corpus_path
from clfcore.errors import TuneshotError
from clfcore.hub import read_dataset
from clfcore.tables import read_labelled
from clfcore.types import Example

SPAM_LABELS = ("ham", "spam")
LEAST_PER_LABEL = 10


# --- loading ------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Messages and, in words, where they came from."""

    examples: list[Example]
    name: str


def sample_messages() -> Source:
    """The messages written for this project: bundled, so that a class never depends on wifi."""
    path = Path(str(files("clfcore"))) / "assets" / "messages.tsv"
    return Source(read_labelled(path), "sample messages of this project")


def load_messages(
    source: str | Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> Source:
    """What the user names, else the downloaded corpus, else the bundled sample.

    Args:
        source: a file or folder, see ``read_labelled``; or, if there is none of that name, a
            dataset on Hugging Face, see ``read_dataset``.
        text_column: name of the column with the messages; default: ``text``, or an alias.
        label_column: name of the column with the labels; default: ``label``, or an alias.

    Raises:
        TuneshotError: what was named, or the downloaded corpus, cannot be used.
    """
    if source is not None:
        if isinstance(source, Path) or os.path.exists(source):
            return Source(read_labelled(Path(source), text_column, label_column), str(source))
        return Source(read_dataset(source, text_column, label_column), f"{source}, Hugging Face")
    if text_column or label_column:
        raise TuneshotError("--text-column and --label-column are for data of your own; add --data")
    if corpus_path().exists():
        check_corpus(corpus_path().read_bytes(), str(corpus_path()))
        return Source(read_labelled(corpus_path()), "SMS Spam Collection")
    return sample_messages()


# --- duplicates, split, identity ----------------------------------------------------------------


def normal_form(text: str) -> str:
    """What two copies of a message share: everything but case and spacing."""
    return " ".join(text.casefold().split())


def near_form(text: str) -> str:
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
    (scikit-learn's ``StratifiedGroupKFold``, ten folds).

    Raises:
        TuneshotError: there is only one label; or a label has fewer than ten different messages,
            so that a part would miss it.
    """
    counts = distinct_per_label(examples)
    if len(counts) < 2:
        raise TuneshotError(
            f"all messages have one label: {', '.join(counts) or 'none'}; "
            "a classifier needs messages of at least two"
        )
    for label, count in sorted(counts.items()):
        if count < LEAST_PER_LABEL:
            raise TuneshotError(
                f"label {label!r} has {count} messages, copies not counted; a split needs at "
                f"least {LEAST_PER_LABEL} of each label: add some or remove the label"
            )
    folds = grouped_folds(examples, 10, seed)
    return Split(
        train=sorted(row for fold in folds[3:] for row in fold),
        val=sorted(folds[2]),
        test=sorted(folds[0] + folds[1]),
    )


def grouped_folds(examples: Sequence[Example], count: int, seed: int) -> list[list[int]]:
    """Row numbers of ``count`` stratified folds; no duplicate group is in two of them."""
    from sklearn.model_selection import StratifiedGroupKFold  # a second; `--help` should not wait

    folds = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed).split(
        np.zeros(len(examples)),
        [example.label for example in examples],
        duplicate_groups(example.text for example in examples),
    )
    return [rows.tolist() for _, rows in folds]


def load_pool(source: str | Path | None = None) -> Source:
    """What few-shot examples are chosen from: all of the named data, else the training part.

    The bundled model has learnt from the same part, and a message of the test part is new to
    both.

    Raises:
        TuneshotError: as ``load_messages``.
    """
    examples, name = load_messages(source)
    if source is not None:
        return Source(examples, name)
    rows = grouped_stratified_split(examples).train
    return Source([examples[row] for row in rows], f"{name}, training part")


def content_hash(examples: Iterable[Example]) -> str:
    """sha256 over labels and texts in order: the identity of a data set or of a part of it."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.label}\t{example.text}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
