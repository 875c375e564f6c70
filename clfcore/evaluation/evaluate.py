"""Evaluates any classifier on labelled messages."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clfcore.data.labels import unknown_labels
from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError
from clfcore.evaluation.coverage import accuracy_by_coverage
from clfcore.evaluation.intervals import Share
from clfcore.evaluation.metrics import LabelledPredictions, Metrics, measure
from clfcore.types import Classifier, Example, Prediction, ignore


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics, the baseline that is always beside them, and the identity of the data.

    Attributes:
        majority: what always answering the commonest label would score.
        coverage: see ``accuracy_by_coverage``.
        ms_per_message: mean wall-clock milliseconds.
        data_sha256: ``content_hash`` of the messages.
        predictions: one a message, in order.
    """

    metrics: Metrics
    majority: Share
    coverage: list[dict[str, float]]
    ms_per_message: float
    data_sha256: str
    predictions: list[Prediction]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single predictions, for JSON."""
        return {
            **self.metrics.to_dict(),
            "majority": asdict(self.majority),
            "coverage": self.coverage,
            "ms_per_message": round(self.ms_per_message, 3),
            "data_sha256": self.data_sha256,
        }


class EndedEarlyError(TuneshotError):
    """A message could not be answered; those before it were.

    Attributes:
        evaluation: of the messages that were answered.
    """

    def __init__(self, reason: str, evaluation: Evaluation) -> None:
        super().__init__(reason)
        self.evaluation = evaluation


def evaluate(
    classifier: Classifier,
    examples: Sequence[Example],
    on_progress: Callable[[int], object] = ignore,
    batch_size: int = 64,
) -> Evaluation:
    """Has ``classifier`` answer every message, and measures the answers.

    Args:
        classifier: fine-tuned, few-shot, or a baseline.
        examples: the labelled messages.
        on_progress: called after each batch with the number of messages answered so far.
        batch_size: messages per call of ``predict``.

    Raises:
        TuneshotError: no messages, or a label the classifier does not know.
        EndedEarlyError: it stopped answering, after a batch or more.
    """
    if not examples:
        raise TuneshotError("there are no messages to evaluate on")
    counts = Counter(example.label for example in examples)
    if unknown := counts.keys() - set(classifier.labels):
        raise unknown_labels(unknown, classifier.labels, "the classifier")
    predictions: list[Prediction] = []
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        try:
            predictions += classifier.predict([example.text for example in batch])
        except TuneshotError as error:
            if not predictions:
                raise
            so_far = _measured(classifier, examples[:start], predictions)
            reason = f"ended after {start:,} of {len(examples):,} messages: {error}"
            raise EndedEarlyError(reason, so_far) from error
        on_progress(len(predictions))
    return _measured(classifier, examples, predictions)


def _measured(
    classifier: Classifier, examples: Sequence[Example], predictions: list[Prediction]
) -> Evaluation:
    truth = [example.label for example in examples]
    counts = Counter(truth)
    run = LabelledPredictions.of(truth, predictions, classifier.labels)
    return Evaluation(
        metrics=measure(truth, predictions, classifier.labels),
        majority=Share.count(max(counts.values()), len(examples)),
        coverage=accuracy_by_coverage([run]),
        ms_per_message=sum(p.ms for p in predictions) / len(predictions),
        data_sha256=content_hash(examples),
        predictions=predictions,
    )
