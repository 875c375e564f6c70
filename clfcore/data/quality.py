"""The quality of labelled messages: what to know before a classifier is trained on them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from textwrap import shorten
from typing import Any

from clfcore.data.corpus import ORIGINS, Origin
from clfcore.data.split import (
    MIN_PER_LABEL,
    content_hash,
    distinct_per_label,
    duplicate_groups,
    normal_form,
)
from clfcore.types import Example

_EXAMPLES_PER_WARNING = 3  # conflicts, or rare labels
_IMBALANCE_WARNING = 2.0  # messages of the commonest label for one of the rarest


@dataclass(frozen=True, slots=True)
class Conflict:
    """One text with several labels.

    Attributes:
        text: as it stands in the first row.
        rows: the first one of each label, from 0.
        labels: of these rows.
    """

    text: str
    rows: tuple[int, ...]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        """``row 0 and row 17 have the same text with labels ham and spam``."""
        return (
            f"{_listed([f'row {row}' for row in self.rows])} have the same text with labels "
            f"{_listed(self.labels)}"
        )


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Counts over a data set; copies are messages with an equal ``normal_form``.

    Attributes:
        messages: how many there are.
        labels: label -> its messages, the commonest first.
        imbalance: messages of the commonest label for one of the rarest.
        rare: label -> its different messages, for the labels that cannot be split.
        empty: messages of nothing but white space.
        distinct: different messages.
        copies: messages that repeat an earlier one, its label too.
        conflicts: different messages that carry more than one label.
        conflicts_shown: the first of them.
        limit: tokens that the model reads of a message, if there is a limit.
        truncated: messages with more tokens than that; None without a limit or a tokenizer.
        longest: tokens of the longest message; None without a tokenizer.
    """

    messages: int
    labels: dict[str, int]
    imbalance: float
    rare: dict[str, int]
    empty: int
    distinct: int
    copies: int
    conflicts: int
    conflicts_shown: tuple[Conflict, ...]
    limit: int | None
    truncated: int | None
    longest: int | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """One sentence for each thing worth knowing: what it is, and what happens or helps."""
        return list(self._warnings())

    def _warnings(self) -> Iterator[str]:
        if len(self.labels) == 1:
            yield f"all messages have the label {', '.join(self.labels)}; a classifier needs two"
        if len(self.rare) > _EXAMPLES_PER_WARNING:
            yield (
                f"{len(self.rare):,} labels have fewer than {MIN_PER_LABEL} different messages; "
                "the split refuses them: add some, remove the labels, or choose another column"
            )
        else:
            for label, count in self.rare.items():
                yield (
                    f"label {label!r} has "
                    f"{_count(count, 'different message', 'different messages')}; the split "
                    f"refuses fewer than {MIN_PER_LABEL}: add some, or remove the label"
                )
        if self.imbalance >= _IMBALANCE_WARNING:
            yield (
                f"the commonest label has {self.imbalance:.1f} times the messages of the rarest; "
                "see --balance"
            )
        if self.empty:
            yield (
                f"{_count(self.empty, 'message holds', 'messages hold')} no text; remove them, or "
                "they are learnt"
            )
        if self.copies:
            yield (
                f"{_count(self.copies, 'message repeats', 'messages repeat')} another one; "
                "copies stay in one part of the split"
            )
        if self.conflicts:
            shown = "; ".join(
                f"{conflict} ({shorten(conflict.text, 60, placeholder=' …')!r})"
                for conflict in self.conflicts_shown
            )
            more = "; …" if self.conflicts > len(self.conflicts_shown) else ""
            yield (
                f"{_count(self.conflicts, 'message carries', 'messages carry')} more than one "
                f"label: {shown}{more}; correct them, or all of the labels are learnt"
            )
        if self.truncated:
            yield (
                f"{_count(self.truncated, 'message has', 'messages have')} more than "
                f"{self.limit:,} tokens; only the first {self.limit:,} are read"
            )


