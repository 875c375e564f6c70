"""What every balancing strategy promises, and what each one does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.data.balance import BALANCERS, balanced_points, balanced_rows, class_weights
from clfcore.errors import TuneshotError

OVER = ("oversample", "rose", "smote", "adasyn")
UNDER = ("undersample", "cluster_centroids")


def of_kind(*kinds):
    return [name for name, balancer in BALANCERS.items() if balancer.kind in kinds]


def clouds(*counts, apart=2.0, seed=0):
    """Points of one cloud per label, in mixed order: ``apart`` standard deviations apart."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    vectors = rng.normal(size=(len(labels), 4)) + apart * labels[:, None] / 2
    return vectors.astype(np.float32), labels.tolist()


def counts_of(labels):
    return np.bincount(labels).tolist()


def is_among(points, vectors):
    """Whether each point is one of the vectors, (M,)."""
    return (points[:, None] == vectors[None]).all(axis=2).any(axis=1)


# --- the contract -------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(40, 12), (12, 40), (40, 12, 25)])
@pytest.mark.parametrize("strategy", BALANCERS)
def test_every_strategy_gives_labelled_float32_points_and_leaves_its_input_alone(strategy, counts):
    vectors, labels = clouds(*counts)
    before = vectors.copy(), list(labels)
    points, point_labels, _ = balanced_points(vectors, labels, strategy, seed=1)
    assert points.dtype == np.float32
    assert point_labels.dtype == np.int64
    assert points.shape == (len(point_labels), 4)
    assert np.isfinite(points).all()
    assert set(point_labels.tolist()) == set(labels)
    points += 1  # a copy, so the caller's vectors do not change with it
    assert (vectors == before[0]).all()
    assert labels == before[1]


