from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.split import duplicate_groups
from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors import diverse
from icl.selectors.diverse import (
    DPP,
    MMR,
    Facility,
    KCenter,
    covering_graph,
    greedy_map,
    lazy_greedy,
)
from icl.selectors.similar import TopK
from tests.support.doubles import EXAMPLES, HashedWords, make_pool

RERANKERS = [MMR, DPP]
PARTS = [KCenter, Facility]

WORDS = ["win", "cash", "dinner", "call", "now", "7", "!"]
texts = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
messages = st.lists(st.tuples(texts, st.sampled_from(["ham", "spam"])), min_size=1, max_size=25)


def points(vectors, texts=None):
    """A pool of given (N, d) points, made unit length."""
    vectors = np.asarray(vectors, np.float32)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = tuple(texts or map(str, range(len(vectors))))
    return Pool(texts, ("ham",) * len(texts), vectors, duplicate_groups(texts))


@st.composite
def near_messages(draw):
    """Cosines of candidates to a query, descending, and to each other."""
    count, seed = draw(st.integers(1, 8)), draw(st.integers(0, 1000))
    vectors = np.random.default_rng(seed).normal(size=(count + 1, draw(st.integers(2, 6))))
    if draw(st.booleans()):
        vectors[-1] = vectors[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors[1:] @ vectors[0]
    order = np.argsort(-cosines)
    return cosines[order], vectors[1:][order] @ vectors[1:][order].T


SMALL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])


def select(selector, pool, queries, k):
    return selector.fit(pool).select(queries, HashedWords().embed(queries), k)


# --- the contract --------------------------------------------------------------------------------


@given(st.sampled_from(RERANKERS + PARTS), messages, st.lists(texts, min_size=1), st.integers(0, 4))
def test_at_least_k_at_most_k_of_a_label_no_copies(kind, messages, queries, k):
    pool = make_pool(*zip(*messages, strict=True))
    k = min(k, *(len(set(pool.groups) - {pool.group_of(query)}) for query in queries))
    for query, selection in zip(queries, select(kind(), pool, queries, k), strict=True):
        groups = [pool.groups[row] for row in selection.rows]
        labels = [pool.labels[row] for row in selection.rows]
        assert len(set(groups)) == len(groups) >= k
        assert pool.group_of(query) not in groups
        assert all(labels.count(label) <= k for label in labels)


@pytest.mark.parametrize("kind", RERANKERS + PARTS)
def test_an_answer_does_not_depend_on_the_batch(kind):
    queries = ["win cash", "see you at dinner", EXAMPLES[0].text, "call now"]
    together = select(kind(), SMALL, queries, 3)
    assert together == [select(kind(), SMALL, [query], 3)[0] for query in queries]


@pytest.mark.parametrize("kind", RERANKERS + PARTS)
@pytest.mark.parametrize(("query", "usable"), [("new", 10), (EXAMPLES[0].text, 9)])
def test_k_beyond_the_pool_is_refused_with_the_largest_k(kind, query, usable):
    assert select(kind(), SMALL, [query], usable)
    with pytest.raises(TuneshotError, match=f"choose k from 0 to {usable}$"):
        select(kind(), SMALL, [query], usable + 1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (MMR, {"candidates": 0}),
        (MMR, {"relevance": 1.5}),
        (DPP, {"scale": 0.0}),
        (KCenter, {"annotate": 0}),
        (Facility, {"annotate": -1}),
    ],
)
def test_a_bad_option_is_refused_by_name(kind, options):
    with pytest.raises(TuneshotError, match=next(iter(options))):
        kind(**options)


# --- re-ranking ----------------------------------------------------------------------------------


@given(near_messages(), st.floats(0, 1))
def test_mmr_equals_its_definition(near, relevance):
    similarity, alike = near
    chosen, left = [], list(range(len(similarity)))
    while left:
        score = {
            i: relevance * similarity[i]
            - (1 - relevance) * max((alike[i, j] for j in chosen), default=0)
            for i in left
        }
        chosen.append(max(left, key=lambda i: (score[i], -i)))
        left.remove(chosen[-1])
    assert [i for i, _ in MMR(relevance=relevance).rerank(similarity, alike)] == chosen


@given(near_messages())
def test_dpp_takes_the_item_that_makes_the_determinant_largest(near):
    kernel = DPP().kernel(*near)
    taken = greedy_map(kernel)
    items = [item for item, _ in taken]
    assert len(set(items)) == len(items)

    def determinant(items):
        return np.linalg.det(kernel[np.ix_(items, items)])

    for t, (item, factor) in enumerate(taken):
        before = items[:t]
        best = max(determinant([*before, i]) for i in range(len(kernel)) if i not in before)
        assert determinant([*before, item]) == pytest.approx(best, rel=1e-5, abs=1e-14)
        assert determinant([*before, item]) == pytest.approx(
            determinant(before) * factor, rel=1e-5, abs=1e-14
        )


