"""The bundled pairs keep what is said of them; tables of one's own are read or refused."""

import json
from collections import Counter

import pytest

from clfcore.alignment.preferences import BUNDLED, COLUMNS, hold_out, read_preferences
from clfcore.alignment.settings import AlignConfig
from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError
from clfcore.weights.bases import reading_of
from tests.support.lazy import lazy

language_model = lazy("clfcore.weights.language_model")
PAIRS = read_preferences()


def ratio(a: int, b: int) -> float:
    return max(a, b) / min(a, b)


# --- the bundled pairs ----------------------------------------------------------------------------


def test_there_are_256_pairs_of_16_topics_in_a_small_file():
    topics = Counter(pair.topic for pair in PAIRS)
    assert len(PAIRS) == 256
    assert len(topics) == 16
    assert set(topics.values()) == {16}
    assert BUNDLED.stat().st_size < 150_000


@pytest.mark.parametrize("seed", range(5))
def test_at_least_80_of_them_are_held_out_by_topic(seed):
    train, held_out = hold_out(PAIRS, AlignConfig().held_out, seed)
    assert len(train) + len(held_out) == len(PAIRS)
    assert len(held_out) >= 80
    assert not {pair.topic for pair in train} & {pair.topic for pair in held_out}


def test_no_question_and_no_answer_stands_there_twice():
    texts = [normal_form(text) for p in PAIRS for text in (p.context, p.better, p.worse)]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_both_answers_are_equally_long_in_characters_and_in_tokens():
    encode, _ = reading_of("gpt2-mini")
    for pair in PAIRS:
        assert ratio(len(pair.better), len(pair.worse)) <= 1.1, pair.better
        assert ratio(len(encode(pair.better)), len(encode(pair.worse))) <= 1.1, pair.better


@pytest.mark.slow
def test_they_are_equally_long_in_the_tokens_of_the_model_that_learns_them():
    tokenizer, _ = language_model.load_transformer("SmolLM2-135M-Instruct", "AutoConfig")
    for pair in PAIRS:
        better, worse = (len(tokenizer(text).input_ids) for text in (pair.better, pair.worse))
        assert ratio(better, worse) <= 1.1, pair.better


def test_who_always_takes_the_longer_or_the_shorter_answer_is_right_by_chance():
    encode, _ = reading_of("gpt2-mini")
    for length in (len, lambda text: len(encode(text))):
        differences = [length(pair.better) - length(pair.worse) for pair in PAIRS]
        longer = sum((d > 0) + (d == 0) / 2 for d in differences) / len(PAIRS)
        assert 0.42 < longer < 0.58
        assert abs(sum(differences)) < len(PAIRS)  # less than one on average


def test_no_pair_names_a_real_address_or_number():
    for pair in PAIRS:
        for text in (pair.context, pair.better, pair.worse):
            assert "http" not in text
            assert "www." not in text
            assert ".com" not in text
            assert text.isprintable()


# --- tables of one's own --------------------------------------------------------------------------

ROWS = [
    {"context": "a?", "better": "yes", "worse": "no", "topic": "one"},
    {"context": "b?", "better": "good", "worse": "bad", "topic": "two"},
]


def written(folder, rows, name="mine.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_json_lines_and_csv_say_the_same(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("topic,context,better,worse\none,a?,yes,no\ntwo,b?,good,bad\n")
    assert read_preferences(path) == read_preferences(written(tmp_path, ROWS))


def test_a_row_becomes_a_pair(tmp_path):
    (pair, _) = read_preferences(written(tmp_path, ROWS))
    assert {column: getattr(pair, column) for column in COLUMNS} == ROWS[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"better": ""}, "pair 2: better has no text; fill it in or remove the row"),
        ({"worse": None}, "pair 2: worse has no text"),
        ({"topic": 3}, "pair 2: topic has no text"),
        ({"worse": "good"}, "pair 2: both answers are the same"),
        ({"context": "a?"}, "also stands under the topic 'one'"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path, change, reason):
    path = written(tmp_path, [ROWS[0], {**ROWS[1], **change}])
    with pytest.raises(TuneshotError, match=reason):
        read_preferences(path)


def test_a_missing_column_is_named_with_those_that_there_should_be(tmp_path):
    path = written(tmp_path, [{"context": "a?", "better": "yes", "worse": "no"}])
    with pytest.raises(TuneshotError, match="topic"):
        read_preferences(path)


def test_pairs_of_one_topic_cannot_be_held_out(tmp_path):
    pairs = read_preferences(written(tmp_path, [ROWS[0], {**ROWS[1], "topic": "one"}]))
    with pytest.raises(TuneshotError, match="have 1 topic, and whole topics are held out"):
        hold_out(pairs, 0.5, 0)


def test_one_topic_is_always_left_to_learn_from_and_the_seed_draws_them():
    assert len({pair.topic for pair in hold_out(PAIRS, 0.999, 0)[0]}) == 1
    drawn = {tuple(sorted({p.topic for p in hold_out(PAIRS, 0.35, seed)[1]})) for seed in range(9)}
    assert len(drawn) > 5
    assert hold_out(PAIRS, 0.35, 3) == hold_out(PAIRS, 0.35, 3)


def test_held_out_pairs_may_stop_or_choose_nothing():
    for choice in ({"keep": "best"}, {"patience": 2}):
        with pytest.raises(TuneshotError, match="held-out pairs only measure"):
            AlignConfig(**choice)
