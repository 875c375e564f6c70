"""What is left out on the way down a ranking, whichever selector ranks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.filters import Filters
from icl.selectors.table import SELECTORS
from tests.support.doubles import CountingLM, few_shot, make_pool

# Forty messages of each label; every second one is long, and each has a near copy ten rows on.
LABELS = ["ham", "spam"] * 40
WORDS = [f"{label} topic{i // 2 % 20}" for i, label in enumerate(LABELS)]
TEXTS = [f"{words} number{i}" + " and so on and on" * (i // 2 % 2) for i, words in enumerate(WORDS)]
POOL = make_pool(TEXTS, LABELS)
SHORT = 25  # characters, which CountingLM takes for tokens
BALANCED = [
    name
    for name, selector in SELECTORS.items()
    if name != "zero" and selector.balance in (None, "equal")
]


def filtered(selector, query="ham topic3 and so on", **options):
    classifier = few_shot(CountingLM(), POOL, selector=selector, **options)
    (answer,) = classifier.predict([query])
    return answer, [shown.row for shown in answer.demonstrations]


def check_selector_refills_what_filters_leave_out(selector):
    for filters in ({"longest": SHORT}, {"near": 0.7}, {"longest": SHORT, "near": 0.7}):
        answer, rows = filtered(selector, k=8, **filters)
        assert Counter(POOL.labels[row] for row in rows) == {"ham": 4, "spam": 4}, filters
        assert all(len(POOL.texts[row]) <= filters.get("longest", 999) for row in rows)
        cosines = (POOL.vectors[rows] @ POOL.vectors[rows].T).round(6)
        assert (cosines - np.eye(8) < filters.get("near", 2)).all()
        assert not any("too few" in note or "qualify" in note for note in answer.notes)


@pytest.mark.parametrize("selector", BALANCED)
def test_every_selector_refills_what_filters_leave_out(selector):
    check_selector_refills_what_filters_leave_out(selector)


@pytest.mark.parametrize("selector", ["random", "knn"])
def test_selectors_without_a_balance_refill_too(selector):
    _, rows = filtered(selector, k=8, near=0.7)
    assert len(rows) == 8
    if selector == "random":  # a vote counts no tokens
        _, rows = filtered(selector, k=8, longest=SHORT)
        assert [len(POOL.texts[row]) <= SHORT for row in rows] == [True] * 8


@pytest.mark.parametrize("selector", BALANCED)
def test_a_note_blames_who_has_too_few(selector):
    few = make_pool(TEXTS[:16], [*LABELS[:15], "ham"])  # of eight spam, one is ham here
    answer = few_shot(CountingLM(), few, selector=selector, k=16).predict(["new"])[0]
    assert any("the pool has too few spam messages" in note for note in answer.notes)
    long_spam = make_pool(
        [
            text + " and on and on" * (label == "spam")
            for text, label in zip(TEXTS, LABELS, strict=True)
        ],
        LABELS,
    )
    answer = few_shot(CountingLM(), long_spam, selector=selector, k=4, longest=SHORT).predict(
        ["new"]
    )[0]
    assert not any("the pool has" in note for note in answer.notes)
    assert any(f"qualify (longest {SHORT}) there are too few spam" in n for n in answer.notes)


def test_messages_are_passed_over_with_the_reason():
    classifier = few_shot(CountingLM(), POOL, k=2, longest=SHORT, near=0.7)
    _, passed_over = classifier.select("ham topic4 and so")
    reasons = {each.reason for each in passed_over}
    assert any(reason.endswith(f"tokens, and {SHORT} are allowed") for reason in reasons)
    assert any(reason.startswith("nearly row ") for reason in reasons)


def test_too_few_that_qualify_are_all_shown_and_it_is_said():
    answer, rows = filtered("topk", k=8, near=0.05)
    assert 0 < len(rows) < 8
    assert any(note == f"{len(rows)} examples: no more messages qualify (near 0.05)"
               for note in answer.notes)  # fmt: skip


@pytest.mark.parametrize("selector", ["votek", "votek_pool", "kcenter", "facility"])
def test_no_label_is_paid_for_that_may_not_be_shown(selector):
    classifier = few_shot(CountingLM(), POOL, selector=selector, longest=SHORT,
                          options={"annotate": 20})  # fmt: skip
    picks = classifier.selector.picks
    assert len(picks) == 20
    assert all(len(POOL.texts[row]) <= SHORT for row in picks)
    with pytest.raises(TuneshotError, match="every message of the pool has more than 3 tokens"):
        few_shot(CountingLM(), POOL, selector=selector, longest=3)


def test_near_copies_go_and_the_better_one_stays():
    vectors = np.array([[1, 0], [0, 1], [0.99, np.sqrt(1 - 0.99**2)]], np.float32)
    pool = Pool(("x", "y", "z"), ("ham",) * 3, vectors, np.arange(3))
    assert Filters(near=0.98).reason(pool, 2, [0, 1]) == "nearly row 0: cosine 0.990"
    assert Filters(near=0.98).reason(pool, 2, [1]) is None
    assert Filters(near=1.0).reason(pool, 2, [0, 1]) is None


@given(st.integers(1, 20), st.floats(0.5, 0.999), st.integers(0, 99))
@settings(deadline=None)
def test_no_two_that_are_shown_are_near_and_each_passed_over_is(count, threshold, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pool = Pool(tuple(map(str, range(count))), ("ham",) * count, vectors, np.arange(count))
    selector = SELECTORS["random"]().fit(pool, filters=Filters(near=threshold))
    found = selector.walk("q", range(count), count)
    cosines = (vectors @ vectors.T).round(6)
    for one in found.rows:
        assert all(cosines[one, other] < threshold for other in found.rows if other != one)
    for one in found.passed_over:
        assert any(cosines[one.row, other] >= threshold for other in found.rows if other < one.row)
    assert len(found.rows) + len(found.passed_over) == count