def check_quality(
    examples: Sequence[Example],
    count_tokens: Callable[[str], int] | None = None,
    limit: int | None = None,
) -> DataQuality:
    """Counts what may surprise: imbalance, copies, conflicts, empty and long messages.

    Args:
        examples: at least one.
        count_tokens: tokens of a text, as the model will read it; None: lengths are not counted.
        limit: tokens that the model reads of a message.
    """
    labels = dict(Counter(example.label for example in examples).most_common())
    distinct = len(set(duplicate_groups(example.text for example in examples).tolist()))
    conflicts = find_conflicts(examples)
    lengths = [count_tokens(example.text) for example in examples] if count_tokens else None
    return DataQuality(
        messages=len(examples),
        labels=labels,
        imbalance=max(labels.values()) / min(labels.values()),
        rare={
            label: count
            for label, count in sorted(distinct_per_label(examples).items())
            if count < MIN_PER_LABEL
        },
        empty=sum(not normal_form(example.text) for example in examples),
        distinct=distinct,
        copies=len(examples) - distinct - sum(len(each.labels) - 1 for each in conflicts),
        conflicts=len(conflicts),
        conflicts_shown=tuple(conflicts[:_EXAMPLES_PER_WARNING]),
        limit=limit,
        truncated=sum(n > limit for n in lengths) if lengths and limit is not None else None,
        longest=max(lengths) if lengths else None,
    )


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long texts are: the shortest, the median, the mean and the longest."""

    shortest: int
    median: float
    mean: float
    longest: int

    def __str__(self) -> str:
        """``2 – 910, median 61, mean 80.5``."""
        return (
            f"{self.shortest:,} – {self.longest:,}, median {self.median:,.5g}, "
            f"mean {self.mean:,.1f}"
        )


def lengths_of(counts: Sequence[int]) -> Lengths:
    """Of at least one text."""
    return Lengths(min(counts), median(counts), fmean(counts), max(counts))


@dataclass(frozen=True, slots=True)
class DataCard:
    """A data set at a glance, as UCI's repository has it.

    Attributes:
        source: who made it, when and where; or the name under which it was read.
        licence: ``None``: not known here.
        instances: messages.
        classes: label -> its messages, the commonest first.
        imbalance: messages of the commonest label for one of the rarest.
        empty: messages of nothing but white space, which are UCI's missing values.
        characters: of a message.
        tokens: of a message, as the model reads it.
    """

    source: str
    licence: str | None
    instances: int
    classes: dict[str, int]
    imbalance: float
    empty: int
    characters: Lengths
    tokens: Lengths

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rows(self) -> dict[str, str]:
        """For people: what is told, and its value."""
        classes = ", ".join(f"{label} {count:,}" for label, count in self.classes.items())
        return {
            "instances": f"{self.instances:,}",
            "classes": f"{len(self.classes):,}: {shorten(classes, 200, placeholder=' …')}",
            "imbalance": f"{self.imbalance:.2f} : 1",
            "missing values": f"{self.empty:,}",
            "characters": str(self.characters),
            "tokens": str(self.tokens),
            "source": self.source,
            "licence": self.licence or "not stated",
        }


def data_card(
    examples: Sequence[Example], name: str, count_tokens: Callable[[str], int]
) -> DataCard:
    """What a data set is: how much, of what, how long, whose.

    Args:
        examples: at least one.
        name: under which they were read, for data that is not known by its content.
        count_tokens: tokens of a text.
    """
    origin = ORIGINS.get(content_hash(examples), Origin(name))
    labels = dict(Counter(example.label for example in examples).most_common())
    return DataCard(
        source=origin.source,
        licence=origin.licence,
        instances=len(examples),
        classes=labels,
        imbalance=max(labels.values()) / min(labels.values()),
        empty=sum(not normal_form(example.text) for example in examples),
        characters=lengths_of([len(example.text) for example in examples]),
        tokens=lengths_of([count_tokens(example.text) for example in examples]),
    )


def find_conflicts(examples: Sequence[Example]) -> list[Conflict]:
    """The texts that stand in ``examples`` with more than one label, in order."""
    first: defaultdict[int, dict[str, int]] = defaultdict(dict)  # group -> label -> row
    groups = duplicate_groups(example.text for example in examples)
    for row, (group, example) in enumerate(zip(groups.tolist(), examples, strict=True)):
        first[group].setdefault(example.label, row)
    return [
        Conflict(examples[min(rows.values())].text, tuple(rows.values()), tuple(rows))
        for rows in first.values()
        if len(rows) > 1
    ]


def conflict_note(examples: Sequence[Example]) -> str | None:
    """One line on texts with more than one label, for whoever is about to use them."""
    conflicts = find_conflicts(examples)
    if not conflicts:
        return None
    more = len(conflicts) - _EXAMPLES_PER_WARNING
    shown = "; ".join(map(str, conflicts[:_EXAMPLES_PER_WARNING]))
    return f"{shown}{f'; and {more:,} more' if more > 0 else ''}; correct them"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {singular if number == 1 else plural}"
