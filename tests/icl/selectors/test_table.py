import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.base import ListScore
from icl.selectors.similar import TopK
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from tests.icl.selectors.test_filters import check_selector_refills_what_filters_leave_out
from tests.support.doubles import EXAMPLES, HashedWords, make_pool
from tests.support.newest import Newest

WORDS = ["win", "cash", "dinner", "call", "now", "later", "see", "you", "7", "!"]
texts = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)


SMALL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])


class Opinionated:
    """A reader that finds long lists of short messages the clearest."""

    def on_progress(self, stage, done, total, figures):
        assert 0 < done <= total

    def fitting(self, query, ranked, order):
        return tuple(order)

    def code_lengths(self, query, lists):
        return [(1 + sum(rows) % 7) / (1 + len(rows)) for rows in lists]

    def next_tokens(self, query, rows):
        (vector,) = HashedWords().embed([query])
        return vector - np.log(np.exp(vector).sum())

    def read(self, query, lists, whole=False):
        def score(rows):
            sure = len(rows) / (1 + sum(rows) % 7)
            return ListScore(np.array([-sure, -1.0]), np.array([1, 1]), np.array([-1.0, -2.0]))

        return [score(rows) for rows in lists]


def select(name, pool, queries, k, seed=0):
    vectors = HashedWords().embed(queries)
    return SELECTORS[name](seed=seed).fit(pool, Opinionated()).select(queries, vectors, k)


def brute_force(pool, query, k):
    """Top-k of each label, by the definition: a sort, then a walk."""
    similarity = (pool.vectors @ HashedWords().embed([query])[0]).round(6)
    seen, counts, rows = {normal_form(query)}, {}, []
    for row in sorted(range(len(pool)), key=lambda row: (-similarity[row], row)):
        form, label = normal_form(pool.texts[row]), pool.labels[row]
        if form not in seen and counts.get(label, 0) < k:
            seen.add(form)
            counts[label] = counts.get(label, 0) + 1
            rows.append(row)
    return rows


@given(st.lists(st.tuples(texts, st.sampled_from(["ham", "spam"])), min_size=1), texts, st.data())
def test_topk_equals_brute_force_in_a_pool_full_of_duplicates(messages, query, data):
    pool = make_pool(*zip(*messages, strict=True))
    usable = len(set(pool.groups) - {pool.group_of(query)})
    k = data.draw(st.integers(0, usable))
    (selection,) = select("topk", pool, [query], k)
    assert selection.rows == brute_force(pool, query, k)


