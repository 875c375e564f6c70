import pytest
from icl_doubles import EXAMPLES, HashedWords

from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.pool import Pool


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
