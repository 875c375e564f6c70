"""Where labelled messages come from: the user's data, the corpus, or the bundled sample."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clfcore.config import setting
from clfcore.data.columns import MESSAGES, Columns, Remembered
from clfcore.data.corpus import kept_corpus
from clfcore.data.hub import read_dataset
from clfcore.data.labels import unknown_labels
from clfcore.data.split import Split, grouped_stratified_split, normal_form, split_beside
from clfcore.data.tables import read_labelled
from clfcore.errors import DataNote, TuneshotError
from clfcore.paths import ASSETS
from clfcore.types import Example


class LabelledMessages(NamedTuple):
    """Messages and, in words, where they came from.

    Attributes:
        examples: the messages.
        name: the file, the data set or the corpus.
        columns: the columns that the user named, see ``Columns.named``.
        own: rows of the validation part, "val", and of the test part, "test", where the user gave
            them; the parts are then the last of the messages.
    """

    examples: list[Example]
    name: str
    columns: Mapping[str, str] = {}
    own: Mapping[str, range] = {}

    @property
    def rest(self) -> list[Example]:
        """Those that are in no part of the user's own."""
        first = min((rows.start for rows in self.own.values()), default=len(self.examples))
        return self.examples[:first]

    def split(self, seed: int = 0) -> Split:
        """The three parts: the user's own, or as ``grouped_stratified_split`` makes them.

        Raises:
            TuneshotError: too few messages of a label.
        """
        if self.own:
            return split_beside(self.examples, self.own, seed)
        return grouped_stratified_split(self.examples, seed)


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
    if corpus := kept_corpus():
        return LabelledMessages(read_labelled(corpus), "SMS Spam Collection")
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

    val: str | None = setting(
        None, "Labelled messages to calibrate on; default: a tenth of --data.", MESSAGES
    )
    test: str | None = setting(
        None, "Labelled messages to report on; default: a fifth of --data.", MESSAGES
    )

    def load(self) -> LabelledMessages:
        """The messages of all parts. Training keeps no copy of a message of a part that was given.

        Raises:
            TuneshotError: as ``load_messages``; a part without ``data``, or with labels that
                ``data`` does not have.
        """
        columns = self.text_column, self.label_column
        files = {part: file for part, file in (("val", self.val), ("test", self.test)) if file}
        if files and self.data is None:
            raise TuneshotError(
                f"--{' and --'.join(files)} go with messages to train on; name them with --data"
            )
        whole = load_messages(self.data, *columns)
        if not files:
            return whole
        known = sorted({example.label for example in whole.examples})
        parts = {"train": whole}
        for part, file in files.items():
            parts[part] = load_messages(file, *columns)
            if unknown := {example.label for example in parts[part].examples} - set(known):
                raise unknown_labels(unknown, known, whole.name, parts[part].name)
        kept = _without_copies(parts)
        examples, own = kept["train"], dict[str, range]()
        for part in files:
            own[part] = range(len(examples), len(examples) + len(kept[part]))
            examples = examples + kept[part]
        name = ", ".join([whole.name, *(f"{part}: {parts[part].name}" for part in files)])
        return LabelledMessages(examples, name, whole.columns, own)


def _without_copies(parts: Mapping[str, LabelledMessages]) -> dict[str, list[Example]]:
    """The messages of each part; a copy stays in the test part, else in the validation part.

    Raises:
        TuneshotError: none is left of a part.
    """
    kept, seen = dict[str, list[Example]](), set[str]()
    for part in ("test", "val", "train"):
        if part not in parts:
            continue
        examples, name = parts[part].examples, parts[part].name
        kept[part] = [e for e in examples if normal_form(e.text) not in seen]
        if not kept[part]:
            raise TuneshotError(f"every message of {name} is in another part, too; give others")
        if copies := len(examples) - len(kept[part]):
            note = f"{name}: {copies:,} copies of messages in other parts are left out"
            warnings.warn(note, DataNote, stacklevel=3)
        seen |= {normal_form(example.text) for example in examples}
    return kept
