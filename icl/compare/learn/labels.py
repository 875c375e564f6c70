"""All labels of the task, though the labelled messages may show only some of them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clfcore.types import Classifier, Prediction
from icl.compare.learn.inputs import MethodInput


class MajorityClass:
    """Always the commonest label; probabilities are the labels' shares, (n + 1) / (N + C)."""

    def __init__(self, inputs: MethodInput) -> None:
        self.labels = inputs.task.labels
        counts = Counter(example.label for example in inputs.labelled)
        total = len(inputs.labelled) + len(self.labels)
        self._p = {label: (counts[label] + 1) / total for label in self.labels}
        self._label = max(self.labels, key=self._p.__getitem__)  # a tie: the earlier label

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [Prediction(self._label, self._p, ms=0.0) for _ in texts]


@dataclass(frozen=True)
class WithAllLabels:
    """A classifier that knows some of the labels; the others get probability 0."""

    classifier: Classifier
    labels: tuple[str, ...]

    @property
    def chosen(self) -> Mapping[str, Any] | None:
        """What it has chosen for itself, see ``Method.learn``."""
        return getattr(self.classifier, "chosen", None)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        return [
            replace(
                answer, probabilities={n: answer.probabilities.get(n, 0.0) for n in self.labels}
            )
            for answer in self.classifier.predict(texts)
        ]


def from_seen(learn: Callable[[MethodInput], Classifier], inputs: MethodInput) -> Classifier:
    """``learn`` for methods that need two labels and see only those of the messages."""
    if len(inputs.seen) < 2:
        return MajorityClass(inputs)
    classifier, labels = learn(inputs), inputs.task.labels
    return classifier if inputs.seen == labels else WithAllLabels(classifier, labels)
