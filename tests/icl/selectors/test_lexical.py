import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.lexical import BM25, Hybrid, words
from tests.support.doubles import EXAMPLES, HashedWords, make_pool

WORDS = ["win", "Win", "cash", "dinner", "7", "!", "£5"]
texts = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
messages = st.lists(st.tuples(texts, st.sampled_from(["ham", "spam"])), min_size=1, max_size=25)


SMALL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])


def select(selector, pool, queries, k):
    vectors = HashedWords().embed(queries) if selector.needs_vectors else None
    return selector.fit(pool).select(queries, vectors, k)


def okapi(messages, query, k1, b):
    """Okapi's scores, word by word."""
    documents = [words(message) for message in messages]
    mean_length = sum(map(len, documents)) / len(documents)
    idf = {}
    for word in {word for document in documents for word in document}:
        having = sum(word in document for document in documents)
        idf[word] = math.log((len(documents) - having + 0.5) / (having + 0.5))
    floor = 0.25 * sum(idf.values()) / max(len(idf), 1)
    scores = []
    for document in documents:
        score = 0.0
        for word in words(query):
            if count := document.count(word):
                weight = idf[word] if idf[word] >= 0 else floor
                slow = k1 * (1 - b + b * len(document) / mean_length)
                score += weight * count * (k1 + 1) / (count + slow)
        scores.append(score)
    return scores


@given(messages, texts, st.floats(0, 3), st.floats(0, 1))
def test_bm25_equals_a_naive_loop(messages, query, k1, b):
    pool = make_pool([text for text, _ in messages])
    (scores,) = BM25(k1=k1, b=b).fit(pool).scores([query])
    assert scores == pytest.approx(okapi(pool.texts, query, k1, b), abs=1e-10)


@given(messages, texts)
def test_bm25_equals_rank_bm25_on_the_same_words(messages, query):
    pool = make_pool([text for text, _ in messages])
    documents = [words(text) for text in pool.texts]
    assume(any(documents))  # rank_bm25 divides by the number of words
    (scores,) = BM25().fit(pool).scores([query])
    assert scores == pytest.approx(BM25Okapi(documents).get_scores(words(query)), abs=1e-10)


def test_words_ignore_case_and_keep_marks():
    assert words("WIN £5 now!! Straße") == ["win", "£", "5", "now", "!", "!", "strasse"]
    assert words(" \n") == []


def test_bm25_ranks_by_shared_rare_words_and_ties_by_row():
    pool = make_pool(["see you", "free prize", "see the prize", "you see", "call me"])
    (selection,) = select(BM25(), pool, ["a PRIZE for you"], 5)
    assert selection.rows == [0, 1, 3, 2, 4]
    assert selection.scores == sorted(selection.scores, reverse=True)
    assert selection.scores[0] == selection.scores[1] == selection.scores[2]
    assert selection.scores[-1] == 0
    assert selection.similarities is None


@pytest.mark.parametrize("pool", [make_pool(["", " ."]), make_pool(["a b", "a b c"])])
def test_a_query_without_known_words_takes_the_first_rows(pool):
    (selection,) = select(BM25(), pool, ["zzz"], 2)
    assert (selection.rows, selection.scores) == ([0, 1], [0, 0])


def test_a_pool_without_words_is_no_error():
    (selection,) = select(BM25(), make_pool([""]), ["win"], 1)
    assert (selection.rows, selection.scores) == ([0], [0])


@given(messages, texts, st.integers(0, 60))
def test_hybrid_adds_reciprocal_ranks(messages, query, constant):
    pool = make_pool([text for text, _ in messages])
    k = len(set(pool.groups) - {pool.group_of(query)})
    (found,) = select(Hybrid(rank_constant=constant), pool, [query], k)
    cosines = (pool.vectors @ HashedWords().embed([query])[0]).round(6)
    (lexical,) = BM25().fit(pool).scores([query])
    similar = sorted(range(len(pool)), key=lambda row: (-cosines[row], row))
    wordy = sorted(np.flatnonzero(lexical > 0).tolist(), key=lambda row: (-lexical[row], row))
    fused = {
        row: sum(1 / (constant + 1 + r.index(row)) for r in (similar, wordy) if row in r)
        for row in found.rows
    }
    assert found.scores == pytest.approx([fused[row] for row in found.rows])
    assert found.similarities == pytest.approx([cosines[row] for row in found.rows], abs=2e-6)
    assert found.scores == sorted(found.scores, reverse=True)


def test_hybrid_puts_first_what_both_rank_high():
    pool = make_pool(["win cash", "cash", "dinner at home", "call now", "see you", "bye"])
    meanings = pool.vectors[[3, 0, 1, 2, 4, 5]]
    pool = Pool(pool.texts, pool.labels, meanings, pool.groups)
    (selection,) = select(Hybrid(), pool, ["win cash today"], 3)
    assert selection.rows[0] == 1  # second in words and first in meaning
    assert selection.scores[0] == pytest.approx(1 / 62 + 1 / 61)


@given(st.sampled_from([BM25, Hybrid]), messages, st.lists(texts, min_size=1), st.integers(0, 4))
def test_at_least_k_at_most_k_of_a_label_no_copies(kind, messages, queries, k):
    pool = make_pool(*zip(*messages, strict=True))
    k = min(k, *(len(set(pool.groups) - {pool.group_of(query)}) for query in queries))
    for query, selection in zip(queries, select(kind(), pool, queries, k), strict=True):
        groups = [pool.groups[row] for row in selection.rows]
        labels = [pool.labels[row] for row in selection.rows]
        assert len(set(groups)) == len(groups) >= k
        assert pool.group_of(query) not in groups
        assert all(labels.count(label) <= k for label in labels)


@pytest.mark.parametrize("kind", [BM25, Hybrid])
def test_an_answer_does_not_depend_on_the_batch(kind):
    queries = ["win cash", "see you at dinner", EXAMPLES[0].text, "call now"] * 20
    together = select(kind(), SMALL, queries, 3)
    assert together[:4] * 20 == together
    assert together[:4] == [select(kind(), SMALL, [query], 3)[0] for query in queries[:4]]


@pytest.mark.parametrize("kind", [BM25, Hybrid])
def test_k_beyond_the_pool_is_refused_with_the_largest_k(kind):
    with pytest.raises(TuneshotError, match=r"choose k from 0 to 9$"):
        select(kind(), SMALL, [EXAMPLES[0].text], 10)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(BM25, {"k1": -1.0}), (BM25, {"b": 1.5}), (Hybrid, {"rank_constant": -1})],
)
def test_a_bad_option_is_refused_by_name(kind, options):
    with pytest.raises(TuneshotError, match=next(iter(options))):
        kind(**options)