@given(
    st.sampled_from(list(SELECTORS)),
    st.lists(st.tuples(texts, st.sampled_from(["ham", "spam"])), min_size=1),
    st.lists(texts, min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_every_selector_keeps_its_promises(name, messages, queries, k):
    pool = make_pool(*zip(*messages, strict=True))
    usable = min(len(set(pool.groups) - {pool.group_of(query)}) for query in queries)
    k = min(k, usable)
    for query, selection in zip(queries, select(name, pool, queries, k), strict=True):
        groups = [pool.groups[row] for row in selection.rows]
        assert len(set(groups)) == len(groups), "two copies of one message"
        assert pool.group_of(query) not in groups, "a copy of the query"
        labels = [pool.labels[row] for row in selection.rows]
        assert all(labels.count(label) <= k for label in labels), "more than k of a label"
        assert name == "zero" or len(selection.rows) >= k, "fewer than k in all"


@pytest.mark.parametrize("name", SELECTORS)
def test_an_answer_does_not_depend_on_the_batch(name):
    queries = ["win cash", "see you at dinner", "", "call now"]
    together = select(name, SMALL, queries, 3)
    apart = [select(name, SMALL, [query], 3)[0] for query in queries]
    backwards = select(name, SMALL, queries[::-1], 3)[::-1]
    assert together == apart == backwards


@pytest.mark.parametrize("name", ["random", "balanced_random"])
def test_random_draws_differ_between_messages_and_seeds_only(name):
    queries = [f"message {i}" for i in range(20)]
    draws = select(name, SMALL, queries, 2)
    assert len({tuple(draw.rows) for draw in draws}) > 1
    assert draws == select(name, SMALL, queries, 2)
    assert draws != select(name, SMALL, queries, 2, seed=1)


def test_a_copied_message_is_not_drawn_more_often():
    pool = make_pool(["mass mailing 1"] * 50 + ["a", "b", "c"], ["spam"] * 53)
    draws = select("random", pool, [f"query {chr(97 + i % 26)}{i}" for i in range(400)], 1)
    share = np.mean([pool.texts[draw.rows[0]].startswith("mass") for draw in draws])
    assert share == pytest.approx(1 / 4, abs=0.08)


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("query", [example.text for example in EXAMPLES[:2]])
def test_selector_never_returns_the_query(name, query):
    (selection,) = select(name, SMALL, [query], len(EXAMPLES) - 1)
    assert query not in [SMALL.texts[row] for row in selection.rows]


def test_equally_similar_messages_come_in_pool_order():
    pool = make_pool(["b x", "a x", "c x"], ["ham"] * 3)
    same = Pool(pool.texts, pool.labels, np.tile(pool.vectors[:1], (3, 1)), pool.groups)
    for size in (1, 7, 64):  # the shape of the product must not decide
        selections = TopK().fit(same).select(["q"] * size, np.tile(same.vectors[:1], (size, 1)), 3)
        assert all(selection.rows == [0, 1, 2] for selection in selections)


def test_topk_similarities_are_cosines_of_the_rows():
    (selection,) = select("topk", SMALL, ["win a prize"], 4)
    cosines = SMALL.vectors[selection.rows] @ HashedWords().embed(["win a prize"])[0]
    assert selection.similarities == pytest.approx(cosines.tolist(), abs=1e-6)


@pytest.mark.parametrize("name", [name for name in SELECTORS if name != "zero"])
@pytest.mark.parametrize(("query", "usable"), [("new", 10), (EXAMPLES[0].text, 9)])
def test_k_beyond_the_pool_is_refused_with_the_largest_k(name, query, usable):
    assert select(name, SMALL, [query], usable)
    with pytest.raises(TuneshotError, match=f"choose k from 0 to {usable}"):
        select(name, SMALL, [query], usable + 1)


def test_more_queries_than_a_block():
    queries = [f"win {i % 7} cash" for i in range(1100)]
    found = select("topk", SMALL, queries, 2)
    assert len(found) == 1100
    assert found[1099] == select("topk", SMALL, queries[1099:], 2)[0]


# --- a new selector: its class and its line in the table -----------------------------------------


def test_a_new_selector_is_a_setting_with_options_and_under_contract(monkeypatch):
    monkeypatch.setitem(SELECTORS, "newest", Newest)
    assert FewShotConfig(selector="newest", options={"size": 3}).options == {"size": 3}
    with pytest.raises(TuneshotError, match="size must be 1 or more, not 0"):
        FewShotConfig(selector="newest", options={"size": 0})
    with pytest.raises(TuneshotError, match=r"choose from zero, .*, newest"):
        FewShotConfig(selector="latest")
    test_an_answer_does_not_depend_on_the_batch("newest")
    test_selector_never_returns_the_query("newest", EXAMPLES[0].text)
    test_k_beyond_the_pool_is_refused_with_the_largest_k("newest", "new", 10)
    check_selector_refills_what_filters_leave_out("newest")


@pytest.mark.slow
def test_a_new_selector_is_on_the_command_line_and_on_the_page():
    program = """
from icl.selectors.table import SELECTORS
from tests.icl.selectors.test_filters import check_selector_refills_what_filters_leave_out
from tests.support.newest import Newest
SELECTORS["newest"] = Newest  # before anything else is imported, as in the table
from typer.testing import CliRunner
from icl.chat.controls import pickers
from icl.cli.icl import app
from icl.session.settings import Settings

def run(*arguments):
    return CliRunner().invoke(app, arguments).output

assert "newest" in run("classify", "--help")
assert "Newest first: The messages that came last (Nobody 2026)" in run("selectors")
assert "The messages most similar to yours (KATE, Liu et al. 2022)" in run("selectors")
assert "Any messages, whatever their label (" not in run("selectors")
assert Settings(selector="newest").selector == "newest"
options = {option.id: option for option in pickers()[0].options}
newest = options["newest"]
assert (newest.name, newest.description) == ("Newest first", "The messages that came last")
assert "votek_two_stage" not in options
"""
    wide = {**os.environ, "COLUMNS": "400", "TERMINAL_WIDTH": "400"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=wide)
    assert run.returncode == 0, run.stderr
