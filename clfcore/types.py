"""What both methods share: labelled messages, answers, and the classifiers that give them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

NO_ANSWER = "no answer"  # what people read where a label would stand
MAX_CHARACTERS = 100_000  # of one message that is asked about; an SMS has 160
OnProgress = Callable[[str, int, int, str], None]  # called with stage, done, total, figures


def ignore(*_: object) -> None:
    """The default callback: does nothing."""


def without_lone_surrogates(text: str) -> str:
    """``text`` with "?" for each half of a surrogate pair: it has no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled message.

    Attributes:
        weight: how much it counts in training, above 0; 2 counts as if it stood there twice.
    """

    text: str
    label: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of a classifier for one message.

    Attributes:
        label: the chosen label. Usually the most probable one; a classifier with a decision
            threshold (see ``FineTuned``) may ask for more than a bare majority. ``None``: there is
            no answer, as when a language model replies with something else; that is never right.
        probabilities: label -> probability; sums to 1, in the classifier's label order. Without a
            label all are alike, for nothing is known.
        ms: wall-clock time spent on this message, in milliseconds (a batch's time is shared
            equally among its messages).
        notes: what the reader should know about this answer, e.g. that the message was cut.
    """

    label: str | None
    probabilities: Mapping[str, float]
    ms: float
    notes: tuple[str, ...] = ()

    @property
    def p(self) -> float | None:
        """The probability of the label; ``None`` without one."""
        return None if self.label is None else self.probabilities[self.label]


class Classifier(Protocol):
    """Anything that labels messages: fine-tuned, few-shot, or a baseline."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it knows, in a fixed order."""

    def predict(self, texts: Sequence[str]) -> Sequence[Prediction]:
        """Answers for ``texts``, in input order."""
