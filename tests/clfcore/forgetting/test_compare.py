"""Remedies are compared where they know the new task equally well."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.forgetting.compare import (
    at_accuracy,
    cells,
    common_accuracy,
    compare,
    header,
    lost,
    over_runs,
    table,
)


def curve(*points):
    """Of (step, accuracy, perplexity)."""
    return [{"step": s, "accuracy": a, "loss": 1.0, "perplexity_other": p} for s, a, p in points]


def record(remedy, seed, *points, **config):
    about = {"remedy": remedy, "seed": seed, "base": "toy", **config}
    return {"config": about, "inputs": {}, "test": {"curve": curve(*points)}}


def test_a_curve_is_read_on_the_line_between_two_measurements():
    points = curve((0, 0.5, 100.0), (4, 0.7, 120.0), (8, 0.9, 200.0))
    there = at_accuracy(points, 0.8)
    assert there["step"] == pytest.approx(6)
    assert there["perplexity_other"] == pytest.approx(160)
    assert at_accuracy(points, 0.7)["perplexity_other"] == pytest.approx(120)


def test_where_it_first_arrives_counts_and_not_where_it_comes_back():
    points = curve((0, 0.5, 100.0), (4, 0.9, 120.0), (8, 0.6, 150.0), (12, 0.9, 300.0))
    assert at_accuracy(points, 0.9)["step"] == pytest.approx(4)


def test_what_never_arrives_has_no_figures():
    assert at_accuracy(curve((0, 0.5, 1.0), (4, 0.7, 2.0)), 0.71) is None


def test_what_was_known_at_the_start_cost_nothing():
    there = at_accuracy(curve((0, 0.9, 100.0), (4, 0.95, 200.0)), 0.8)
    assert (there["step"], there["perplexity_other"]) == (0, 100)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(1, 1e4)), min_size=2, max_size=9),
    st.floats(0, 1),
)
def test_whatever_the_curve_the_figures_lie_between_measurements(points, accuracy):
    there = at_accuracy(curve(*((n, *p) for n, p in enumerate(points))), accuracy)
    assert (there is None) == (max(a for a, _ in points) < accuracy)
    if there is not None:
        low, high = min(p for _, p in points), max(p for _, p in points)
        assert low - 1e-6 * high <= there["perplexity_other"] <= high * (1 + 1e-6)


def test_of_a_perplexity_the_rise_is_lost_and_of_an_accuracy_the_fall():
    assert lost("perplexity_other", 80.0, 100.0) == pytest.approx(0.25)
    assert lost("old_accuracy", 0.9, 0.6) == pytest.approx(0.3)


def test_all_are_read_at_what_doing_nothing_ends_with_but_for_a_point():
    none = [(0, 0.5, 100.0), (4, 0.91, 200.0)]
    assert common_accuracy(curve((0, 0.5, 1.0), (4, 1.0, 1.0), (8, 0.91, 1.0))) == pytest.approx(
        0.9
    )
    assert common_accuracy(curve(*none)) == pytest.approx(0.90)
    slow = [(0, 0.5, 100.0), (40, 0.9, 110.0)]
    never = [(0, 0.5, 100.0), (4, 0.6, 101.0)]
    rows = compare([record("none", 0, *none), record("l2", 0, *slow), record("lora", 0, *never)])
    assert [row["remedy"] for row in rows] == ["none", "l2", "lora"]
    assert rows[0]["lost"]["perplexity_other"].value == pytest.approx(0.40 / 0.41)
    assert rows[1]["lost"]["perplexity_other"].value == pytest.approx(0.1)
    assert rows[1]["step"] == pytest.approx(40)
    saved = rows[1]["saved"]["perplexity_other"].value
    assert saved == pytest.approx(0.40 / 0.41 - 0.1)
    assert (rows[2]["reached"], rows[2]["step"]) == (0, None)
    assert cells(rows[2])[1:] == ["60.0%", "never", "–"]
    assert cells(rows[1])[3] == "+10.0 %"
    assert header(rows)[-1] == "perplexity, other texts"


def test_over_seeds_the_difference_is_taken_seed_by_seed():
    records = []
    for seed, forgotten in enumerate((150.0, 200.0, 300.0)):
        records += [
            record("none", seed, (0, 0.5, 100.0), (4, 1.0, forgotten)),
            record("ewc", seed, (0, 0.5, 100.0), (4, 0.99, forgotten * 0.98 - 30)),
        ]
    rows = compare(records)
    assert rows[1]["seeds"] == rows[1]["reached"] == 3
    assert rows[0]["spread"]["perplexity_other"] > 0.5
    saved = rows[1]["saved"]["perplexity_other"]
    assert saved.low > 0.2  # the seeds differ widely, the differences hardly
    assert saved.high < 0.5
    assert "[" in cells(rows[0])[3]


def test_the_interval_of_runs_is_students():
    interval = over_runs([1.0, 2.0, 3.0])
    assert interval.value == 2
    assert interval.high - 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert math.isnan(over_runs([1.0]).low)
    assert math.isnan(over_runs([]).value)


def test_a_folder_of_several_bases_has_a_table_for_each():
    none, points = "none", ((0, 0.5, 100.0), (4, 1.0, 150.0))
    one = [record(none, 0, *points), record("l2", 0, *points)]
    two = [record(none, 0, *points, epochs=9), {"config": {}, "inputs": {}, "error": "no"}]
    text = table([*one, *two, record("l2", 7, *points)])  # the last has nothing beside it
    assert text.count("| remedy |") == 2
    assert text.count("| l2 |") == 1