@given(near_messages())
def test_dpp_kernel_is_that_of_ceil(near):
    similarity, alike = near
    kernel = DPP(scale=0.1).kernel(similarity, alike)
    relevance = [(cosine + 1) / 2 - (max(similarity) + 1) / 2 for cosine in similarity]
    for i, j in np.ndindex(kernel.shape):
        weights = np.exp(relevance[i] / 0.2) * np.exp(relevance[j] / 0.2)
        assert kernel[i, j] == pytest.approx(weights * (alike[i, j] + 1) / 2, abs=1e-12)


def test_dpp_stops_where_nothing_is_added():
    assert [item for item, _ in greedy_map(np.ones((3, 3)))] == [0]
    assert [item for item, _ in greedy_map(np.diag([1.0, 0.0, 2.0]))] == [2, 0]
    assert greedy_map(np.zeros((2, 2))) == []


def test_dpp_goes_on_by_similarity_when_it_stops():
    same = points([[1, 0]] * 4)
    (selection,) = DPP().fit(same).select(["q"], np.array([[1, 0]], np.float32), 4)
    assert selection.rows == [0, 1, 2, 3]
    assert selection.scores == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize("kind", RERANKERS)
def test_a_message_said_already_comes_after_a_new_one(kind):
    pool = points([[1, 0.30, 0], [1, 0.31, 0], [1, 0, 0.5], [0, 1, 0]])
    query = np.array([[1, 0, 0]], np.float32)
    (plain,) = TopK().fit(pool).select(["q"], query, 2)
    (diverse,) = kind().fit(pool).select(["q"], query, 2)
    assert (plain.rows, diverse.rows) == ([0, 1], [0, 2])
    assert diverse.similarities == pytest.approx([0.957826, 0.894427], abs=1e-6)


@given(st.sampled_from(RERANKERS), messages, texts)
def test_only_the_candidates_leave_the_order_of_similarity(kind, messages, query):
    pool = make_pool([text for text, _ in messages])
    k = len(set(pool.groups) - {pool.group_of(query)})
    (plain,) = select(TopK(), pool, [query], k)
    (found,) = select(kind(candidates=3), pool, [query], k)
    assert sorted(found.rows[:3]) == sorted(plain.rows[:3])
    assert found.rows[3:] == plain.rows[3:]
    assert found.scores is not None
    assert max(found.scores[3:], default=-9) <= min(found.scores[:3], default=9) + 1e-6


def test_mmr_of_relevance_one_is_topk():
    queries = ["win cash", "see you at dinner", ""]
    plain, found = select(TopK(), SMALL, queries, 5), select(MMR(relevance=1.0), SMALL, queries, 5)
    assert [selection.rows for selection in found] == [selection.rows for selection in plain]


@pytest.mark.parametrize("kind", RERANKERS)
def test_what_was_passed_over_is_reported(kind):
    pool = make_pool(["win cash", "WIN  cash", "win", "Win", "call now"])
    (selection,) = select(kind(), pool, ["Win Cash"], 2)
    assert [(drop.row, drop.reason) for drop in selection.passed_over] == [
        (0, "a copy of the message itself"),
        (1, "a copy of the message itself"),
        (3, "a copy of row 2"),
    ]


# --- a part of the pool --------------------------------------------------------------------------

clouds = st.builds(
    lambda seed, count: np.random.default_rng(seed).normal(size=(count, 3)),
    st.integers(0, 1000),
    st.integers(1, 9),
)


@given(st.data(), st.booleans())
def test_lazy_greedy_takes_what_greedy_takes(data, sparse):
    rows, columns = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    row = st.lists(st.integers(0, 3), min_size=columns, max_size=columns)
    cover = np.array(data.draw(st.lists(row, min_size=rows, max_size=rows)), np.float32)
    best, taken = np.zeros(columns), []
    for _ in range(rows):
        gains = np.maximum(cover - best, 0).sum(axis=1)
        gains[taken] = -1
        taken.append(int(gains.argmax()))
        best = np.maximum(best, cover[taken[-1]])

    def covers(i):
        where = np.flatnonzero(cover[i]) if sparse else slice(None)
        return where, cover[i][where]

    assert lazy_greedy(cover.sum(axis=1), covers, columns, rows) == taken


