"""Figures agree with scikit-learn and with counting by hand."""

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import EndedEarlyError, evaluate
from clfcore.evaluation.intervals import Share
from clfcore.evaluation.metrics import METRICS, LabelledPredictions, measure
from clfcore.types import Example, Prediction
from tests.support.lazy import lazy

metrics = lazy("sklearn.metrics")

LABELS = ("ham", "spam")


def answers(spam_probabilities, threshold=0.5):
    return [
        Prediction(LABELS[int(p >= threshold)], {"ham": 1 - p, "spam": p}, ms=1.0)
        for p in spam_probabilities
    ]


class Fixed:
    """Answers from a table: text -> probability of spam."""

    labels = LABELS

    def __init__(self, table):
        self.table = table

    def predict(self, texts):
        return answers([self.table[text] for text in texts])


def test_four_messages_counted_by_hand():
    m = measure(["ham", "ham", "spam", "spam"], answers([0.1, 0.6, 0.7, 0.2]), LABELS)
    assert m.confusion == [[1, 1], [1, 1]]
    assert m.accuracy.value == m.figures["balanced_accuracy"] == m.figures["macro_f1"] == 0.5
    assert m.recall["spam"].value == m.precision["spam"].value == 0.5
    assert m.figures["auc"] == 0.75


def test_probabilities_are_judged_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 300), rng.random(300)
    m = measure([LABELS[i] for i in y], answers(p), LABELS)
    assert m.figures["auc"] == pytest.approx(metrics.roc_auc_score(y, p))
    assert m.figures["nll"] == pytest.approx(metrics.log_loss(y, p))
    assert (
        metrics.brier_score_loss(y, p) > 0.2
    )  # the answers are random, and so is the calibration:
    assert m.figures["ece"] > 0.1


def test_calibration_error_of_two_bins_by_hand():
    """Ten answers at 0.95 of which 8 are right, ten at 0.75 of which 9 are right."""
    p = np.array([[0.05, 0.95]] * 10 + [[0.25, 0.75]] * 10)
    truth = np.array([1] * 8 + [0] * 2 + [1] * 9 + [0])
    run = LabelledPredictions(p, p.argmax(axis=1), truth)
    error = METRICS["ece"].compute(run, np.ones((1, 20)))
    assert error == pytest.approx((0.15 + 0.15) / 2)


def test_a_share_carries_wilsons_interval_and_survives_nothing():
    share = Share.count(95, 100)
    assert (share.value, round(share.low, 4), round(share.high, 4)) == (0.95, 0.8882, 0.9785)
    assert np.isnan(Share.count(0, 0).value)


def test_intervals_cover_the_truth_19_times_in_20():
    rng = np.random.default_rng(0)
    inside = [s.low <= 0.9 <= s.high for s in (Share.count(int(k), 200) for k in
              rng.binomial(200, 0.9, 2000))]  # fmt: skip
    assert 0.93 <= np.mean(inside) <= 0.97


def test_the_majority_row_is_always_there():
    table = {"a": 0.9, "b": 0.1, "c": 0.2}
    result = evaluate(
        Fixed(table), [Example("a", "spam"), Example("b", "ham"), Example("c", "ham")]
    )
    assert result.majority.value == pytest.approx(2 / 3)
    assert result.metrics.accuracy.value == 1
    assert [p.label for p in result.predictions] == ["spam", "ham", "ham"]


def test_progress_is_told_and_batches_keep_their_order():
    table, heard = {str(i): i / 10 for i in range(10)}, []
    examples = [Example(str(i), "ham") for i in range(10)]
    result = evaluate(Fixed(table), examples, heard.append, batch_size=4)
    assert heard == [4, 8, 10]
    assert [p.probabilities["spam"] for p in result.predictions] == [i / 10 for i in range(10)]


def test_a_classifier_that_stops_answering_leaves_what_it_has_answered():
    class Stops(Fixed):
        def predict(self, texts):
            if "5" in texts:
                raise TuneshotError("the server is gone")
            return super().predict(texts)

    stops = Stops({str(i): i / 10 for i in range(10)})
    examples = [Example(str(i), "ham") for i in range(10)]
    with pytest.raises(
        EndedEarlyError, match="after 4 of 10 messages: the server is gone"
    ) as early:
        evaluate(stops, examples, batch_size=2)
    assert early.value.evaluation.to_dict() == evaluate(stops, examples[:4]).to_dict() | {
        "ms_per_message": early.value.evaluation.to_dict()["ms_per_message"]
    }
    with pytest.raises(TuneshotError, match=r"^the server is gone$"):
        evaluate(stops, examples[5:])


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "no messages"),
        ([Example("a", "junk")], "the label 'junk', and the classifier has not; it has ham, spam"),
    ],
)
def test_what_cannot_be_judged_is_refused(examples, message):
    with pytest.raises(TuneshotError, match=message):
        evaluate(Fixed({"a": 0.5}), examples)
