"""The parts of a task that a comparison uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clfcore.data.draw import draw
from clfcore.data.labels import unknown_labels
from clfcore.data.messages import LabelledMessages
from clfcore.data.split import (
    content_hash,
    duplicate_groups,
    normal_form,
)
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.perturb import Fields
from clfcore.types import Example
from clfcore.wording import listed
from icl.prompt.tasks import TASKS, Task, task_with_labels

TEST_MESSAGES = 200  # asked about, where nobody says how many
ROBUSTNESS_MESSAGES = 60  # at most that are asked again in other words, as many of each label


# --- what is asked ------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskSplit:
    """The messages of a comparison, the same for every method.

    Attributes:
        source: where they come from, in words.
        sha256: of all of them.
        task: labels and prompt format.
        pool: different messages that may be labelled, none a copy of one that is asked about.
        test: messages to ask about.
        split_seed: what decided which is which.
        second: messages of another corpus to ask about.
        second_source: where they come from.
    """

    source: str
    sha256: str
    task: Task
    pool: tuple[Example, ...]
    test: tuple[Example, ...]
    split_seed: int = 0
    second: tuple[Example, ...] = ()
    second_source: str = ""

    @cached_property
    def balanced_sample(self) -> tuple[Example, ...]:
        """Some of the test messages, as many of each label where these are not too many."""
        balanced = len(self.task.labels) <= ROBUSTNESS_MESSAGES
        return tuple(draw(self.test, ROBUSTNESS_MESSAGES, balanced, self.split_seed))

    @property
    def not_asked(self) -> list[str]:
        """Labels of which no test message is."""
        return sorted(set(self.task.labels) - {example.label for example in self.test})

    @cached_property
    def words(self) -> Mapping[str, str]:
        """Label -> its word in prompts."""
        if self.task.own_labels:  # a format of words may be impossible, and nobody may need it
            return {label: label.replace("_", " ") for label in self.task.labels}
        words = self.task.template.words
        return {label: words[label][0].strip() for label in self.task.labels}

    @cached_property
    def fields(self) -> Fields:
        """What stands before a message, and before its label, in prompts."""
        if self.task.own_labels:  # as above
            return Fields()
        template = self.task.template
        return Fields(template.before_text, template.before_label)


def split_task(
    source: LabelledMessages,
    task: str = "",
    *,
    test_size: int | None = None,
    balanced: bool = False,
    split_seed: int = 0,
    second: LabelledMessages | None = None,
) -> TaskSplit:
    """Splits labelled messages into a pool and messages to ask about.

    Args:
        source: all of them.
        task: whose prompt format; by default that of ``TASKS`` with the same labels, or a plain
            one.
        test_size: messages to ask about, at most; default: ``TEST_MESSAGES``, or two for each
            label if that is more.
        balanced: as many of each label, or in their natural shares.
        split_seed: the same seed gives the same parts.
        second: messages of another corpus, in the same labels.

    Raises:
        TuneshotError: labels that the task does not know, too few messages, or a test part too
            small for messages of two labels.
    """
    prompt_task = find_task(source, task)
    test_size = test_size or max(TEST_MESSAGES, 2 * len(prompt_task.labels))
    parts = source.split(split_seed)
    test = draw([source.examples[row] for row in parts.test], test_size, balanced, split_seed)
    asked = {example.label for example in test}
    if len(asked) < 2:
        missing = sorted(set(prompt_task.labels) - asked)
        raise TuneshotError(
            f"of {len(test)} test messages none is {listed(missing)}; choose a larger --test-size"
        )
    # Where the test part was given, all of the rest may be labelled.
    rows = sorted(parts.train + parts.val) if source.own else parts.train
    train = [source.examples[row] for row in rows]
    first = np.unique(duplicate_groups(e.text for e in train), return_index=True)[1]
    others: list[Example] = []
    if second is not None:
        _check_labels(second, source.name, prompt_task.labels)
        learned = {normal_form(example.text) for example in train}
        new = [e for e in second.examples if normal_form(e.text) not in learned]
        others = draw(new, test_size, balanced, split_seed)
    return TaskSplit(
        source=source.name,
        sha256=content_hash(source.examples),
        task=prompt_task,
        pool=tuple(train[row] for row in sorted(first.tolist())),
        test=tuple(test),
        split_seed=split_seed,
        second=tuple(others),
        second_source=second.name if second is not None else "",
    )


def find_task(source: LabelledMessages, name: str = "") -> Task:
    """The task called ``name``; without a name, the one with the labels of ``source``.

    Raises:
        TuneshotError: no such task, or messages with labels that it does not know.
    """
    labels = {example.label for example in source.examples}
    if name:
        if name not in TASKS:
            raise unknown_choice("task", name, TASKS)
        _check_labels(source, f"task {name}", TASKS[name].labels)
        return TASKS[name]
    matching = (task for task in TASKS.values() if set(task.labels) == labels)
    return next(matching, None) or task_with_labels(source.name, tuple(sorted(labels)), name="own")


def _check_labels(source: LabelledMessages, owner: str, labels: Sequence[str]) -> None:
    """Raises ``TuneshotError`` if ``source`` has a label that ``owner`` has not."""
    if unknown := {example.label for example in source.examples} - set(labels):
        raise unknown_labels(unknown, labels, owner, source.name)
