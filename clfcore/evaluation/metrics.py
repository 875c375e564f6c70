"""The table of metrics: how each is computed, called and written; and figures that have no weights.

A new metric is one entry of ``METRICS``: the comparison, its report, ``clf evaluate`` and the
options that choose a metric read them all from there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clfcore.evaluation.intervals import Share
from clfcore.types import Prediction

CALIBRATION_BINS = 15  # of equal width
CONFUSED_LABELS = 100  # with more, no table of them is written down
LEAST_PROBABILITY = 1e-12  # of the true label, in the log loss: 27.6 nats at most
NBSP = "\u00a0"  # a number and its unit stay on one line


@dataclass(frozen=True, slots=True)
class LabelledPredictions:
    """What one run predicted for N labelled messages; K labels, in the order of the columns.

    Attributes:
        probabilities: (N, K) float64, rows sum to 1; with many labels, 0 for the least likely.
        predicted: (N,) int64, column of the predicted label, usually the most probable one; -1
            where there is no answer, and the probabilities are all alike.
        truth: (N,) int64, column of the true label.
    """

    probabilities: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray

    @classmethod
    def from_labels(
        cls,
        truth: Sequence[str],
        predicted: Sequence[str | None],
        probabilities: Sequence[Mapping[str, float]],
        labels: Sequence[str],
    ) -> "LabelledPredictions":
        """The same from names of labels; ``probabilities`` are label -> probability, else 0."""
        column: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
        column[None] = -1
        return cls(
            np.array([[p.get(label, 0.0) for label in labels] for p in probabilities]),
            np.array([column[label] for label in predicted], np.int64),
            np.array([column[label] for label in truth], np.int64),
        )

    @classmethod
    def of(
        cls, truth: Sequence[str], predictions: Sequence[Prediction], labels: Sequence[str]
    ) -> "LabelledPredictions":
        """The same from the predictions of a classifier."""
        return cls.from_labels(
            truth, [p.label for p in predictions], [p.probabilities for p in predictions], labels
        )

    @property
    def answered(self) -> np.ndarray:
        """(N,) bool, whether there is an answer."""
        return self.predicted >= 0


# --- computed ------------------------------------------------------------------------------------

Compute = Callable[[LabelledPredictions, np.ndarray], np.ndarray]
"""(run, weights of its messages: (B, N) float64, at least 0) -> (B,) float64, nan if undefined.

What scikit-learn computes with ``sample_weight``, for B weightings at once: what depends on the
run alone (sorting, counting) is done once, the rest is a matrix product or a cumulative sum.
"""


def _accuracy(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    return _mean((run.predicted == run.truth).astype(float), weights)


def _balanced_accuracy(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """Mean recall of the labels that have weight."""
    hits, true, _ = _counts(run, weights)
    recall = divided(hits, true, otherwise=0.0)  # (B, K)
    return divided(recall.sum(axis=1), (true > 0).sum(axis=1))


def _f1(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """F1 of the second of two labels, or the mean over more."""
    by_label = _f1_by_label(run, weights)
    return by_label[:, 1] if by_label.shape[1] == 2 else by_label.mean(axis=1)


def _f1_by_label(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """(B, K); 0 for a label without weight."""
    hits, true, predicted = _counts(run, weights)
    return divided(2 * hits, true + predicted, otherwise=0.0)


def _auc(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """How many of the second label a message of the first has above it; equals count half."""
    if run.probabilities.shape[1] != 2:
        return _undefined(run, weights)
    score, positive, negative = _ranked(run)
    above = np.searchsorted(-score[positive], -score[negative], "left")
    upto = np.searchsorted(-score[positive], -score[negative], "right")
    found = _cumulative(weights, positive)
    ahead = found.take(upto, axis=1)  # (B, messages of the first label)
    if (above < upto).any():
        ahead = (ahead + found.take(above, axis=1)) / 2
    weights = weights.take(negative, axis=1)
    pairs = found[:, -1] * weights.sum(axis=1)
    return divided(np.einsum("bn,bn->b", ahead, weights), pairs)


def _average_precision(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """Precision where all from a message of the second label up are flagged; their mean."""
    if run.probabilities.shape[1] != 2:
        return _undefined(run, weights)
    score, positive, negative = _ranked(run)
    found, wrong = _cumulative(weights, positive), _cumulative(weights, negative)
    hits, alarms = (
        sums.take(np.searchsorted(-score[rows], -score[positive], "right"), axis=1)
        for sums, rows in ((found, positive), (wrong, negative))
    )  # (B, messages of the second label) each
    precision = divided(hits, hits + alarms, otherwise=0.0)
    total = np.einsum("bn,bn->b", precision, weights.take(positive, axis=1))
    return np.where(wrong[:, -1] > 0, divided(total, found[:, -1]), np.nan)


def _calibration_error(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error of the most probable label (Guo et al. 2017, eq. 3).

    It is about answers: messages without one do not count.

    Resampling adds noise to each bin, and noise only ever adds to a gap: draws are too large on
    average, so the interval of a well calibrated run may lie above its value.
    """
    confidence, correct = _most_probable(run)
    used, column = np.unique(_bins(confidence, CALIBRATION_BINS), return_inverse=True)
    gap = np.zeros((len(confidence), len(used)))  # (N, bins that are not empty)
    gap[np.arange(len(gap)), column] = np.where(run.answered, correct - confidence, 0)
    return divided(np.abs(weights @ gap).sum(axis=1), weights @ run.answered)


