"""The texts written for this project."""

from collections import Counter

import pytest

from clfcore.data.columns import Columns
from clfcore.data.split import near_duplicate_form
from clfcore.data.tables import read_labelled
from clfcore.errors import TuneshotError
from clfcore.forgetting.texts import BUNDLED, OTHER, REPLAYED, read_texts


def test_there_are_a_hundred_of_each_kind_and_no_two_are_alike():
    texts = read_labelled(BUNDLED)
    assert Counter(e.label for e in texts) == {REPLAYED: 100, OTHER: 100}
    assert len({near_duplicate_form(e.text) for e in texts}) == 200
    assert all(40 < len(e.text) < 120 and e.text.isascii() and e.text[-1] == "." for e in texts)


def test_what_is_replayed_is_never_measured_and_stories_are_never_replayed():
    texts = read_texts()
    shown, asked = ({e.text for e in part} for part in (texts.shown, texts.asked))
    assert not shown & asked
    assert len(shown | asked) == 200
    assert set(texts.replayed) < shown
    assert set(texts.like_replayed) < asked
    assert not set(texts.replayed) & set(texts.other)
    assert len(texts.other) == 100


def test_texts_of_the_users_take_the_place_of_the_stories(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("headline,section\nRain in May,1\nSun in June,2\n")
    texts = read_texts(table, Columns("headline", "section"))
    assert texts.other == ["Rain in May", "Sun in June"]
    assert len(texts.replayed) == len(read_texts().replayed)
    with pytest.raises(TuneshotError):
        read_texts(tmp_path / "missing.csv")
