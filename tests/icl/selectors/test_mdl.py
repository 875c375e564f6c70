import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from icl.lm.local import LocalLM
from icl.prompt.calibration import CONTENT_FREE
from icl.selectors.base import ListScore
from icl.selectors.mdl import MDL, SCORES, SPACES, entropy, openicl_scores
from icl.selectors.similar import TopK
from tests.support.doubles import EXAMPLES, HashedWords, make_pool, save_tiny_lm

QUERIES = ["win cash", "see you at dinner", "", "call now"]


SMALL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])
LARGE = make_pool(
    [f"{'win' if i % 4 == 0 else 'see'} {i % 7} {i}" for i in range(80)],
    ["spam" if i % 4 == 0 else "ham" for i in range(80)],
)


class Hashing:
    """A reader with an opinion on everything, always the same one."""

    def __init__(self, labels=2):
        self.labels = labels
        self.asked = []

    def fitting(self, query, ranked, order):
        return tuple(order)

    def read(self, query, lists, whole=False):
        self.asked += [(query, tuple(rows)) for rows in lists]
        return [self._read(query, rows) for rows in lists]

    def code_lengths(self, query, lists):
        return [-seen.query.sum() for seen in self.read(query, lists)]

    def _read(self, query, rows):
        rng = np.random.default_rng(zlib.crc32(repr((query, tuple(rows))).encode()))
        return ListScore(
            rng.uniform(-9, 0, self.labels),
            np.ones(self.labels, np.int64),
            rng.uniform(-9, 0, 3 + len(query)),
        )


def fitted(pool=SMALL, reader=None, **options):
    return MDL(**options).fit(pool, reader or Hashing())


def vectors(queries):
    return HashedWords().embed(queries)


def organisations(mdl, query, k):
    return mdl.organisations(query, vectors([query])[0], k)


# --- code lengths -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "nats"),
    [
        ([0.0, -np.inf], 0),
        ([0.0, -1e5], 0),
        ([-70.0, -70.0], np.log(2)),
        ([0.0] * 5, np.log(5)),
        (np.log([0.5, 0.25, 0.25]), 1.5 * np.log(2)),
        ([np.nan, np.nan], np.log(2)),
    ],
)
def test_entropy_by_hand(scores, nats):
    assert entropy(np.array(scores)) == pytest.approx(nats)


probabilities = st.floats(-30, -1e-3)


@given(
    st.lists(st.tuples(probabilities, probabilities), min_size=1, max_size=10),
    st.integers(1, 60),
)
def test_tempering_does_not_change_the_winner_of_two_labels(lists, tokens):
    seen = [
        ListScore(np.array(labels), np.array([1, 1]), np.linspace(-5, -1, tokens))
        for labels in lists
    ]
    plain = [entropy(each.labels) for each in seen]
    chosen = int(np.argmin([entropy(openicl_scores(each)) for each in seen]))
    assert plain[chosen] == pytest.approx(min(plain), abs=1e-6)


def test_tempering_can_change_the_winner_of_three_labels():
    rivals = [
        ListScore(np.log(p), np.ones(3, int), np.full(40, -2.0))
        for p in ([0.6, 0.39998, 0.00002], [0.8, 0.1, 0.1])
    ]
    assert np.argmin([entropy(each.labels) for each in rivals]) == 1
    assert np.argmin([entropy(openicl_scores(each)) for each in rivals]) == 0


def test_tempered_equals_openicls_pass_for_each_label(tmp_path):
    """Its formula, one full prompt a label: mask, shift, sum, divide by all unmasked tokens."""
    lm = LocalLM(str(save_tiny_lm(tmp_path)))
    shown = "Label: ham Type: spam\n"
    prompt = shown + "see you at three Label:"
    words = [" ham", " spam", " never"]  # the last is several tokens long

    cross_entropies = []
    for word in words:
        ids = torch.tensor([lm._encode(prompt + word)])
        with torch.no_grad():
            log_p = lm._model(ids).logits[0, :-1].log_softmax(-1)
        loss = -log_p[torch.arange(ids.shape[1] - 1), ids[0, 1:]]  # the shifted loss
        mask = len(lm._encode(shown))
        loss[:mask] = 0
        cross_entropies.append(float(loss.sum()) / (ids.shape[1] - mask))
    p = np.exp(-np.array(cross_entropies)) / np.exp(-np.array(cross_entropies)).sum()

    read = lm.read(prompt, words, since=len(shown))
    seen = ListScore(
        np.array([sum(tokens) for tokens in read.log_probabilities]),
        np.array([len(tokens) for tokens in read.tokens]),
        np.array(read.prompt),
    )
    assert len(set(seen.label_tokens)) > 1
    assert openicl_scores(seen) == pytest.approx(-np.array(cross_entropies), abs=1e-4)
    assert entropy(openicl_scores(seen)) == pytest.approx(-(p * np.log(p)).sum(), abs=1e-4)


