"""Where labelled messages come from: the user's data, the corpus, or the bundled sample."""

import os
from pathlib import Path
from typing import NamedTuple

from clfcore.data.corpus import check_corpus, corpus_path
from clfcore.data.hub import read_dataset
from clfcore.data.split import grouped_stratified_split
from clfcore.data.tables import read_labelled
from clfcore.errors import TuneshotError
from clfcore.paths import ASSETS
from clfcore.types import Example


class LabelledMessages(NamedTuple):
    """Messages and, in words, where they came from."""

    examples: list[Example]
    name: str


def sample_messages() -> LabelledMessages:
    """The messages written for this project: bundled, so that a class never depends on wifi."""
    return LabelledMessages(
        read_labelled(ASSETS / "messages.tsv"), "sample messages of this project"
    )


def load_messages(
    source: str | Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> LabelledMessages:
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
            return LabelledMessages(
                read_labelled(Path(source), text_column, label_column), str(source)
            )
        return LabelledMessages(
            read_dataset(source, text_column, label_column), f"{source}, Hugging Face"
        )
    if text_column or label_column:
        raise TuneshotError("--text-column and --label-column are for data of your own; add --data")
    if os.path.exists(corpus_path()):
        check_corpus(corpus_path().read_bytes(), str(corpus_path()))
        return LabelledMessages(read_labelled(corpus_path()), "SMS Spam Collection")
    return sample_messages()


def load_pool(source: str | Path | None = None) -> LabelledMessages:
    """The messages that few-shot examples are chosen from: the named data, else the training part.

    The bundled model was trained on the same part, and a message of the test part is new to both.

    Raises:
        TuneshotError: as ``load_messages``.
    """
    examples, name = load_messages(source)
    if source is not None:
        return LabelledMessages(examples, name)
    rows = grouped_stratified_split(examples).train
    return LabelledMessages([examples[row] for row in rows], f"{name}, training part")
