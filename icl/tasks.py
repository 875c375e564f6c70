"""The tasks few-shot classification knows: labels, and how the prompt speaks of them."""

from dataclasses import dataclass

from clfcore.data import SPAM_LABELS
from icl.prompt import Template


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task.

    Attributes:
        labels: in a fixed order; ties in probability go to the earlier one.
        template: the prompt's format; has a word for every label.
    """

    labels: tuple[str, ...]
    template: Template


# The format was chosen on validation messages among those listed in docs/few-shot.md.
TASKS: dict[str, Task] = {
    "sms_spam": Task(
        labels=SPAM_LABELS,
        template=Template(
            instruction="",
            before_text="SMS: ",
            before_label="\nType:",
            after_label="\n\n",
            words={"ham": " ham", "spam": " spam"},
        ),
    ),
}
