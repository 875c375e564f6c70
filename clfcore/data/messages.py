"""Where labelled messages come from: the user's data, the corpus, or the bundled sample."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clfcore.config import setting
from clfcore.data.columns import MESSAGES, Columns, Remembered
from clfcore.data.corpus import check_corpus, corpus_path
from clfcore.data.hub import read_dataset
from clfcore.data.split import grouped_stratified_split
from clfcore.data.tables import read_labelled
from clfcore.errors import TuneshotError
from clfcore.paths import ASSETS
from clfcore.types import Example


class LabelledMessages(NamedTuple):
    """Messages and, in words, where they came from.

    Attributes:
        examples: the messages.
        name: the file, the data set or the corpus.
        columns: the columns that the user named, see ``Columns.named``.
    """

    examples: list[Example]
    name: str
    columns: Mapping[str, str] = {}


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
        named = Columns(text_column, label_column).named
        if isinstance(source, Path) or os.path.exists(source):
            examples, name = read_labelled(Path(source), text_column, label_column), str(source)
        else:
            examples = read_dataset(source, text_column, label_column)
            name = f"{source}, Hugging Face"
        return LabelledMessages(examples, name, named)
    if any(name and not isinstance(name, Remembered) for name in (text_column, label_column)):
        raise TuneshotError("--text-column and --label-column are for data of your own; add --data")
    if os.path.exists(corpus_path()):
        check_corpus(corpus_path().read_bytes(), str(corpus_path()))
        return LabelledMessages(read_labelled(corpus_path()), "SMS Spam Collection")
    return sample_messages()


def load_pool(
    source: str | Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
) -> LabelledMessages:
    """The messages that few-shot examples are chosen from: the named data, else the training part.

    The bundled model was trained on the same part, and a message of the test part is new to both.
    Arguments and errors are those of ``load_messages``.
    """
    if source is not None:
        return load_messages(source, text_column, label_column)
    messages = load_messages()
    rows = grouped_stratified_split(messages.examples).train
    return LabelledMessages(
        [messages.examples[row] for row in rows], f"{messages.name}, training part"
    )


@dataclass(frozen=True, slots=True)
class DataSource(Columns):
    """Which labelled messages a command works with, see ``load_messages``."""

    data: str | None = setting(
        None,
        "Labelled .tsv, .csv, .xlsx, .parquet or .jsonl; a folder of text files for each class; a "
        "Hugging Face dataset. Default: the downloaded corpus, else the sample.",
        MESSAGES,
    )

    def load(self) -> LabelledMessages:
        """The messages; raises as ``load_messages`` does."""
        return load_messages(self.data, self.text_column, self.label_column)
