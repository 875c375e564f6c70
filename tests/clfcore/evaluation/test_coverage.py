"""Answering only when sure: what is gained, and a threshold that other messages chose."""

import numpy as np
import pytest

from clfcore.evaluation.coverage import (
    COVERAGES,
    above_threshold,
    accuracy_by_coverage,
    choose_threshold,
    sureness,
)
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.metrics import LabelledPredictions
from clfcore.types import Example, Prediction


def run_of(sure, right):
    """Answers of label 0 or 1 that are so sure, and right or not."""
    sure, right = np.array(sure, float), np.array(right, bool)
    predicted = np.arange(len(sure)) % 2
    p = np.stack([np.where(predicted == 0, sure, 1 - sure)], axis=1)
    p = np.hstack([p, 1 - p])
    return LabelledPredictions(p, predicted, np.where(right, predicted, 1 - predicted))


def accuracies(runs, coverages=COVERAGES):
    return [each["accuracy"] for each in accuracy_by_coverage(runs, coverages)]


def test_the_curve_is_counted_by_hand():
    run = run_of([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
    assert accuracies([run], (1, 0.75, 0.5, 0.25)) == pytest.approx([3 / 4, 2 / 3, 1, 1])


def test_all_messages_answered_are_the_plain_accuracy():
    rng = np.random.default_rng(0)
    run = run_of(rng.random(97), rng.random(97) < 0.7)
    assert accuracies([run])[0] == pytest.approx((run.predicted == run.truth).mean())


def test_equally_sure_answers_are_taken_in_random_order():
    rng = np.random.default_rng(1)
    sure, right = rng.choice([0.6, 0.7, 0.9], 40), rng.random(40) < 0.6
    found = accuracies([run_of(sure, right)], (0.5, 0.3))
    shuffled = []
    for _ in range(4000):
        order = rng.permutation(40)
        order = order[np.argsort(-sure[order], kind="stable")]
        shuffled.append([right[order[:20]].mean(), right[order[:12]].mean()])
    assert found == pytest.approx(np.mean(shuffled, axis=0), abs=0.01)


def test_who_is_always_equally_sure_gains_nothing():
    run = run_of([0.8] * 10, [True] * 7 + [False] * 3)
    assert accuracies([run]) == pytest.approx([0.7] * len(COVERAGES))


def test_the_runs_of_several_seeds_count_the_same():
    runs = [run_of([0.9, 0.6], [True, False]), run_of([0.9, 0.6], [False, True])]
    assert accuracies(runs, (1, 0.5)) == pytest.approx([0.5, 0.5])


def test_no_answer_is_never_sure_and_a_mistake():
    silent = LabelledPredictions(
        np.array([[0.5, 0.5], [0.4, 0.6]]), np.array([-1, 1]), np.array([0, 1])
    )
    assert sureness(silent).tolist() == [-1, 0.6]
    assert accuracies([silent], (1, 0.5)) == [0.5, 1]
    assert choose_threshold(silent, 0.1) == 0.6


def test_sure_is_the_label_that_is_answered_even_below_one_half():
    careful = LabelledPredictions(np.array([[0.4, 0.6]]), np.array([0]), np.array([0]))
    assert sureness(careful).tolist() == [0.4]


def test_a_threshold_is_the_lowest_that_is_right_often_enough():
    sure = np.linspace(0.99, 0.5, 100)
    run = run_of(sure, [True] * 60 + [False] * 40)
    assert choose_threshold(run, 0.95) == pytest.approx(sure[61])  # 61 of 64 would be 95.3 %
    assert choose_threshold(run, 0.5) == pytest.approx(sure[-1])


def test_a_few_lucky_answers_do_not_make_a_threshold():
    assert choose_threshold(run_of([0.9] * 17, [True] * 17), 0.95) is None
    assert choose_threshold(run_of([0.9] * 18, [True] * 18), 0.95) == 0.9
    assert choose_threshold(run_of([0.9] * 50, [False] * 50), 0.9) is None


def test_equally_sure_answers_are_given_together_or_not_at_all():
    run = run_of([0.9] * 20 + [0.7] * 40, [True] * 20 + [True] * 20 + [False] * 20)
    assert choose_threshold(run, 0.9) == 0.9


def test_a_threshold_is_judged_by_other_messages():
    coverage, accuracy = above_threshold(
        run_of([0.9, 0.9, 0.8, 0.5], [True, False, True, True]), 0.8
    )
    assert (coverage.hits, coverage.of) == (3, 4)
    assert (accuracy.hits, accuracy.of) == (2, 3)
    nothing, none_right = above_threshold(run_of([0.5], [True]), 0.9)
    assert (nothing.value, none_right.of) == (0, 0)


def test_a_threshold_keeps_what_it_promises_on_average():
    """Calibrated answers: of those that are sure to p, a share of p is right."""
    rng, kept = np.random.default_rng(2), []
    for _ in range(200):
        aside, test = (
            run_of(sure := rng.uniform(0.5, 1, n), rng.random(n) < sure) for n in (128, 400)
        )
        if (threshold := choose_threshold(aside, 0.9)) is not None:
            kept.append(above_threshold(test, threshold)[1].value)
    assert len(kept) > 150
    assert np.mean(kept) == pytest.approx(0.9, abs=0.02)


def test_every_evaluation_has_the_curve():
    class Guess:
        labels = ("a", "b")

        def predict(self, texts):
            return [
                Prediction("a", {"a": float(text), "b": 1 - float(text)}, 0.0) for text in texts
            ]

    found = evaluate(Guess(), [Example("0.9", "a"), Example("0.6", "b")]).to_dict()
    assert found["coverage"][0] == {"coverage": 1.0, "accuracy": 0.5}
    assert found["coverage"][-1] == {"coverage": 0.1, "accuracy": 1.0}
