"""Which of two classifiers is better: agrees with its peers, and keeps what 95 % promises."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clfcore.evaluation.metrics import METRICS, LabelledPredictions, measure, reliability
from clfcore.evaluation.paired import (
    combined,
    difference,
    discordant,
    estimate,
    holm,
    mcnemar,
    resamples,
)
from clfcore.types import Prediction
from icl.compare.crossover import Crossover, crossover_interval, crossovers
from tests.support.lazy import lazy

peer = lazy("sklearn.metrics")
stats = lazy("scipy.stats")
contingency_tables = lazy("statsmodels.stats.contingency_tables")
multitest = lazy("statsmodels.stats.multitest")

exact = pytest.approx
any_case = settings(derandomize=True)


def two_labels(p, truth, threshold=0.5):
    """A run that says the second label with probability ``p`` (N,)."""
    p, truth = np.asarray(p, float), np.asarray(truth, np.int64)
    return LabelledPredictions(
        np.stack([1 - p, p], axis=1), (p >= threshold).astype(np.int64), truth
    )


def crossover(budgets, left, right):
    """Of one pair of curves."""
    return float(crossovers(budgets, np.asarray([left]), np.asarray([right]))[0])


def right_where(correct):
    """A sure run whose N answers are right or wrong as told; half of the messages are of a label.

    Accuracy and balanced accuracy follow; what it is about does not matter.
    """
    correct = np.asarray(correct, bool)
    truth = np.arange(len(correct)) % 2
    return two_labels(np.where(correct, truth, 1 - truth), truth)


@st.composite
def weighted_runs(draw, whole=False):
    """A run with many equal scores, and (B, N) weights with many zeros."""
    count, k = draw(st.integers(1, 25)), draw(st.sampled_from([2, 2, 3, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    p = rng.integers(1, draw(st.sampled_from([3, 50])), (count, k)).astype(float)
    p /= p.sum(axis=1, keepdims=True)
    weights = rng.integers(0, 4, (3, count)).astype(float)
    if not whole:
        weights *= rng.choice([0.1, 1, 2.7], weights.shape)
    weights[:, 0] += 1  # some message counts
    answers, truth = rng.integers(0, k, (2, count))
    return LabelledPredictions(p, answers, truth), weights


# --- the metrics ---------------------------------------------------------------------------------


def peer_of(metric, run, weights):
    """scikit-learn's figure; nan where it would warn that there is none."""
    k, score = run.probabilities.shape[1], run.probabilities[:, 1]
    positive = run.truth == 1
    both = k == 2 and weights[positive].sum() > 0 and weights[~positive].sum() > 0
    judged = (run.truth, run.predicted)
    labels = [1] if k == 2 else range(k)
    match metric:
        case "accuracy":
            return peer.accuracy_score(*judged, sample_weight=weights)
        case "balanced_accuracy":
            return peer.balanced_accuracy_score(*judged, sample_weight=weights)
        case "f1":
            return peer.f1_score(
                *judged, labels=labels, average="macro", zero_division=0, sample_weight=weights
            )
        case "auc":
            return peer.roc_auc_score(positive, score, sample_weight=weights) if both else math.nan
        case "average_precision":
            return (
                peer.average_precision_score(positive, score, sample_weight=weights)
                if both
                else math.nan
            )
        case "nll":
            return peer.log_loss(
                run.truth, run.probabilities, labels=range(k), sample_weight=weights
            )
    raise AssertionError(f"{metric} has no peer")


