import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from clfcore.errors import TuneshotError
from icl.pool import index
from icl.pool.index import ApproximateIndex, ExactIndex, build_index, knn_graph
from icl.pool.pool import Pool
from icl.selectors.similar import TopK

# Few directions, so that copies and ties abound; halves, so that sums are exact.
DIRECTIONS = np.array(
    [[1, 0, 0, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, 0.5]],
    np.float32,
)
unit_rows = hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 4)).map(
    lambda chosen: DIRECTIONS[chosen]
)


def brute_force(similarity, k):
    order = sorted(range(len(similarity)), key=lambda row: (-round(float(similarity[row]), 6), row))
    return order[:k]


def clustered(size, seed, noise=0.5, clusters=300, width=64):
    """Points around centres that are the same for every seed."""
    centres = np.random.default_rng(0).standard_normal((clusters, width))
    draws = np.random.default_rng(seed)
    points = centres[draws.integers(clusters, size=size)]
    points += noise * draws.standard_normal(points.shape)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def recall(found, right):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, right, strict=True)])


@pytest.fixture(scope="module")
def large():
    """20,000 vectors, and the two indexes of them."""
    pytest.importorskip("faiss")
    vectors = clustered(20_000, seed=1)
    rows = np.arange(len(vectors))
    return vectors, ExactIndex(vectors, rows), ApproximateIndex(vectors, rows)


# --- exact --------------------------------------------------------------------------------------


@given(unit_rows, unit_rows, st.integers(1, 50))
def test_the_exact_search_is_brute_force_and_ties_go_to_the_lower_row(vectors, queries, k):
    rows, similarities = build_index(vectors).search(queries, k)
    assert rows.tolist() == [brute_force(vectors @ query, k) for query in queries]
    assert rows.dtype == np.int64
    assert similarities.dtype == np.float32
    assert similarities == pytest.approx(np.take_along_axis(queries @ vectors.T, rows, axis=1))


@given(unit_rows, st.data())
def test_only_the_given_rows_are_found_under_their_own_numbers(vectors, data):
    among = data.draw(st.sets(st.integers(0, len(vectors) - 1), min_size=1).map(sorted))
    rows, _ = build_index(vectors, np.array(among)).search(vectors[:1], 5)
    right = brute_force((vectors @ vectors[0])[among], 5)
    assert rows[0].tolist() == [among[place] for place in right]


@given(unit_rows, st.integers(1, 50))
def test_the_graph_is_brute_force_without_the_row_itself(vectors, k):
    graph = knn_graph(vectors, k)
    assert graph.dtype == np.int32
    assert graph.shape == (len(vectors), min(k, len(vectors) - 1))
    for row, neighbours in enumerate(graph.tolist()):
        similarity = vectors @ vectors[row]
        right = [other for other in brute_force(similarity, len(vectors)) if other != row]
        assert neighbours == right[:k]


def test_the_size_of_a_block_does_not_change_the_answer(monkeypatch):
    vectors = clustered(200, seed=1)
    whole = knn_graph(vectors, 12)
    monkeypatch.setattr(index, "MAX_SIMILARITIES", 1)
    assert np.array_equal(knn_graph(vectors, 12), whole)


# --- approximate --------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 8, 30])
def test_the_approximate_search_finds_99_of_100(large, k):
    _, exact, approximate = large
    queries = clustered(200, seed=2)
    rows, similarities = approximate.search(queries, k)
    right, _ = exact.search(queries, k)
    assert recall(rows, right) >= 0.99
    assert (np.diff(similarities) <= 0).all()


def test_what_is_found_approximately_has_exact_similarities(large):
    vectors, _, approximate = large
    queries = clustered(20, seed=3)
    rows, similarities = approximate.search(queries, 8)
    right = np.einsum("qd,qkd->qk", queries, vectors[rows])
    assert similarities == pytest.approx(right, abs=1e-6)


def test_deeper_than_the_nearest_clusters_every_row_is_found_once(large):
    vectors, exact, approximate = large
    rows, similarities = approximate.search(vectors[:2], len(vectors) + 1)
    right, exactly = exact.search(vectors[:2], len(vectors))
    assert np.array_equal(np.sort(rows), np.sort(right))
    assert similarities == pytest.approx(exactly, abs=2e-6)