@pytest.mark.parametrize("strategy", BALANCERS)
def test_the_same_seed_gives_the_same_points(strategy):
    vectors, labels = clouds(40, 12)
    once, again = (balanced_points(vectors, labels, strategy, seed=3) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("strategy", [*OVER, *UNDER])
def test_another_seed_gives_other_points(strategy):
    vectors, labels = clouds(40, 12)
    once, other = (balanced_points(vectors, labels, strategy, seed)[0] for seed in (3, 4))
    assert once.shape != other.shape or (once != other).any()


@pytest.mark.parametrize("strategy", of_kind("rows", "neighbours", "weights"))
def test_what_chooses_rows_gives_existing_rows_in_ascending_order(strategy):
    vectors, labels = clouds(40, 12, 25)
    rows = balanced_rows(labels, strategy, seed=1, vectors=vectors)
    assert rows == sorted(rows)
    assert set(rows) <= set(range(len(labels)))
    points, point_labels, _ = balanced_points(vectors, labels, strategy, seed=1)
    assert (points == vectors[rows]).all()
    assert point_labels.tolist() == [labels[row] for row in rows]


@pytest.mark.parametrize("strategy", ["none", "class_weights"])
def test_without_sampling_every_row_is_there_once(strategy):
    assert balanced_rows([0, 0, 1], strategy, seed=1) == [0, 1, 2]
    assert balanced_rows([0, 0], strategy, seed=1) == [0, 1]


# --- how many -----------------------------------------------------------------------------------

ratios = st.floats(0.05, 1)
label_lists = st.lists(st.integers(0, 3), min_size=2, max_size=60).filter(lambda y: len(set(y)) > 1)


@given(label_lists, ratios, st.integers(0, 9))
def test_oversampling_raises_rare_labels_to_the_ratio_and_drops_no_row(labels, ratio, seed):
    rows = balanced_rows(labels, "oversample", seed, ratio)
    assert set(rows) == set(range(len(labels)))
    target = int(ratio * max(counts_of(labels)))
    after = counts_of([labels[row] for row in rows])
    assert after == [count and max(count, target) for count in counts_of(labels)]


@given(label_lists, ratios, st.integers(0, 9))
def test_undersampling_cuts_common_labels_to_the_ratio_and_repeats_no_row(labels, ratio, seed):
    rows = balanced_rows(labels, "undersample", seed, ratio)
    assert len(set(rows)) == len(rows)
    target = int(min(filter(None, counts_of(labels))) / ratio)
    after = counts_of([labels[row] for row in rows])
    assert after == [min(count, target) for count in counts_of(labels)]


@pytest.mark.parametrize(
    ("strategy", "ratio", "expected"),
    [
        *((strategy, 1.0, [40, 40, 40]) for strategy in OVER),
        *((strategy, 0.5, [40, 20, 25]) for strategy in OVER),
        *((strategy, 0.1, [40, 12, 25]) for strategy in OVER),
        *((strategy, 1.0, [12, 12, 12]) for strategy in UNDER),
        *((strategy, 0.5, [24, 12, 24]) for strategy in UNDER),
        *((strategy, 0.1, [40, 12, 25]) for strategy in UNDER),
    ],
)
def test_three_labels_reach_their_counts(strategy, ratio, expected):
    vectors, labels = clouds(40, 12, 25)
    _, point_labels, _ = balanced_points(vectors, labels, strategy, seed=1, ratio=ratio)
    slack = 8 if strategy == "adasyn" else 0  # it rounds the share of each point
    assert counts_of(point_labels) == pytest.approx(expected, abs=slack)
    if strategy == "adasyn":
        assert all(a >= b for a, b in zip(counts_of(point_labels), (40, 12, 25), strict=True))


def test_half_of_the_commonest_is_rounded_down():
    rows = balanced_rows([0] * 31 + [1] * 5, "oversample", seed=1, ratio=0.5)
    assert sum(row >= 31 for row in rows) == 15


# --- where points come from ---------------------------------------------------------------------


@pytest.mark.parametrize("strategy", OVER)
def test_oversampling_keeps_the_real_points_and_adds_to_rare_labels_only(strategy):
    vectors, labels = clouds(40, 12)
    points, point_labels, _ = balanced_points(vectors, labels, strategy, seed=1)
    assert is_among(vectors, points).all()
    added = points[~is_among(points, vectors)]
    assert len(added) == 0 if strategy == "oversample" else len(added) > 20
    assert (point_labels == 0).sum() == 40


@pytest.mark.parametrize("strategy", ["smote", "adasyn"])
def test_smote_and_adasyn_stay_between_points_of_the_label(strategy):
    vectors, labels = clouds(40, 12)
    rare = vectors[np.array(labels) == 1]
    points, point_labels, _ = balanced_points(vectors, labels, strategy, seed=1)
    added = points[len(labels) :]
    assert (point_labels[len(labels) :] == 1).all()
    assert (added >= rare.min(axis=0) - 1e-6).all()
    assert (added <= rare.max(axis=0) + 1e-6).all()


def test_rose_also_leaves_the_hull_of_its_label():
    vectors, labels = clouds(400, 12)
    rare = vectors[np.array(labels) == 1]
    added = balanced_points(vectors, labels, "rose", seed=1)[0][len(labels) :]
    assert ((added < rare.min(axis=0)) | (added > rare.max(axis=0))).any()
    assert added.mean(axis=0) == pytest.approx(rare.mean(axis=0), abs=0.3)


def test_adasyn_adds_more_where_the_other_label_is_near():
    """Three rare points among strangers, thirty far from them."""
    rng = np.random.default_rng(0)
    common, lost, safe = (rng.normal(c, 0.3, (n, 2)) for c, n in ((0, 60), (0, 3), (9, 30)))
    vectors = np.vstack([common, lost, safe]).astype(np.float32)
    labels = [0] * 60 + [1] * 33

    def share_near_strangers(strategy):
        added = balanced_points(vectors, labels, strategy, seed=1)[0][len(labels) :]
        return (added < 8).all(axis=1).mean()

    assert share_near_strangers("adasyn") > 2 * share_near_strangers("smote")


def test_cluster_centroids_replace_common_points_only():
    vectors, labels = clouds(40, 12)
    points, point_labels, _ = balanced_points(vectors, labels, "cluster_centroids", seed=1)
    assert is_among(points[point_labels == 1], vectors).all()
    assert not is_among(points[point_labels == 0], vectors).all()


@pytest.mark.parametrize("strategy", of_kind("neighbours"))
def test_cleaning_removes_some_common_rows_near_the_border_and_no_rare_one(strategy):
    vectors, labels = clouds(60, 20, apart=1.5)
    rows = balanced_rows(labels, strategy, seed=1, vectors=vectors)
    assert len(set(rows)) == len(rows) < len(labels)
    kept = [labels[row] for row in rows]
    assert kept.count(1) == 20
    assert 0 < kept.count(0) < 60


@pytest.mark.parametrize("strategy", of_kind("neighbours"))
def test_cleaning_leaves_labels_that_do_not_touch_as_they_are(strategy):
    vectors, labels = clouds(40, 12, apart=100)
    assert balanced_rows(labels, strategy, seed=1, vectors=vectors) == list(range(52))


def test_a_tomek_link_loses_its_common_end():
    """On a line: common 0, 1, 2, 10; rare 10.5, 20, 21. The only link is 10 to 10.5."""
    vectors = np.array([[0], [1], [2], [10], [10.5], [20], [21]], np.float32)
    rows = balanced_rows([0, 0, 0, 0, 1, 1, 1], "tomek_links", seed=0, vectors=vectors)
    assert rows == [0, 1, 2, 4, 5, 6]


def test_repeated_editing_removes_at_least_what_editing_once_does():
    vectors, labels = clouds(200, 20, apart=1.0)
    once, repeated = (
        set(balanced_rows(labels, strategy, seed=0, vectors=vectors))
        for strategy in ("enn", "repeated_enn")
    )
    assert repeated < once


# --- weights ------------------------------------------------------------------------------------


@given(label_lists.map(lambda y: np.unique(y, return_inverse=True)[1].tolist()))
def test_class_weights_give_every_label_the_same_say_and_a_message_1_on_average(labels):
    weights = np.array(class_weights(labels, "class_weights"))
    total = weights * counts_of(labels)
    assert total == pytest.approx(len(labels) / len(weights))
    assert weights[labels].mean() == pytest.approx(1)


def test_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    y = np.array([0] * 30 + [1] * 5 + [2] * 9)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert class_weights(y.tolist(), "class_weights") == pytest.approx(theirs)


@pytest.mark.parametrize("strategy", [name for name in BALANCERS if name != "class_weights"])
def test_every_other_strategy_weighs_nothing(strategy):
    assert class_weights([0, 0, 1, 2], strategy) == [1.0, 1.0, 1.0]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda: balanced_rows([0, 1], "magic", seed=0),
        lambda: balanced_points(np.zeros((2, 1)), [0, 1], "magic", seed=0),
        lambda: class_weights([0, 1], "magic"),
    ],
)
def test_an_unknown_strategy_lists_the_choices(ask):
    with pytest.raises(TuneshotError, match=f"choose from {', '.join(BALANCERS)}"):
        ask()


