"""Figures with intervals: thin over scikit-learn and SciPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from clfcore.types import Prediction

_BINS = 15


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion with its 95 % interval (Wilson 1927); ``nan`` where nothing was counted."""

    hits: int
    of: int
    value: float
    low: float
    high: float

    @classmethod
    def count(cls, hits: int, of: int) -> "Share":
        """``hits`` successes in ``of`` trials."""
        if of == 0:
            return cls(0, 0, float("nan"), float("nan"), float("nan"))
        interval = binomtest(hits, of).proportion_ci(0.95, method="wilson")
        return cls(hits, of, hits / of, float(interval.low), float(interval.high))

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well predictions match the truth.

    Attributes:
        messages: how many.
        accuracy: share answered correctly.
        recall: label -> share of its messages that were found.
        precision: label -> share of its answers that were right.
        balanced_accuracy: mean recall over the labels that occur.
        macro_f1: mean F1 over all labels.
        calibration_error: expected calibration error of the most probable label, 15 equal-width
            bins (Guo et al. 2017, eq. 3).
        negative_log_likelihood: mean, in nats.
        auc: area under the ROC curve; two labels only, the second is the positive one.
        average_precision: likewise, for the precision-recall curve.
        confusion: rows are the truth, columns the answers, in label order.
    """

    labels: tuple[str, ...]
    messages: int
    accuracy: Share
    recall: Mapping[str, Share]
    precision: Mapping[str, Share]
    balanced_accuracy: float
    macro_f1: float
    calibration_error: float
    negative_log_likelihood: float
    auc: float | None
    average_precision: float | None
    confusion: list[list[int]]


def measure(
    truth: Sequence[str], predictions: Sequence[Prediction], labels: tuple[str, ...]
) -> Metrics:
    """Metrics of ``predictions`` against ``truth``, both in the same order."""
    answers = [prediction.label for prediction in predictions]
    table = confusion_matrix(truth, answers, labels=list(labels))  # (L, L)
    p = np.array([[pred.probabilities[name] for name in labels] for pred in predictions])  # (N, L)
    true_column = np.array([labels.index(name) for name in truth])  # (N,)
    correct = int(np.trace(table))
    both = len(labels) == 2 and len(set(truth)) == 2
    is_positive, score = true_column == 1, p[:, 1]
    return Metrics(
        labels=labels,
        messages=len(truth),
        accuracy=Share.count(correct, len(truth)),
        recall={
            name: Share.count(int(table[i, i]), int(table[i].sum()))
            for i, name in enumerate(labels)
        },
        precision={
            name: Share.count(int(table[i, i]), int(table[:, i].sum()))
            for i, name in enumerate(labels)
        },
        balanced_accuracy=float(
            np.mean([row[i] / row.sum() for i, row in enumerate(table) if row.sum()])
        ),
        macro_f1=float(
            f1_score(truth, answers, labels=list(labels), average="macro", zero_division=0)
        ),
        calibration_error=expected_calibration_error(p, true_column),
        negative_log_likelihood=float(
            -np.log(np.clip(p[np.arange(len(p)), true_column], 1e-12, 1)).mean()
        ),
        auc=float(roc_auc_score(is_positive, score)) if both else None,
        average_precision=float(average_precision_score(is_positive, score)) if both else None,
        confusion=table.tolist(),
    )


def expected_calibration_error(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Mean gap between confidence and accuracy, weighted by how many messages fall in a bin.

    Args:
        probabilities: (N, L), rows sum to 1.
        truth: (N,) column of the true label.
    """
    confidence = probabilities.max(axis=1)  # (N, L) -> (N,)
    correct = probabilities.argmax(axis=1) == truth
    which = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(correct[which == b].mean() - confidence[which == b].mean()) * (which == b).mean()
        for b in np.unique(which)
    ]
    return float(sum(gaps))