def _log_loss(run: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    """Mean negative log-likelihood, in nats."""
    p = run.probabilities[np.arange(len(run.truth)), run.truth]
    return _mean(-np.log(np.clip(p, LEAST_PROBABILITY, 1)), weights)


def _undefined(_: LabelledPredictions, weights: np.ndarray) -> np.ndarray:
    return np.full(len(weights), np.nan)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return divided(weights @ values, weights.sum(axis=1))  # (B, N) @ (N,) -> (B,)


def _counts(run: LabelledPredictions, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weight of the hits, of the truth and of the answers by label; each (B, K)."""
    labels = run.probabilities.shape[1]
    one_hot = np.eye(labels + 1, labels)  # the last row, of no answer, is empty
    true, answered = one_hot[run.truth], one_hot[run.predicted]  # (N, K)
    summed = weights @ np.hstack([true * answered, true, answered])
    return tuple(np.split(summed, 3, axis=1))


def _ranked(run: LabelledPredictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) the second label's probability; its rows, then the first's, each by it, descending."""
    score = run.probabilities[:, 1]
    order = np.argsort(-score, kind="stable")
    second = run.truth[order] == 1
    return score, order[second], order[~second]


def _cumulative(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(B, n + 1): the weight of the first 0, 1, …, n of ``rows``."""
    sums = np.zeros((len(weights), len(rows) + 1))
    np.cumsum(weights.take(rows, axis=1), axis=1, out=sums[:, 1:])
    return sums


def _most_probable(run: LabelledPredictions) -> tuple[np.ndarray, np.ndarray]:
    """(N,) probability of the most probable label, and whether it is the true one."""
    correct = run.probabilities.argmax(axis=1) == run.truth
    return run.probabilities.max(axis=1), correct.astype(float)


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((confidence * bins).astype(int), bins - 1)


def divided(a: np.ndarray, b: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """``a / b``, and ``otherwise`` where ``b`` is 0."""
    return np.divide(a, b, out=np.full(a.shape, otherwise), where=b != 0)


# --- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metric:
    """How a figure is called, computed and written.

    Attributes:
        name: in words.
        compute: from a run and weights of its messages.
        percent: whether it is written as a percentage; else as a plain number.
        higher_is_better: whether more is better.
        record_key: its key in the record of an evaluation, where that is not its key here.
    """

    name: str
    compute: Compute
    percent: bool = True
    higher_is_better: bool = True
    record_key: str = ""

    def show(self, value: float | None) -> str:
        """``98.1 %`` or ``0.123``; a dash where there is none."""
        if value is None:
            return "–"
        return f"{100 * value:.1f}{NBSP}%" if self.percent else f"{value:.3f}"

    def interval(self, figure: Mapping[str, float] | None) -> str:
        """``98.1 % (97.0 – 99.0)`` of ``value``, ``low`` and ``high``."""
        if figure is None:
            return "–"
        scale, digits = (100, 1) if self.percent else (1, 3)
        low, high = (f"{scale * figure[end]:.{digits}f}" for end in ("low", "high"))
        return f"{self.show(figure['value'])} ({low} – {high})"

    @property
    def points(self) -> str:
        """The unit of a difference."""
        return "percentage points" if self.percent else self.name

    def difference(self, figure: Mapping[str, float] | None) -> str:
        """``+3.1 (−1.0 to +7.2)``, in ``points``."""
        if figure is None:
            return "–"
        value, low, high = (self.change(figure[end]) for end in ("value", "low", "high"))
        return f"{value} ({low} to {high})"

    def change(self, value: float) -> str:
        """``+3.1``, in ``points``."""
        text = f"{100 * value:+.1f}" if self.percent else f"{value:+.3f}"
        if not text.strip("+-0."):
            return text[1:]  # neither plus nor minus zero
        return text.replace("-", "−")


METRICS: dict[str, Metric] = {
    "accuracy": Metric("accuracy", _accuracy),
    "balanced_accuracy": Metric("balanced accuracy", _balanced_accuracy),
    "f1": Metric("F1", _f1),
    "auc": Metric("AUC", _auc, percent=False),
    "average_precision": Metric("average precision", _average_precision, percent=False),
    "ece": Metric(
        "calibration error (ECE)",
        _calibration_error,
        percent=False,
        higher_is_better=False,
        record_key="calibration_error",
    ),
    "nll": Metric(
        "log loss (nats)",
        _log_loss,
        percent=False,
        higher_is_better=False,
        record_key="negative_log_likelihood",
    ),
}


def metric_of(key: str) -> Metric:
    """A metric of the table; one that is not in it has its key for a name, and no value."""
    if key == "macro_f1":  # of an evaluation alone; comparisons have F1
        return Metric("macro F1", _undefined, percent=False)
    return METRICS.get(key) or Metric(key.replace("_", " "), _undefined, percent=False)


# --- of one run, unweighted ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well predictions match the truth.

    Attributes:
        labels: in the order of ``confusion``.
        messages: how many.
        no_answer: how many of these were not answered; that is never right.
        accuracy: share answered correctly.
        recall: label -> share of its messages that were found.
        precision: label -> share of its answers that were right.
        figures: key of ``METRICS`` -> value, ``nan`` where it is undefined; all but accuracy, and
            for F1 ``macro_f1``, the mean over all labels.
        confusion: rows are the truth, columns the predictions; one more for messages that were
            not answered, if there are any.
    """

    labels: tuple[str, ...]
    messages: int
    no_answer: int
    accuracy: Share
    recall: Mapping[str, Share]
    precision: Mapping[str, Share]
    figures: Mapping[str, float]
    confusion: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the keys of records; ``None`` where a figure is undefined.

        So is the confusion of more than ``CONFUSED_LABELS``, which would take megabytes.
        """
        values = asdict(self)
        if len(self.labels) > CONFUSED_LABELS:
            values["confusion"] = None
        for key, value in values.pop("figures").items():
            values[metric_of(key).record_key or key] = None if math.isnan(value) else value
        return values


def measure(
    truth: Sequence[str], predictions: Sequence[Prediction], labels: tuple[str, ...]
) -> Metrics:
    """Metrics of ``predictions`` against ``truth``, both in the same order."""
    run = LabelledPredictions.of(truth, predictions, labels)
    table = confusion(run)
    hits, once = table.diagonal(), np.ones((1, len(truth)))

    def shares(of: np.ndarray) -> dict[str, Share]:
        counts = zip(labels, hits.tolist(), of.tolist(), strict=True)
        return {label: Share.count(hit, total) for label, hit, total in counts}

    figures = {
        key: float(metric.compute(run, once)[0])
        for key, metric in METRICS.items()
        if key not in ("accuracy", "f1")
    }
    figures["macro_f1"] = float(_f1_by_label(run, once).mean())
    return Metrics(
        labels=labels,
        messages=len(truth),
        no_answer=int((~run.answered).sum()),
        accuracy=Share.count(int(hits.sum()), len(truth)),
        recall=shares(table.sum(axis=1)),
        precision=shares(table.sum(axis=0)[: len(labels)]),
        figures=figures,
        confusion=table.tolist(),
    )


def confusion(run: LabelledPredictions) -> np.ndarray:
    """(K, K) counts: rows are the truth; one column more for no answer, if there is any."""
    labels = run.probabilities.shape[1]
    table = np.zeros((labels, labels + (not run.answered.all())), int)
    np.add.at(table, (run.truth, run.predicted), 1)  # -1 is the last column
    return table


def added_up(confusions: Sequence[np.ndarray]) -> np.ndarray:
    """One confusion table of several, of which some have no column for messages without answer."""
    columns = max(table.shape[1] for table in confusions)
    padded = [np.pad(table, ((0, 0), (0, columns - table.shape[1]))) for table in confusions]
    return np.sum(padded, axis=0)


# --- calibration, drawn ---------------------------------------------------------------------------


def reliability(runs: Sequence[LabelledPredictions], bins: int = 10) -> list[dict[str, float]]:
    """How often answers of some confidence are right; those of all seeds together.

    Args:
        runs: one a seed.
        bins: of equal width, from 0 to 1.

    Returns:
        The bins that are not empty, ascending: ``confidence``, the mean probability of their
        answers; ``accuracy``, the share that is right; ``count``, how many. Messages without an
        answer are in none. As for the calibration
        error, the answer is the most probable label, even where a threshold made the classifier
        say another.
    """
    pairs = [[each[run.answered] for each in _most_probable(run)] for run in runs]
    confidence, correct = (np.concatenate(column) for column in zip(*pairs, strict=True))
    which = _bins(confidence, bins)
    return [
        {
            "confidence": float(confidence[which == b].mean()),
            "accuracy": float(correct[which == b].mean()),
            "count": int((which == b).sum()),
        }
        for b in np.unique(which)
    ]