@pytest.mark.parametrize("strategy", of_kind("points"))
def test_inventing_points_for_messages_is_refused_and_the_way_out_is_named(strategy):
    vectors, labels = clouds(40, 12)
    with pytest.raises(TuneshotError) as caught:
        balanced_rows(labels, strategy, seed=0, vectors=vectors)
    assert f"{strategy} invents points" in str(caught.value)
    assert "--layers none" in str(caught.value)
    choices = str(caught.value).rsplit(": ", 1)[1].split(", ")
    assert choices == of_kind("rows", "neighbours", "weights")


@pytest.mark.parametrize("strategy", of_kind("neighbours"))
def test_looking_for_neighbours_needs_vectors(strategy):
    with pytest.raises(TuneshotError, match=f"{strategy} compares the vectors.*undersample"):
        balanced_rows([0, 0, 1], strategy, seed=0)


@pytest.mark.parametrize("ratio", [0, -1, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize("strategy", BALANCERS)
def test_a_ratio_outside_0_to_1_is_refused(strategy, ratio):
    with pytest.raises(TuneshotError, match="above 0 and at most 1"):
        balanced_points(np.zeros((3, 1), np.float32), [0, 0, 1], strategy, seed=0, ratio=ratio)


def test_a_tiny_ratio_changes_nothing():
    assert balanced_rows([0] * 9 + [1], "undersample", seed=0, ratio=1e-320) == list(range(10))


@pytest.mark.parametrize("strategy", ["smote", "adasyn"])
def test_few_rare_points_mean_few_neighbours_and_one_is_too_few(strategy):
    vectors, labels = clouds(40, 2, apart=0)
    _, point_labels, _ = balanced_points(vectors, labels, strategy, seed=0)
    assert counts_of(point_labels)[1] == pytest.approx(40, abs=2)
    vectors, labels = clouds(40, 1)
    with pytest.raises(TuneshotError, match=r"need 2 messages.*label number 1 has 1.*choose"):
        balanced_points(vectors, labels, strategy, seed=0)


def test_adasyn_says_so_where_labels_do_not_touch():
    vectors, labels = clouds(40, 12, apart=100)
    with pytest.raises(TuneshotError, match=r"adasyn cannot balance.*SMOTE instead") as caught:
        balanced_points(vectors, labels, "adasyn", seed=0)
    assert "\n" not in str(caught.value)


def test_adasyn_says_so_when_rounding_leaves_nothing_to_add():
    vectors, labels = clouds(40, 39, apart=0)
    with pytest.raises(TuneshotError, match=r"adasyn cannot balance.*No samples"):
        balanced_points(vectors, labels, "adasyn", seed=0)


@pytest.mark.parametrize("strategy", ["enn", "repeated_enn"])
def test_a_strategy_that_would_remove_a_whole_label_is_refused(strategy):
    """Every common point sits between two rare ones."""
    vectors = np.arange(11, dtype=np.float32)[:, None]
    labels = [1, 0] * 5 + [1]
    labels[0] = 2  # the rarest is label 2, so label 1 may be removed too
    with pytest.raises(TuneshotError, match="remove every message of label number 0") as caught:
        balanced_rows(labels, strategy, seed=0, vectors=vectors)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("strategy", [*of_kind("points", "neighbours"), "oversample"])
def test_one_label_cannot_be_balanced(strategy):
    with pytest.raises(TuneshotError, match="at least 2 labels, found 1"):
        balanced_points(np.zeros((5, 2), np.float32), [0] * 5, strategy, seed=0)


def test_a_label_without_messages_cannot_be_weighed():
    with pytest.raises(TuneshotError, match="label number 1 has no message"):
        class_weights([0, 2], "class_weights")


def points_or_refusal(*arguments):
    try:
        return balanced_points(*arguments)
    except TuneshotError as error:
        return str(error)


@pytest.mark.parametrize("strategy", BALANCERS)
@settings(max_examples=30)
@given(label_lists, st.integers(0, 9), ratios)
def test_any_messages_are_balanced_or_refused_in_one_line(strategy, labels, seed, ratio):
    vectors = np.random.default_rng(seed).normal(size=(len(labels), 3)).astype(np.float32)
    outcome = points_or_refusal(vectors, labels, strategy, seed, ratio)
    if isinstance(outcome, str):
        assert "\n" not in outcome
        assert strategy in outcome
    else:
        points, point_labels, _ = outcome
        assert set(point_labels.tolist()) == set(labels)
        assert np.isfinite(points).all()
