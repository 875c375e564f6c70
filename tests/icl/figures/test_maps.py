from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.figures.maps import MAX_PICKS, QUERY, PoolMap, neighbourhood
from icl.selectors.similar import TopK
from icl.selectors.votek import VoteK, VoteKPool
from tests.support.doubles import EXAMPLES, HashedWords, make_pool

POOL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])
WORDS = ["win", "cash", "dinner", "call", "now", "7", "!"]
texts = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
messages = st.lists(
    st.tuples(texts, st.sampled_from(["ham", "spam", "news"])), min_size=2, max_size=40
).filter(lambda rows: len({" ".join(text.split()) for text, _ in rows}) > 1)


def unit_vectors(count, seed=0, width=64):
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def large_pool(size=3000):
    """Every tenth message is spam, one is news."""
    labels = ["spam" if row % 10 == 0 else "ham" for row in range(size)]
    labels[7] = "news"
    pool = make_pool([f"message {row}" for row in range(size)], labels)
    return replace(pool, vectors=unit_vectors(size))


LARGE = large_pool()
LARGE_MAP = PoolMap(LARGE)


# --- the map ------------------------------------------------------------------------------------


def test_the_map_shows_the_two_directions_of_most_variance():
    vectors = LARGE.vectors.astype(float)
    vectors -= vectors.mean(axis=0)
    spread = np.linalg.svd(vectors, compute_uv=False) ** 2
    assert LARGE_MAP.share == pytest.approx((spread / spread.sum())[:2], rel=1e-3)
    assert LARGE_MAP.points.var(axis=0) == pytest.approx(spread[:2] / len(vectors), rel=1e-3)
    assert np.corrcoef(LARGE_MAP.points.T)[0, 1] == pytest.approx(0, abs=1e-3)


def test_a_query_that_is_in_the_pool_lies_where_its_message_lies():
    assert PoolMap(POOL).place(POOL.vectors[3:5]) == pytest.approx(PoolMap(POOL).points[3:5])


def test_the_same_pool_gives_the_same_map():
    assert (PoolMap(large_pool()).points == LARGE_MAP.points).all()


@given(st.integers(0, 99), st.floats(0, 1))
def test_what_lies_between_two_messages_is_drawn_between_them(seed, part):
    one, two = unit_vectors(2, seed)
    between = LARGE_MAP.place((part * one + (1 - part) * two)[None])
    one, two = LARGE_MAP.place(np.stack([one, two]))
    assert between[0] == pytest.approx(part * one + (1 - part) * two, abs=1e-5)


def test_copies_do_not_bend_the_map():
    mailing = make_pool(
        [*POOL.texts, *[POOL.texts[0].upper()] * 30], [*POOL.labels, *["spam"] * 30]
    )
    assert PoolMap(mailing).points[: len(POOL)] == pytest.approx(PoolMap(POOL).points)


@given(messages)
def test_any_pool_of_two_different_messages_has_a_map(rows):
    plane = PoolMap(make_pool(*zip(*rows, strict=True)))
    assert plane.points.shape == (len(rows), 2)
    assert np.isfinite(plane.points).all()
    assert 0 <= plane.share[1] <= plane.share[0]
    assert plane.share.sum() <= 1 + 1e-5


def test_messages_that_all_have_one_vector_have_a_map_too():
    pool = replace(POOL, vectors=np.repeat(POOL.vectors[:1], len(POOL), axis=0))
    assert PoolMap(pool).points == pytest.approx(0, abs=1e-3)


def test_one_message_is_no_map():
    with pytest.raises(TuneshotError, match="at least two different messages"):
        PoolMap(make_pool(["win", "WIN "]))


# --- what is drawn of it ------------------------------------------------------------------------


@given(
    st.sets(st.integers(0, len(LARGE) - 1), max_size=60), st.integers(1, 4000), st.integers(0, 9)
)
@settings(max_examples=50)
def test_the_draw_has_what_must_be_kept_every_label_and_no_more_than_wanted(keep, limit, seed):
    rows = LARGE_MAP.rows(keep, limit, seed)
    assert (np.diff(rows) > 0).all()
    assert keep <= set(rows.tolist())
    assert {LARGE.labels[row] for row in rows} == {"ham", "spam", "news"}
    assert len(rows) == min(len(LARGE), max(limit, len(keep | {0, 1, 7})))
    assert (rows == LARGE_MAP.rows(sorted(keep), limit, seed)).all()


