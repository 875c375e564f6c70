"""The tasks few-shot learning knows: labels, format, and where labelled messages come from.

A task's labels and their words stand in its template, ``templates/<name>.txt``.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from clfcore.data.columns import Columns
from clfcore.data.hub import column_values
from clfcore.data.labels import unknown_labels
from clfcore.data.messages import LabelledMessages, load_messages
from clfcore.data.split import Split, grouped_stratified_split
from clfcore.data.tables import read_columns
from clfcore.errors import TuneshotError, missing_extra_explained, unknown_choice
from clfcore.types import Example
from icl.prompt.template import Template, read_template

TEMPLATES = Path(__file__).with_name("templates")

RawRow = Mapping[str, Any]  # column -> value


class MessageSource(Protocol):
    """Where a task's labelled messages come from.

    Attributes:
        parts: what there is; always "train", for the pool, and "test", to ask about.
    """

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts."""

    def load(self, part: str, folder: Path | None) -> list[Example]:
        """The messages of a part, from files in ``folder`` where one is given."""


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
        name: of the task, of its sub-folder in a folder of data, and of its template.
        source: where its messages come from.
        template_file: where that is not ``templates/<name>.txt``.
        own_labels: of a task out of a file: its labels, each its own word where the template has
            no others.
        own_file: what these are the labels of, for complaints.
    """

    name: str
    source: MessageSource
    template_file: Path | None = None
    own_labels: tuple[str, ...] = ()
    own_file: str = ""

    @cached_property
    def template(self) -> Template:
        """The prompt's format, read when first asked for; has words for every label.

        Raises:
            TuneshotError: the file is missing or not a template, or labels that cannot be words.
        """
        self.check_prompt()
        file = TEMPLATES / f"{'own' if self.own_labels else self.name}.txt"
        return read_template(self.template_file or file, labels=self.own_labels)

    def check_prompt(self) -> None:
        """Raises ``TuneshotError`` if the labels cannot be words."""
        if self.own_labels:
            _check_words(self.own_labels, self.own_file)

    @property
    def labels(self) -> tuple[str, ...]:
        """In a fixed order; ties in probability go to the earlier one."""
        if self.own_labels and self.template_file is None:
            return self.own_labels  # any number: not every method needs a prompt
        return tuple(self.template.words)

    @property
    def has_choices(self) -> bool:
        """Whether every message has choices of its own, of which a label is only the letter."""
        plain = self.own_labels and self.template_file is None
        return not plain and self.template.choices

    def load(self, part: str, folder: Path | None = None) -> list[Example]:
        """The labelled messages of one part; those without a label are left out.

        Args:
            part: one of ``source.parts``.
            folder: has a sub-folder with this task's name and one table a part in it; without
                it, the messages come from Hugging Face (``sms_spam``: from ``clf data fetch``).

        Raises:
            TuneshotError: no such part; it cannot be loaded; a label that the template lacks.
        """
        if part not in self.source.parts:
            raise unknown_choice(f"part of {self.name}", part, self.source.parts)
        examples = self.source.load(part, None if folder is None else folder / self.name)
        if unknown := {example.label for example in examples} - set(self.labels):
            raise unknown_labels(unknown, self.labels, "its template", f"the data of {self.name}")
        return examples

    def read(self, where: str | Path, columns: Columns = Columns()) -> LabelledMessages:
        """Labelled messages of the user's, in a table as this task's own ones or as anybody's.

        Args:
            where: as for ``load_messages``.
            columns: of it, as the user names them.

        Raises:
            TuneshotError: they cannot be read, or have a label that the task has not.
        """
        own = self.source
        if isinstance(own, PublishedDataset) and not columns.named and own.is_form_of(Path(where)):
            messages = LabelledMessages(own.read(Path(where)), str(where))
        else:
            messages = load_messages(where, columns.text_column, columns.label_column)
        if unknown := {example.label for example in messages.examples} - set(self.labels):
            raise TuneshotError(
                f"{unknown_labels(unknown, self.labels, f'task {self.name}', messages.name)}; "
                "choose another task: a labelled file can be one, with its own labels"
            )
        return messages


# --- one file, split here -----------------------------------------------------------------------


@dataclass(frozen=True)
class SingleFile:
    """A single table of messages, split as for fine-tuning: copies stay in one part.

    Attributes:
        where: what ``load_messages`` understands; ``None`` is the SMS corpus, or the sample.
        file: its name in a local folder.
        columns: of ``where``, as the user names them.
    """

    where: str | Path | None = None
    file: str = ""
    columns: Columns = Columns()
    parts: tuple[str, ...] = ("train", "dev", "test")

    def load(self, part: str, folder: Path | None) -> list[Example]:
        examples = self.read(folder)
        split = _split(tuple(examples))
        rows = {"train": split.train, "dev": split.val, "test": split.test}[part]
        return [examples[row] for row in rows]

    def read(self, folder: Path | None = None) -> list[Example]:
        """All parts together."""
        if folder and self.file:
            return load_messages(folder / self.file).examples
        columns = self.columns.text_column, self.columns.label_column
        return load_messages(self.where, *columns).examples


@lru_cache(maxsize=2)  # it takes seconds, and a caller of one part needs another
def _split(examples: tuple[Example, ...]) -> Split:
    return grouped_stratified_split(examples)


# --- published data sets, split by their authors ------------------------------------------------


def text_and_label(row: RawRow) -> Example:
    """A message and its label."""
    return Example(row["text"], row["label"])


def sentence_pair(row: RawRow) -> Example:
    """Two sentences as one line, so that everything else needs to know of one text only."""
    return Example(f"{row['text_a']} Hypothesis: {row['text_b']}", row["label"])


def multiple_choice(row: RawRow) -> Example:
    """A question with its choices as one line; the label is the letter of the right one.

    The choices differ from question to question, the letters do not, so balance, votes and
    calibration work as for any task. What the language model scores is up to the template: the
    choices themselves, after the question alone, or the letters. Of 32 questions (three fixed
    examples, SmolLM2-135M) the first way answers 14 (sum) or 17 (mean); the letters answer 6, as
    guessing would, and so do the choices where the prompt lists them.
    """
    choices = row["choices"]  # a JSON list in a table; letters and texts on Hugging Face
    texts = json.loads(choices) if isinstance(choices, str) else choices["text"]
    listed = " ".join(f"({letter}) {text}" for letter, text in zip("ABCDE", texts, strict=True))
    return Example(f"{row['question']} {listed}", row["answer"])


THREE_PARTS = {
    "train": ("train.tsv", "train"),
    "dev": ("dev.tsv", "validation"),
    "test": ("test.tsv", "test"),
}
TWO_PARTS = {"train": ("train.tsv", "train"), "test": ("test.tsv", "test")}


@dataclass(frozen=True)
class PublishedDataset:
    """A data set on Hugging Face, or its copy in a folder.

    Attributes:
        dataset: its name there.
        files: part -> the table's name in a folder, and the split's name on Hugging Face.
        columns: a table's column -> the same column on Hugging Face.
        example: makes a message of a row with a table's columns.
    """

    dataset: str
    files: Mapping[str, tuple[str, str]]
    columns: Mapping[str, str] = field(default_factory=lambda: {"text": "text", "label": "label"})
    example: Callable[[RawRow], Example] = text_and_label

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.files)

    def load(self, part: str, folder: Path | None) -> list[Example]:
        file, split = self.files[part]
        if folder and not folder.is_dir():
            raise TuneshotError(
                f"{folder.parent} has no sub-folder {folder.name}; a folder of data has one for "
                "each task, with a table for each part"
            )
        if folder is not None:
            return self.read(folder / file)
        return self._examples(self._from_hub(split), f"{self.dataset} ({split})")

    def is_form_of(self, table: Path) -> bool:
        """Whether a file has the columns of this data set, and they are not those of any other."""
        if self.example is text_and_label or not table.is_file():
            return False
        try:
            next(read_columns(table, tuple(self.columns)), None)
        except TuneshotError:
            return False
        return True

    def read(self, table: Path) -> list[Example]:
        """The messages of a file in the form of this data set."""
        return self._examples(read_columns(table, tuple(self.columns)), str(table))

    def _examples(self, rows: Iterable[RawRow], place: str) -> list[Example]:
        try:
            return list(_labelled(map(self.example, rows)))
        except (KeyError, TypeError, ValueError) as error:
            raise TuneshotError(
                f"{place} has not the form of this data set ({type(error).__name__}: {error}); "
                f"its columns should be {', '.join(self.columns)}"
            ) from error

    def _from_hub(self, split: str) -> Iterator[RawRow]:
        with missing_extra_explained("a data set on Hugging Face"):
            import datasets  # a second; `--help` should not wait

        try:
            table = datasets.load_dataset(self.dataset, split=split)
        except Exception as error:  # other people's servers and files: not our bug
            raise TuneshotError(
                f"cannot load {self.dataset} ({split}) from Hugging Face: "
                f"{type(error).__name__}; check the network, or give a folder with its tables"
            ) from error
        columns = [column_values(table, theirs) for theirs in self.columns.values()]
        for values in zip(*columns, strict=True):
            yield dict(zip(self.columns, values, strict=True))


def _labelled(examples: Iterable[Example]) -> Iterator[Example]:
    """Those with a label; "very negative" becomes very_negative."""
    for example in examples:
        if example.label and example.label != "-":  # as SNLI marks pairs without agreement
            yield Example(example.text, example.label.replace(" ", "_"))


# The SMS format was chosen on validation messages among those listed in docs/few-shot.md.
TASKS: dict[str, Task] = {
    "sms_spam": Task("sms_spam", SingleFile(file="sms_spam.tsv")),
    "sst2": Task(
        "sst2",
        PublishedDataset("SetFit/sst2", THREE_PARTS, {"text": "text", "label": "label_text"}),
    ),
    "sst5": Task(
        "sst5",
        PublishedDataset("SetFit/sst5", THREE_PARTS, {"text": "text", "label": "label_text"}),
    ),
    "ag_news": Task(
        "ag_news",
        PublishedDataset("fancyzhx/ag_news", TWO_PARTS | {"train": ("train_5k.tsv", "train")}),
    ),
    "snli": Task(
        "snli",
        PublishedDataset(
            "stanfordnlp/snli",
            # The half million pairs of its training part would take hours to embed.
            TWO_PARTS | {"train": ("dev.tsv", "validation")},
            {"text_a": "premise", "text_b": "hypothesis", "label": "label"},
            sentence_pair,
        ),
    ),
    "commonsense_qa": Task(
        "commonsense_qa",
        PublishedDataset(
            "tau/commonsense_qa",
            # The answers to its test part are not public.
            TWO_PARTS | {"test": ("dev.tsv", "validation")},
            {"question": "question", "choices": "choices", "answer": "answerKey"},
            multiple_choice,
        ),
    ),
    "trec": Task(
        "trec",
        PublishedDataset(
            "SetFit/TREC-QC", TWO_PARTS, {"text": "text", "label": "label_coarse_original"}
        ),
    ),
    "banking77": Task("banking77", PublishedDataset("legacy-datasets/banking77", TWO_PARTS)),
    "emotion": Task("emotion", PublishedDataset("dair-ai/emotion", THREE_PARTS)),
}


# --- one's own ----------------------------------------------------------------------------------

MAX_LABEL = 50  # characters


def task_from_file(
    where: str | Path,
    template: Path | None = None,
    columns: Columns = Columns(),
) -> Task:
    """A task out of a file of one's own.

    Args:
        where: labelled messages: a file, a folder or a Hugging Face name, see ``load_messages``.
        template: its format; by default a plain one, in which each label is its own word.
        columns: of the file, as the user names them.

    Raises:
        TuneshotError: the file cannot be read, or has fewer than two labels.
    """
    source = SingleFile(where, columns=columns)
    labels = tuple(sorted({example.label for example in source.read()}))
    return replace(task_with_labels(where, labels, template), source=source)


def task_with_labels(
    where: str | Path, labels: tuple[str, ...], template: Path | None = None, name: str = ""
) -> Task:
    """A task with these labels; ``where`` is what messages, and complaints, are about.

    Args:
        where: as ``task_from_file``.
        labels: of the messages, in the order of answers.
        template: as ``task_from_file``.
        name: of the task; default: the file's, without its ending.

    Raises:
        TuneshotError: fewer than two labels. Whether they can be words is checked where a prompt
            is needed, see ``Task.check_prompt``.
    """
    if len(labels) < 2:
        raise TuneshotError(
            f"{where} has {len(labels)} different labels; a task has two or more: is it the "
            "column with the labels?"
        )
    name = name or Path(where).stem
    return Task(name, SingleFile(where), template, own_labels=labels, own_file=str(where))


def _check_words(labels: Iterable[str], where: str) -> None:
    """Raises ``TuneshotError`` if a label cannot be read as a word, or two read the same."""
    spoken: dict[str, str] = {}
    for label in labels:
        if not label.isprintable() or label != label.strip() or len(label) > MAX_LABEL:
            raise TuneshotError(
                f"{where}: the label {label[:MAX_LABEL]!r} is no word; write labels on one line, "
                f"without spaces around them, in at most {MAX_LABEL} characters"
            )
        if (other := spoken.setdefault(label.casefold().replace("_", " "), label)) != label:
            raise TuneshotError(
                f"{where}: labels {other!r} and {label!r} read the same; rename or join them"
            )
