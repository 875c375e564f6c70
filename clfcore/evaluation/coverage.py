"""Answering only when sure (selective classification): accuracy against coverage, and a threshold.

*Coverage* is the share of the messages that are answered, the surest first (El-Yaniv & Wiener,
JMLR 2010). How sure an answer is, is the probability of its label. A threshold must be chosen on
other messages than those whose coverage and accuracy it is then said to have (Geifman & El-Yaniv,
NeurIPS 2017).
"""

from collections.abc import Sequence

import numpy as np

from clfcore.evaluation.intervals import Share
from clfcore.evaluation.metrics import LabelledPredictions

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
TARGETS = (0.9, 0.95, 0.99)  # accuracies that a threshold is chosen for


def sureness(run: LabelledPredictions) -> np.ndarray:
    """(N,) float64, the probability of the label that was answered; -1 where there is no answer."""
    rows = np.arange(len(run.predicted))
    return np.where(run.answered, run.probabilities[rows, run.predicted], -1.0)


def accuracy_by_coverage(
    runs: Sequence[LabelledPredictions], coverages: Sequence[float] = COVERAGES
) -> list[dict[str, float]]:
    """The accuracy where only the surest messages are answered; the mean over the runs.

    Messages of the same sureness are taken in random order: the expected accuracy. A message
    without an answer comes last, and is a mistake.

    Args:
        runs: one a seed.
        coverages: shares of the messages, above 0 and at most 1.

    Returns:
        ``coverage`` and ``accuracy`` for each of ``coverages``.
    """
    curves = [_accuracies(run, np.array(coverages)) for run in runs]  # one (C,) a run
    means = np.mean(curves, axis=0)  # (C,)
    return [
        {"coverage": coverage, "accuracy": accuracy}
        for coverage, accuracy in zip(coverages, means.tolist(), strict=True)
    ]


def _accuracies(run: LabelledPredictions, coverages: np.ndarray) -> np.ndarray:
    """(C,) of one run."""
    right = (run.predicted == run.truth).astype(float)  # (N,)
    _, group, sizes = np.unique(-sureness(run), return_inverse=True, return_counts=True)
    hits = np.bincount(group, weights=right)  # (G,), the surest group first
    asked = coverages * len(right)  # (C,)
    answered, found = (np.concatenate([[0], np.cumsum(each)]) for each in (sizes, hits))
    return np.interp(asked, answered, found) / asked


def choose_threshold(run: LabelledPredictions, target: float) -> float | None:
    """The lowest sureness from which on answers are right often enough.

    Of n answers of which r are right, the next one is expected to be right in (r + 1) / (n + 2)
    (Laplace's rule of succession): so 18 right answers of 18 are the least for a target of 95 %,
    and a lucky few do not count for more than they are.

    Args:
        run: predictions for labelled messages that the classifier has not learned from.
        target: the accuracy that is wanted, between 0 and 1.

    Returns:
        ``None`` where no threshold reaches it on these messages.
    """
    sure = sureness(run)
    order = np.argsort(-sure, kind="stable")
    right = np.cumsum(run.predicted[order] == run.truth[order])  # (N,)
    expected = (right + 1) / (np.arange(1, len(right) + 1) + 2)
    # Equally sure answers are given together or not at all.
    is_last = np.append(sure[order][1:] < sure[order][:-1], True)
    enough = np.flatnonzero((expected >= target) & is_last & (sure[order] >= 0))
    return float(sure[order][enough[-1]]) if enough.size else None


def above_threshold(run: LabelledPredictions, threshold: float) -> tuple[Share, Share]:
    """What a threshold does: the share of the messages that is answered, and of these the right.

    Args:
        run: predictions for messages that the threshold was not chosen on.
        threshold: from ``choose_threshold``.
    """
    answered = sureness(run) >= threshold
    right = (run.predicted == run.truth) & answered
    count = int(answered.sum())
    return Share.count(count, len(answered)), Share.count(int(right.sum()), count)