class Fixed:
    """Says the same of each query, whatever is shown."""

    def __init__(self, **of_query):
        self.of_query = of_query

    def fitting(self, query, ranked, order):
        return tuple(order)

    def read(self, query, lists, whole=False):
        labels = np.log(self.of_query.get(query, [0.25, 0.75]))
        return [ListScore(labels, np.array([1, 1]), np.array([-1.0, -2.0])) for _ in lists]

    def code_lengths(self, query, lists):
        return [3.0 for _ in lists]


def test_scores_by_hand():
    reader = Fixed(new=[0.2, 0.8])

    def score(name):
        return SCORES[name](reader, "new", [(1, 2)])

    assert score("label_entropy") == pytest.approx([-0.2 * np.log(0.2) - 0.8 * np.log(0.8)])
    assert score("perplexity") == pytest.approx([3.0])
    # 0.2/0.25 = 0.8, 0.8/0.75 = 16/15: a confident answer that was there before the message.
    p = np.array([0.8, 16 / 15]) / (0.8 + 16 / 15)
    assert score("calibrated") == pytest.approx([-(p * np.log(p)).sum()])
    # T = 2 + 1; the query's first token is not in the sum.
    p = np.array([0.2, 0.8]) ** (1 / 3) / (np.array([0.2, 0.8]) ** (1 / 3)).sum()
    assert score("tempered") == pytest.approx([-(p * np.log(p)).sum()])


def test_calibration_reads_each_list_and_its_probes_one_after_the_other():
    reader = Hashing()
    SCORES["calibrated"](reader, "new", [(1,), (2,)])
    messages = ("new", *CONTENT_FREE)
    assert reader.asked == [(message, (row,)) for row in (1, 2) for message in messages]


# --- which lists --------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
def test_lists_are_different_and_have_k_rows_without_copies(space):
    tried = organisations(fitted(LARGE, space=space), "see win 3", 4)
    assert len(tried) == 10
    assert len({each.rows for each in tried}) == 10
    for each in tried:
        assert len(set(each.rows)) == 4
        assert len({LARGE.groups[row] for row in each.rows}) == 4


def test_the_first_trial_is_plain_topk_with_the_most_similar_last():
    query = "see you win 5"
    (nearest,) = TopK().fit(LARGE).select([query], vectors([query]), 4)
    plain = organisations(fitted(LARGE, space="subset"), query, 4)[0]
    assert list(plain.rows) == nearest.rows[:4][::-1]
    ham, spam = (
        [row for row in nearest.rows if LARGE.labels[row] == label] for label in ("ham", "spam")
    )
    of_each = organisations(fitted(LARGE), query, 4)[0]
    assert list(of_each.rows) == [row for row in nearest.rows if row in ham[:2] + spam[:2]][::-1]


def test_balanced_lists_have_as_many_of_each_label():
    for query in QUERIES:
        for each in organisations(fitted(LARGE), query, 4):
            assert sorted(LARGE.labels[row] for row in each.rows) == ["ham"] * 2 + ["spam"] * 2


def test_permuted_lists_are_orders_of_one_set():
    tried = organisations(fitted(LARGE, space="permute"), "win", 4)
    assert len({frozenset(each.rows) for each in tried}) == 1
    assert len(organisations(fitted(LARGE, space="permute"), "win", 2)) == 2


def test_lists_of_the_paper_are_drawn_from_the_nearest_only():
    query = "see 3"
    similarity = (LARGE.vectors @ vectors([query])[0]).round(6)
    nearest = set(np.argsort(-similarity, kind="stable")[:6].tolist())
    tried = organisations(fitted(LARGE, space="subset", candidates=6, trials=30), query, 3)
    assert set().union(*(each.rows for each in tried)) == nearest


def test_with_more_labels_than_examples_the_nearest_labels_are_shown():
    pool = make_pool([f"w{i % 9} {i}" for i in range(45)], [f"label {i % 9}" for i in range(45)])
    query = "w2 w5 w7"
    tried = organisations(fitted(pool), query, 3)
    shown = [sorted(pool.labels[row] for row in each.rows) for each in tried]
    assert len(tried) == 10
    assert all(each == ["label 2", "label 5", "label 7"] for each in shown)