def test_the_draw_has_the_labels_in_their_proportion_and_depends_on_the_seed():
    rows = LARGE_MAP.rows()
    assert len(rows) == 1500
    counts = Counter(LARGE.labels[row] for row in rows)
    assert counts["spam"] == pytest.approx(150, abs=2)
    assert set(LARGE_MAP.rows(seed=1)) != set(rows)


def test_copies_are_drawn_once_unless_they_are_to_be_kept():
    pool = make_pool(["win", "dinner", "WIN", "call", "Win"])
    assert PoolMap(pool).rows().tolist() == [0, 1, 3]
    assert PoolMap(pool).rows([4]).tolist() == [0, 1, 3, 4]


# --- the graph ----------------------------------------------------------------------------------


def around(selector, text, demonstrations=(), **more):
    return neighbourhood(selector, text, HashedWords().embed([text])[0], demonstrations, **more)


def roles(graph, role):
    return [node for node, at in graph.nodes.items() if at["role"] == role]


@pytest.fixture(scope="module")
def voted():
    return VoteKPool(annotate=20, neighbours=10).fit(
        replace(make_pool(LARGE.texts[:400], LARGE.labels[:400]), vectors=unit_vectors(400))
    )


def test_every_vote_between_what_is_drawn_and_a_drawn_pick_is_an_edge_and_nothing_else(voted):
    graph = around(voted, "message 5")
    picks, votes = roles(graph, "pick"), voted.graph()
    drawn = set(graph) - {QUERY}
    wanted = {(voter, pick) for voter, pick in votes.edges if voter in drawn and pick in picks}
    assert {edge for edge in graph.edges if QUERY not in edge} == wanted
    assert {edge for edge in graph.edges if QUERY in edge} == {(QUERY, pick) for pick in picks}
    assert all(graph.out_degree(voter) for voter in roles(graph, "voter"))
    assert [graph.nodes[pick]["votes"] for pick in picks] == [votes.in_degree(p) for p in picks]
    assert {graph.nodes[row]["text"] for row in drawn} == {voted.pool.texts[row] for row in drawn}


@pytest.mark.parametrize("size", [9, 20, 60])
def test_it_stays_small_and_has_the_nearest_picks(voted, size):
    graph = around(voted, "message 5", size=size)
    cosine = voted.pool.vectors @ HashedWords().embed(["message 5"])[0]
    assert len(graph) <= size
    assert set(roles(graph, "pick")) == set(
        sorted(voted.picks, key=lambda row: -cosine[row])[:MAX_PICKS]
    )


def test_demonstrations_come_before_nearer_picks_and_know_their_place_in_the_prompt(voted):
    cosine = voted.pool.vectors @ HashedWords().embed(["message 5"])[0]
    farthest = sorted(voted.picks, key=lambda row: cosine[row])[:3]
    graph = around(voted, "message 5", farthest)
    assert [graph.nodes[row]["shown"] for row in farthest] == [1, 2, 3]
    assert sum(graph.nodes[row]["shown"] > 0 for row in roles(graph, "pick")) == 3
    assert graph.edges[QUERY, farthest[0]]["similarity"] == pytest.approx(cosine[farthest[0]])


def test_the_layout_is_the_same_each_time(voted):
    one, two = around(voted, "message 5"), around(voted, "message 5")
    assert dict(one.nodes.items()) == dict(two.nodes.items())
    assert all(np.isfinite([at["x"], at["y"]]).all() for at in one.nodes.values())


@given(messages, st.integers(1, 12))
@settings(max_examples=30)
def test_any_pool_that_voted_has_a_graph(rows, annotate):
    selector = VoteK(annotate=annotate).fit(make_pool(*zip(*rows, strict=True)))
    graph = around(selector, "win cash now")
    assert graph.nodes[QUERY]["text"] == "win cash now"
    assert len(roles(graph, "pick")) == min(MAX_PICKS, len(selector.picks))


def test_a_selector_without_a_vote_says_so():
    with pytest.raises(TuneshotError, match=r"holds no vote; choose votek or votek_pool"):
        around(TopK().fit(POOL), "win")