def peer_calibration_error(run):
    """By bins, as Guo et al. 2017 write it."""
    confidence = run.probabilities.max(axis=1)
    correct = run.probabilities.argmax(axis=1) == run.truth
    bins = np.minimum((confidence * 15).astype(int), 14)
    return sum(
        abs(correct[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    )


@pytest.mark.parametrize("metric", sorted(METRICS.keys() - {"ece"}))
@given(weighted_runs())
@any_case
def test_weighted_metrics_are_scikit_learns(metric, case):
    run, weights = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels without weight
        expected = [peer_of(metric, run, row) for row in weights]
    assert METRICS[metric].compute(run, weights) == exact(np.array(expected), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
@given(weighted_runs(whole=True))
@any_case
def test_a_weight_of_three_is_three_copies(metric, case):
    run, weights = case
    for row, value in zip(weights, METRICS[metric].compute(run, weights), strict=True):
        rows = np.repeat(np.arange(len(row)), row.astype(int))
        copies = LabelledPredictions(run.probabilities[rows], run.predicted[rows], run.truth[rows])
        (repeated,) = METRICS[metric].compute(copies, np.ones((1, len(rows))))
        assert value == exact(repeated, abs=1e-9, nan_ok=True)
        if metric == "ece":
            assert value == exact(peer_calibration_error(copies), abs=1e-9)


@pytest.mark.parametrize("labels", [("ham", "spam"), ("a", "b", "c")])
def test_figures_are_those_of_every_other_page(labels):
    rng = np.random.default_rng(0)
    p, truth = rng.dirichlet(np.ones(len(labels)), 300), rng.integers(0, len(labels), 300)
    run, once = LabelledPredictions(p, p.argmax(axis=1), truth), np.ones((1, 300))
    rows = [dict(zip(labels, map(float, row), strict=True)) for row in p]
    told = [Prediction(max(row, key=row.__getitem__), row, ms=0) for row in rows]
    ours = measure([labels[column] for column in truth], told, labels)
    figures = {name: METRICS[name].compute(run, once)[0] for name in METRICS}
    assert figures.pop("accuracy") == ours.accuracy.value
    if len(labels) > 2:
        assert figures["f1"] == exact(ours.figures["macro_f1"])
        assert np.isnan([figures["auc"], figures["average_precision"]]).all()
    del figures["f1"]
    assert ours.figures == exact(figures | {"macro_f1": ours.figures["macro_f1"]}, nan_ok=True)
    recorded = ours.to_dict()
    assert recorded["calibration_error"] == figures["ece"]
    assert recorded["negative_log_likelihood"] == figures["nll"]
    assert (recorded["auc"] is None) == (len(labels) > 2)


@pytest.mark.parametrize("metric", METRICS)
def test_without_any_weight_nothing_is_known(metric):
    (value,) = METRICS[metric].compute(two_labels([0.1, 0.9], [0, 1]), np.zeros((1, 2)))
    assert value == 0 if metric == "f1" else np.isnan(value)


def test_equal_scores_count_half():
    run = two_labels([0.5, 0.5, 0.5, 0.5], [0, 1, 0, 1])
    once = np.ones((1, 4))
    assert (
        METRICS["auc"].compute(run, once) == METRICS["average_precision"].compute(run, once) == 0.5
    )


def test_an_impossible_truth_costs_27_nats_not_infinitely_many():
    (nll,) = METRICS["nll"].compute(two_labels([1.0], [0]), np.ones((1, 1)))
    assert nll == exact(-math.log(1e-12))


# --- resampling and intervals --------------------------------------------------------------------


def test_messages_and_seeds_are_drawn_with_replacement_and_one_seed_less():
    drawn = resamples(20, 3, count=4000)
    assert drawn.messages.shape == (4000, 20)
    assert drawn.seeds.shape == (4000, 3)
    assert set(drawn.messages.sum(axis=1)) == {20}
    assert set(drawn.seeds.sum(axis=1)) == {3}
    assert set(drawn.seeds.flat) == {0, 1.5, 3}
    assert drawn.messages.mean(axis=0) == exact(np.ones(20), abs=0.07)
    assert drawn.messages.var() == exact(1 - 1 / 20, rel=0.03)
    assert abs(np.corrcoef(drawn.messages[:, 0], drawn.seeds[:, 0])[0, 1]) < 0.05


def test_resamples_are_the_same_for_the_same_seed_and_however_many_seeds_there_are():
    one, three = resamples(20, 1, 10, seed=7), resamples(20, 3, 10, seed=7)
    np.testing.assert_array_equal(one.messages, three.messages)
    np.testing.assert_array_equal(three.seeds, resamples(20, 3, 10, seed=7).seeds)
    assert (one.messages != resamples(20, 1, 10, seed=8).messages).any()


def test_an_estimate_is_the_mean_of_the_seeds():
    runs = [right_where([1, 1, 1, 0]), right_where([1, 0, 1, 0])]
    found = estimate("accuracy", runs, drawn := resamples(4, 2, count=50))
    assert found.by_seed.tolist() == [0.75, 0.5]
    assert found.value == 0.625
    by_hand = [
        (seeds[0] * messages @ [1, 1, 1, 0] + seeds[1] * messages @ [1, 0, 1, 0]) / 8
        for messages, seeds in zip(drawn.messages, drawn.seeds, strict=True)
    ]
    assert found.draws == exact(np.array(by_hand))
    assert found.interval.low == exact(np.quantile(by_hand, 0.025))
    assert found.interval.high == exact(np.quantile(by_hand, 0.975))


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_resampled_seeds_have_the_variance_of_their_mean(seeds):
    runs = [right_where([seed == 0] * 10) for seed in range(seeds)]
    found = estimate("accuracy", runs, resamples(10, seeds, count=20_000))
    of_the_mean = np.var(found.by_seed, ddof=1) / seeds
    assert found.draws.var() == exact(of_the_mean, rel=0.03)


def test_a_single_seed_counts_once():
    assert set(resamples(10, 1, count=20).seeds.flat) == {1}


def test_resamples_without_spam_say_nothing_about_auc_and_do_not_hurt():
    found = estimate("auc", [two_labels([0.1, 0.2, 0.9], [0, 0, 1])], resamples(3, 1))
    assert 0.2 < np.isnan(found.draws).mean() < 0.4
    assert (found.interval.value, found.interval.low, found.interval.high) == (1, 1, 1)


def test_what_is_undefined_has_no_interval():
    drawn = resamples(3, 1, count=20)
    ham_only = estimate("auc", [two_labels([0.1, 0.2, 0.9], [0, 0, 0])], drawn)
    assert np.isnan(ham_only.value)
    assert ham_only.interval is None
    assert difference(ham_only, ham_only) is None
    assert crossover_interval([8], [ham_only], [ham_only]) is None


def test_a_classifier_does_not_differ_from_itself():
    rng = np.random.default_rng(0)
    runs = [right_where(rng.random(50) < 0.8) for _ in range(3)]
    found = difference(*(estimate("accuracy", runs, resamples(50, 3)) for _ in "ab"))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_paired_difference_is_known_better_than_its_two_figures():
    rng = np.random.default_rng(0)
    hard = rng.random(300) < 0.2
    a, b = (
        estimate("accuracy", [right_where(~hard ^ (rng.random(300) < slips)) for _ in range(3)], d)
        for d in [resamples(300, 3)]
        for slips in (0.01, 0.03)
    )
    found = difference(a, b)
    assert found.high - found.low < 0.6 * (a.interval.high - a.interval.low)


def test_only_what_was_resampled_alike_is_compared():
    run, other = right_where([1, 1, 0, 1]), two_labels([0.1] * 4, [0] * 4)
    drawn = resamples(4, 2, count=20)
    found = estimate("accuracy", [run, run], drawn)
    with pytest.raises(ValueError, match="same messages"):
        estimate("accuracy", [run, other], drawn)
    with pytest.raises(ValueError, match="4 messages and 2 seeds"):
        estimate("accuracy", [run], drawn)
    for stranger in (
        estimate("f1", [run, run], drawn),
        estimate("accuracy", [run, run], resamples(4, 2, count=20, seed=1)),
    ):
        with pytest.raises(ValueError, match="same metric of the same resamples"):
            difference(found, stranger)


# --- do 95 % intervals cover? --------------------------------------------------------------------


def simulated(rng, messages, seeds, accuracies, of_seeds):
    """Runs of classifiers with known accuracies that find the same messages hard.

    An answer is right where a normal number is small enough. Half of its variance belongs to the
    message (most of that for all classifiers), ``of_seeds`` to the seed, the rest to the answer.
    """
    hard = rng.normal(size=messages)
    for accuracy in accuracies:
        own = math.sqrt(0.7) * hard + math.sqrt(0.3) * rng.normal(size=messages)
        luck = rng.normal(size=(seeds, 1))
        noise = rng.normal(size=(seeds, messages))
        difficulty = (
            math.sqrt(0.5) * own + math.sqrt(of_seeds) * luck + math.sqrt(0.5 - of_seeds) * noise
        )  # (S, N)
        yield [right_where(row) for row in difficulty < stats.norm.ppf(accuracy)]


def coverage(messages, seeds, of_seeds, comparisons):
    """How often the intervals of an accuracy of 90 %, and of 5 points more than another's, do."""
    rng, drawn = np.random.default_rng(0), resamples(messages, seeds, count=500)
    covered = []
    for _ in range(comparisons):
        runs = simulated(rng, messages, seeds, (0.90, 0.85), of_seeds)
        a, b = (estimate("accuracy", each, drawn) for each in runs)
        gap = difference(a, b)
        covered.append(
            (a.interval.low <= 0.9 <= a.interval.high, gap.low - 1e-9 <= 0.05 <= gap.high + 1e-9)
        )
    return np.mean(covered, axis=0)


def test_intervals_cover_at_least_19_times_in_20_where_seeds_differ_by_2_points():
    figure, gap = coverage(messages=200, seeds=3, of_seeds=0.01, comparisons=400)
    assert 0.95 <= figure < 1
    assert 0.95 <= gap < 1


def test_three_seeds_that_differ_by_5_points_are_too_few_and_ten_are_better():
    """As ``resamples`` says: nobody can tell from three seeds how much seeds differ."""
    few, many = (coverage(500, seeds, of_seeds=0.1, comparisons=400) for seeds in (3, 10))
    assert ((few >= 0.75) & (few < 0.88)).all()
    assert ((many >= 0.88) & (many > few + 0.05)).all()


def test_the_interval_of_a_crossover_covers():
    budgets, left, right = (8, 32, 128, 512, 2048), (0.6, 0.75, 0.88, 0.94, 0.96), 0.90
    true = crossover(budgets, left, [right] * 5)
    rng, drawn = np.random.default_rng(0), resamples(200, 3, count=200)
    covered = []
    for _ in range(120):
        *ours, theirs = (
            estimate("accuracy", runs, drawn)
            for runs in simulated(rng, 200, 3, (*left, right), of_seeds=0.005)
        )
        found = crossover_interval(budgets, ours, [theirs] * 5)
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) >= 0.95


# --- tests ---------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
@any_case
def test_mcnemar_is_statsmodels_exact_test(only_a, only_b):
    table = [[50, only_a], [only_b, 7]]
    assume(only_a + only_b)
    assert mcnemar(only_a, only_b) == exact(contingency_tables.mcnemar(table, exact=True).pvalue)
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)


def test_two_that_agree_everywhere_do_not_differ():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == exact(2 / 2**5)


def test_discordant_messages_are_those_only_one_got_right():
    a, b = right_where([1, 1, 1, 0, 0]), right_where([1, 0, 0, 1, 0])
    assert discordant(a, b) == (2, 1)
    assert discordant(b, a) == (1, 2)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_equal_classifiers_are_called_different_at_most_as_often_as_promised(alpha):
    rng, single, together = np.random.default_rng(0), [], []
    for _ in range(600):
        a, b = simulated(rng, 200, 3, (0.85, 0.85), of_seeds=0)
        p_values = [mcnemar(*discordant(*pair)) for pair in zip(a, b, strict=True)]
        single.append(p_values[0])
        together.append(combined(p_values))
    assert np.mean(np.array(single) <= alpha) <= alpha
    assert np.mean(np.array(together) <= alpha) <= alpha


probabilities = st.floats(0, 1)


def test_seeds_are_combined_as_twice_their_mean():
    assert combined([0.01, 0.02, 0.03]) == exact(0.04)
    assert combined([0.03]) == 0.03
    assert combined([0.4, 0.9]) == 1


@given(st.lists(probabilities, min_size=1, max_size=5))
@any_case
def test_combined_is_a_p_value_whatever_the_order(p_values):
    found = combined(p_values)
    assert min(p_values) <= found + 1e-12
    assert found <= 1
    assert combined(p_values[::-1]) == exact(found)


@pytest.mark.slow
@given(st.lists(probabilities | st.sampled_from([0.01, 0.04]), min_size=1, max_size=12))
@settings(any_case, max_examples=25)  # the peer is slow
def test_holm_is_statsmodels(p_values):
    found = holm(p_values)
    assert found == exact(multitest.multipletests(p_values, method="holm")[1].tolist())
    assert all(p <= adjusted <= 1 for p, adjusted in zip(p_values, found, strict=True))


def test_no_comparison_needs_no_adjustment():
    assert holm([]) == []
    assert holm([0.04]) == [0.04]


# --- from how many labels on ---------------------------------------------------------------------


def test_a_crossover_lies_between_two_budgets_on_a_logarithmic_axis():
    assert crossover([8, 32], [0.4, 0.8], [0.6, 0.6]) == exact(16)
    assert crossover([8, 32], [0.3, 0.7], [0.6, 0.6]) == exact(8 * 4**0.75)
    assert crossover([8, 32], [0.4, 0.6], [0.6, 0.6]) == 32  # as good from there on


def test_a_lead_that_is_lost_again_does_not_count():
    lost = [0.4, 0.7, 0.5, 0.7]
    assert crossover([8, 16, 32, 64], lost, [0.6] * 4) == exact(32 * 2**0.5)


def test_beyond_either_end_nobody_measured():
    assert crossover([8, 32], [0.6, 0.5], [0.5, 0.5]) == -math.inf
    assert crossover([8, 32], [0.6, 0.4], [0.5, 0.5]) == math.inf
    assert crossover([8], [0.4], [0.5]) == math.inf
    assert crossover([8], [0.5], [0.5]) == -math.inf
    assert math.isnan(crossover([8, 32], [math.nan, 0.6], [0.5, 0.5]))


def test_rounding_is_no_difference():
    assert crossover([8, 32], [0.5, 0.1 + 0.2], [0.4, 0.3 + 1e-16]) == -math.inf
    assert crossover([8, 32], [0.5, (0.1 + 0.2 + 0.3) / 3], [0.4, (0.3 + 0.2 + 0.1) / 3]) < 0


@pytest.mark.parametrize("budgets", [[], [0, 8], [8, 8], [32, 8]])
def test_budgets_are_positive_and_ascend(budgets):
    with pytest.raises(ValueError, match="positive and ascending"):
        crossovers(budgets, np.zeros((1, len(budgets))), np.zeros((1, len(budgets))))


figures = st.integers(0, 20).map(lambda n: n / 20)


@st.composite
def curves(draw):
    count = draw(st.integers(1, 6))
    budgets = sorted(draw(st.sets(st.integers(1, 5000), min_size=count, max_size=count)))
    each = st.lists(figures, min_size=count, max_size=count)
    return budgets, draw(each), draw(each)


def on_the_curve(budgets, curve, at):
    return np.interp(np.log2(at), np.log2(budgets), curve)


@given(curves())
@any_case
def test_left_is_as_good_at_every_budget_from_the_crossover_on_and_not_just_below_it(case):
    budgets, left, right = case
    found = crossover(budgets, left, right)
    if found == math.inf:
        assert left[-1] < right[-1]
    elif found == -math.inf:
        assert all(a >= b for a, b in zip(left, right, strict=True))
    else:
        assert budgets[0] < found <= budgets[-1]
        after = [found, *(budget for budget in budgets if budget > found)]
        for at in after:
            assert on_the_curve(budgets, left, at) >= on_the_curve(budgets, right, at) - 1e-6
        before = max(budget for budget in budgets if budget < found)
        below = math.sqrt(before * found)
        assert on_the_curve(budgets, left, below) < on_the_curve(budgets, right, below)


@given(curves(), st.floats(0, 0.3))
@any_case
def test_a_better_curve_never_crosses_later(case, more):
    budgets, left, right = case
    better = crossover(budgets, [figure + more for figure in left], right)
    assert better <= crossover(budgets, left, right) + 1e-6


@given(curves(), st.integers(1, 100))
@any_case
def test_a_crossover_does_not_depend_on_the_unit_of_the_budget(case, times):
    budgets, left, right = case
    scaled = crossover([times * budget for budget in budgets], left, right)
    assert scaled == exact(times * crossover(budgets, left, right))


@given(st.lists(st.tuples(*[figures] * 6), min_size=1, max_size=5))
@any_case
def test_many_pairs_of_curves_cross_as_each_does_alone(rows):
    table = np.array(rows)
    found = crossovers([2, 8, 30], table[:, :3], table[:, 3:])
    assert found.tolist() == [
        crossover([2, 8, 30], row[:3].tolist(), row[3:].tolist()) for row in table
    ]


def estimates(accuracies, messages=200, seeds=2, metric="accuracy", seed=0):
    """Estimates of runs with exactly these accuracies; probabilities of 0.9 and 0.1."""
    rng, drawn = np.random.default_rng(seed), resamples(messages, seeds, count=300)
    found = []
    for accuracy in accuracies:
        correct = np.arange(messages) < round(accuracy * messages)
        runs = [right_where(rng.permutation(correct)) for _ in range(seeds)]
        runs = [
            LabelledPredictions(0.1 + 0.8 * run.probabilities, run.predicted, run.truth)
            for run in runs
        ]
        found.append(estimate(metric, runs, drawn))
    return found


BUDGETS = (8, 128, 3612)


def test_an_interval_of_a_crossover_says_which_end_it_leaves():
    constant = estimates([0.8], seed=1) * 3
    found = crossover_interval(BUDGETS, estimates([0.5, 0.8, 0.95]), constant)
    assert found.value == exact(128)
    assert 8 < found.low < found.high < 3612
    found = crossover_interval(BUDGETS, estimates([0.5, 0.6, 0.79]), constant)
    assert (found.value, found.high) == (math.inf, math.inf)
    assert 8 < found.low < 3612
    found = crossover_interval(BUDGETS, estimates([0.81, 0.9, 0.95]), constant)
    assert (found.value, found.low) == (-math.inf, -math.inf)
    assert 8 < found.high < 3612


def test_where_smaller_is_better_the_smaller_curve_is_ahead():
    falling, constant = (estimates(a, metric="nll") for a in ([0.5, 0.8, 0.95], [0.75] * 3))
    assert falling[0].value > falling[-1].value
    found = crossover_interval(BUDGETS, falling, constant)
    assert 8 < found.value < 3612
    assert crossover_interval(BUDGETS, constant, falling).value == math.inf


@pytest.mark.parametrize(
    ("value", "low", "high", "sentence"),
    [
        (71.3, 31.4, 1777,
         "from about 71 labels on (95 %: 31 to 1,800)"),
        (71.3, -math.inf, math.inf,
         "from about 71 labels on (95 %: 8 or fewer to more than 3,612)"),
        (math.inf, 904, math.inf,
         "not within 3,612 labels (95 %: 900 to more than 3,612)"),
        (math.inf, math.inf, math.inf,
         "not within 3,612 labels (95 %: more than 3,612)"),
        (-math.inf, -math.inf, 8.6,
         "from the smallest budget (8 labels) on (95 %: 8 or fewer to 9)"),
        (-math.inf, -math.inf, -math.inf,
         "from the smallest budget (8 labels) on (95 %: 8 or fewer)"),
    ],
)  # fmt: skip
def test_a_crossover_as_a_sentence(value, low, high, sentence):
    assert Crossover(8, 3612, value, low, high).sentence() == sentence


# --- calibration, drawn --------------------------------------------------------------------------


def test_reliability_of_two_seeds_by_hand():
    """Confidence 0.95, 0.95 and 0.65 in one seed, 0.65 in the other for all three."""
    truth = [1, 1, 0]
    runs = [two_labels([0.95, 0.95, 0.65], truth), two_labels([0.65, 0.65, 0.35], truth)]
    middle, sure = reliability(runs)
    assert middle == exact({"confidence": 0.65, "accuracy": 3 / 4, "count": 4})
    assert sure == exact({"confidence": 0.95, "accuracy": 1, "count": 2})


@given(weighted_runs(), st.integers(1, 12))
@any_case
def test_reliability_counts_every_answer_once(case, bins):
    run, _ = case
    found = reliability([run, run], bins)
    total = sum(row["count"] for row in found)
    assert total == 2 * len(run.truth)
    confidence = sum(row["confidence"] * row["count"] for row in found) / total
    assert confidence == exact(run.probabilities.max(axis=1).mean())
    assert [row["confidence"] for row in found] == sorted(row["confidence"] for row in found)
