import pytest

from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.pool.pool import Pool
from tests.support.doubles import EXAMPLES, HashedWords


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


def test_rows_stay_aligned():
    pool = Pool.build(EXAMPLES, HashedWords())
    assert len(pool) == len(EXAMPLES)
    for row, example in enumerate(EXAMPLES):
        assert (pool.texts[row], pool.labels[row]) == (example.text, example.label)
        assert (pool.vectors[row] == HashedWords().embed([example.text])[0]).all()


def test_copies_that_differ_in_case_or_spacing_are_one_group():
    texts = ["Call me now!", "something else", " CALL me  NOW! "]
    pool = Pool.build([Example(text, "spam") for text in texts], HashedWords())
    assert pool.groups.tolist() == [0, 1, 0]
    assert pool.representatives.tolist() == [0, 1]
    assert pool.group_of("call ME now!") == 0
    assert pool.group_of("never seen") is None


def test_labels_are_listed_once_in_order():
    assert Pool.build(EXAMPLES, HashedWords()).label_names == ("spam", "ham")


def test_an_empty_pool_is_refused():
    with pytest.raises(TuneshotError, match="at least one labelled message"):
        Pool.build([], HashedWords())


def test_what_is_taught_stands_first_and_replaces_its_copies():
    pool = Pool.build(EXAMPLES, HashedWords())
    known, new = EXAMPLES[3].text.upper(), "a message nobody has seen"
    other = {"ham": "spam", "spam": "ham"}[EXAMPLES[3].label]
    taught = pool.with_added([Example(known, other), Example(new, "spam")], HashedWords())
    assert taught.texts[:2] == (known, new)
    assert taught.labels[:2] == (other, "spam")
    assert len(taught) == len(pool) + 1
    assert EXAMPLES[3].text not in taught.texts
    for row, text in enumerate(taught.texts):
        assert (taught.vectors[row] == HashedWords().embed([text])[0]).all()


def test_what_is_taught_may_be_shown_to_a_copy_of_itself_and_nothing_else_may():
    pool = Pool.build(EXAMPLES, HashedWords()).with_added(
        [Example("new one", "spam")], HashedWords()
    )
    assert pool.group_of("NEW one") is None
    for text in pool.texts[1:]:
        assert pool.group_of(text) is not None


def test_of_a_message_that_is_taught_twice_the_last_label_counts():
    pool = Pool.build(EXAMPLES, HashedWords())
    twice = [Example("new one", "spam"), Example("NEW  one", "ham")]
    taught = pool.with_added(twice, HashedWords())
    assert (taught.texts[0], taught.labels[0]) == ("NEW  one", "ham")
    assert len(taught) == len(pool) + 1


def test_teaching_nothing_changes_nothing():
    pool = Pool.build(EXAMPLES, HashedWords())
    assert pool.with_added([], HashedWords()) is pool