@pytest.mark.parametrize("dense", [8_000, 0])
@given(cloud=clouds)
def test_every_facility_pick_adds_most_to_the_coverage(dense, cloud):
    pool = points(cloud)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diverse, "DENSE_ROWS", dense)
        picks = Facility().fit(pool).picks
    assert sorted(picks) == list(range(len(pool)))

    def coverage(picks):
        return sum(max(0, *(float(v @ pool.vectors[p]) for p in picks)) for v in pool.vectors)

    for t, pick in enumerate(picks):
        best = max(coverage([*picks[:t], row]) for row in range(len(pool)) if row not in picks[:t])
        assert coverage([*picks[:t], pick]) == pytest.approx(best, abs=1e-5)


def test_a_message_covers_itself_and_those_it_is_a_neighbour_of():
    pool = points([[1, 0], [1, 0.2], [1, 0.3], [0, 1]])
    graph = covering_graph(pool.vectors, 1).toarray()
    expected = np.eye(4)
    for voter, neighbour in [(0, 1), (1, 2), (2, 1), (3, 2)]:
        expected[neighbour, voter] = pool.vectors[voter] @ pool.vectors[neighbour]
    assert graph == pytest.approx(expected, abs=1e-6)


def test_many_copies_weigh_more_but_are_picked_once():
    pool = points([[1, 0]] * 5 + [[0, 1]] * 2, ["a"] * 5 + ["b", "c"])
    assert Facility().fit(pool).picks == [0, 5, 6]


@given(clouds, st.integers(1, 3))
def test_no_message_is_twice_as_far_from_a_centre_as_it_must_be(cloud, count):
    pool = points(cloud)
    count = min(count, len(pool))
    distance = np.linalg.norm(pool.vectors[:, None] - pool.vectors, axis=2)

    def radius(picks):
        return distance[:, list(picks)].min(axis=1).max()

    picks = KCenter(annotate=count).fit(pool).picks
    assert len(set(picks)) == count
    assert radius(picks) <= 2 * min(map(radius, combinations(range(len(pool)), count))) + 1e-3


@given(clouds)
def test_the_next_centre_is_the_farthest_message(cloud):
    pool = points(cloud)
    cosines = (pool.vectors @ pool.vectors.T).astype(np.float64)
    picks = KCenter().fit(pool).picks
    assert cosines.sum(axis=1)[picks[0]] == pytest.approx(cosines.sum(axis=1).max(), abs=1e-4)
    for t in range(1, len(picks)):
        nearest = cosines[:, picks[:t]].max(axis=1)
        left = [row for row in range(len(pool)) if row not in picks[:t]]
        assert nearest[picks[t]] == pytest.approx(min(nearest[left]), abs=1e-5)


@pytest.mark.parametrize("kind", PARTS)
def test_a_query_sees_the_most_similar_of_the_chosen_part_only(kind):
    selector = kind(annotate=4)
    (selection,) = select(selector, SMALL, [EXAMPLES[7].text], 2)
    own = 7 in selector.picks
    order = np.argsort(-(SMALL.vectors @ SMALL.vectors[7]).round(6), kind="stable")
    expected = [row for row in order if row in selector.picks and row != 7]
    assert [r for r in selection.rows if SMALL.labels[r] == "ham"] == [
        row for row in expected if SMALL.labels[row] == "ham"
    ][:2]
    assert selection.similarities == sorted(selection.similarities, reverse=True)
    with pytest.raises(TuneshotError, match=f"choose k from 0 to {4 - own}, or a larger annotate"):
        select(selector, SMALL, [EXAMPLES[7].text], 5)


def test_within_breaks_ties_by_row_whatever_the_order_of_the_picks():
    pool = points([[1, 0]] * 4)
    (selection,) = TopK().fit(pool).top_k_among([3, 1, 2], ["q"], np.array([[1, 0]], np.float32), 2)
    assert (selection.rows, selection.similarities) == ([1, 2], [1.0, 1.0])


def test_within_reports_copies_among_the_chosen_rows():
    pool = points([[1, 0]] * 3 + [[0, 1]], ["a", "A", "b", "c"])
    (selection,) = TopK().fit(pool).top_k_among([0, 1, 2], ["c"], np.array([[1, 0]], np.float32), 2)
    assert selection.rows == [0, 2]
    assert [drop.reason for drop in selection.passed_over] == ["a copy of row 0"]

    with pytest.raises(TuneshotError, match="choose k from 0 to 2, or a larger annotate"):
        TopK().fit(pool).top_k_among([0, 1, 2], ["c"], np.array([[1, 0]], np.float32), 3)


def test_one_text_with_two_labels_is_a_conflict_and_no_copy():
    pool = make_pool(["win now", "see you", "win  NOW", "Win now"], ["ham", "ham", "spam", "ham"])
    selection = TopK().fit(pool).walk("win", [0, 2, 3, 1], 2)
    assert {dropped.row: dropped.reason for dropped in selection.passed_over} == {
        2: "a conflict: row 0 and row 2 have the same text with labels ham and spam",
        3: "a copy of row 0",
    }