def test_the_approximate_answer_is_the_same_on_every_build_and_in_every_batch(large):
    vectors, _, approximate = large
    queries = clustered(30, seed=4)
    rows, similarities = approximate.search(queries, 8)
    again = ApproximateIndex(vectors, np.arange(len(vectors)))
    assert np.array_equal(again.search(queries, 8)[0], rows)
    for place, query in enumerate(queries):
        alone = approximate.search(query[None], 8)
        assert np.array_equal(alone[0][0], rows[place])
        assert np.array_equal(alone[1][0], similarities[place])


def test_an_approximate_index_finds_the_same_rows_after_a_pickle(large):
    _, _, approximate = large
    again = pickle.loads(pickle.dumps(approximate))
    queries = clustered(30, seed=4)
    for ours, theirs in zip(again.search(queries, 8), approximate.search(queries, 8), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_approximate_graph_skips_the_row_itself_even_among_its_copies(large, monkeypatch):
    monkeypatch.setattr(index, "EXACT_GRAPH_ROWS", 0)
    vectors = large[0].copy()
    vectors[100:160] = vectors[100]  # more copies than neighbours
    graph = knn_graph(vectors, 10)
    assert not (graph == np.arange(len(vectors))[:, None]).any()
    assert set(graph[100:160].ravel().tolist()) <= set(range(100, 160))
    exact, _ = ExactIndex(vectors, np.arange(len(vectors))).search(vectors[:100], 11)
    assert recall(graph[:100], exact[:, 1:]) >= 0.99


def test_without_the_library_a_large_pool_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(index, "EXACT_ROWS", 4)
    monkeypatch.setattr(index, "EXACT_PART_ROWS", 2)
    monkeypatch.setattr(index, "EXACT_GRAPH_ROWS", 4)
    vectors = clustered(5, seed=1)
    assert build_index(vectors[:4])
    for work in (lambda: build_index(vectors), lambda: knn_graph(vectors, 2)):
        with pytest.raises(TuneshotError, match=r"5 messages.* pip install 'tuneshot\[large\]'"):
            work()


# --- top-k on an index --------------------------------------------------------------------------


def pool_of(vectors, labels, groups=None):
    size = len(vectors)
    groups = np.arange(size) if groups is None else groups
    return Pool(tuple(f"message {group}" for group in groups), tuple(labels), vectors, groups)


def test_topk_digs_through_any_number_of_copies_and_says_so():
    vectors = clustered(500, seed=5)
    vectors[:400] = vectors[0]
    groups = np.r_[np.zeros(400, np.int64), np.arange(1, 101)]
    pool = pool_of(vectors, ["ham"] * 450 + ["spam"] * 50, groups)
    (selection,) = TopK().fit(pool).select(["new"], vectors[:1], 2)
    similarity = (vectors @ vectors[0]).round(6)
    others = sorted(range(400, 450), key=lambda row: (-similarity[row], row))
    assert [row for row in selection.rows if pool.labels[row] == "ham"] == [0, others[0]]
    assert [dropped.row for dropped in selection.passed_over] == list(range(1, 400))
    assert {dropped.reason for dropped in selection.passed_over} == {"a copy of row 0"}


def test_a_copy_beyond_the_last_candidate_of_its_label_is_not_called_dropped():
    vectors = clustered(60, seed=5)
    vectors[:12] = vectors[0]
    pool = pool_of(
        vectors, ["ham"] * 12 + ["spam"] * 48, np.r_[np.zeros(12, int), np.arange(1, 49)]
    )
    (selection,) = TopK().fit(pool).select(["new"], vectors[:1], 1)
    assert selection.rows[0] == 0
    assert selection.passed_over == ()


def test_topk_on_an_approximate_index_keeps_its_promises(large, monkeypatch):
    vectors = large[0]
    labels = np.where(np.arange(len(vectors)) % 50, "ham", "spam")  # spam is rare: searched exactly
    pool = pool_of(vectors, labels.tolist())
    queries = clustered(20, seed=6)
    texts = [f"message {row}" if row % 2 else "new" for row in range(20)]
    right = TopK().fit(pool).select(texts, queries, 4)
    monkeypatch.setattr(index, "EXACT_ROWS", 1000)
    monkeypatch.setattr(index, "EXACT_PART_ROWS", 1000)
    found = TopK().fit(pool).select(texts, queries, 4)
    assert recall([s.rows for s in found], [s.rows for s in right]) >= 0.99
    for row, selection in enumerate(found):
        assert texts[row] == "new" or row not in selection.rows
        assert sorted(labels[selection.rows]) == ["ham"] * 4 + ["spam"] * 4