def test_half_of_most_lists_is_read_once():
    """As a trie: 26 of 40 messages for ten lists of four."""
    for k, most in ((4, 26), (8, 52)):
        tried = organisations(fitted(LARGE), "see you", k)
        read = k + sum(
            k - next((i for i in range(k) if a.rows[i] != b.rows[i]), k) for a, b in pairwise(tried)
        )
        assert read <= most


# --- the choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("score", SCORES)
def test_the_smallest_code_length_wins_and_is_told(score):
    mdl = fitted(score=score)
    for query, found in zip(QUERIES, mdl.select(QUERIES, vectors(QUERIES), 3), strict=True):
        tried = organisations(mdl, query, 3)
        best = min(tried, key=lambda each: each.code_length)
        assert found.order == best.rows == best.drawn
        assert set(found.rows) == set(best.rows)
        assert found.similarities == sorted(found.similarities, reverse=True), "best first"
        assert found.scores == [-best.code_length] * 3
        assert found.passed_over == ()
        cosines = SMALL.vectors[found.rows] @ vectors([query])[0]
        assert found.similarities == pytest.approx(cosines.tolist(), abs=1e-6)


def test_of_equally_good_lists_plain_topk_wins():
    mdl = fitted(LARGE, Fixed())
    (found,) = mdl.select(["see"], vectors(["see"]), 4)
    assert found.order == organisations(mdl, "see", 4)[0].rows


def test_a_list_without_a_number_never_wins():
    class Broken(Hashing):
        def _read(self, query, rows):
            seen = super()._read(query, rows)
            return seen if rows[-1] % 2 else replace(seen, query=seen.query * np.nan)

    mdl = fitted(LARGE, Broken(), score="perplexity")
    lengths = [each.code_length for each in organisations(mdl, "see", 4)]
    assert np.inf in lengths
    (found,) = mdl.select(["see"], vectors(["see"]), 4)
    assert found.scores[0] == -min(lengths) > -np.inf


def test_an_answer_depends_on_the_seed_and_its_query_only():
    together = fitted(LARGE).select(QUERIES, vectors(QUERIES), 4)
    apart = [fitted(LARGE).select([q], vectors([q]), 4)[0] for q in QUERIES]
    backwards = fitted(LARGE).select(QUERIES[::-1], vectors(QUERIES[::-1]), 4)[::-1]
    assert together == apart == backwards
    assert together != fitted(LARGE, seed=1).select(QUERIES, vectors(QUERIES), 4)


words = st.lists(st.sampled_from(["win", "cash", "see", "you", "7"]), max_size=4).map(" ".join)


@given(
    st.lists(st.tuples(words, st.sampled_from("abc")), min_size=1, max_size=12),
    words,
    st.sampled_from(list(SPACES)),
    st.integers(1, 8),
    st.integers(1, 5),
    st.data(),
)
@settings(max_examples=60)
def test_any_pool_and_any_k_up_to_all_it_has(messages, query, space, near, trials, data):
    pool = make_pool(*zip(*messages, strict=True))
    usable = len(set(pool.groups) - {pool.group_of(query)})
    k = data.draw(st.integers(0, usable))
    mdl = fitted(pool, space=space, candidates=near, trials=trials)
    (found,) = mdl.select([query], vectors([query]), k)
    groups = {pool.groups[row] for row in found.rows}
    assert len(groups) == len(found.rows) == k
    assert pool.group_of(query) not in groups
    with pytest.raises(TuneshotError, match=f"choose k from 0 to {usable}"):
        mdl.select([query], vectors([query]), usable + 1)
    with pytest.raises(TuneshotError, match="choose k"):
        mdl.select([query], vectors([query]), -1)


def test_without_examples_nothing_is_asked():
    reader = Hashing()
    (found,) = fitted(SMALL, reader).select(["new"], vectors(["new"]), 0)
    assert (found.rows, reader.asked) == ([], [])


def test_more_examples_than_candidates_take_more_candidates():
    tried = organisations(fitted(LARGE, candidates=2), "see", 6)
    assert len(tried) == 10
    assert len({frozenset(each.rows) for each in tried}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "candidates must be 1 or more, not 0"),
        ({"trials": 0}, "trials must be 1 or more, not 0"),
        ({"score": "luck"}, "unknown score 'luck'; choose from label_entropy, tempered"),
        ({"space": "outer"}, "unknown space 'outer'; choose from balanced, subset, permute"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(TuneshotError, match=message):
        MDL(**options)


def test_it_needs_a_language_model():
    with pytest.raises(TuneshotError, match="choose topk"):
        MDL().fit(SMALL)
