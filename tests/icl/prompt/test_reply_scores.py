from math import exp, log

import pytest

from icl.lm.base import ReplyToken
from icl.prompt.reply_scores import reply_scores
from icl.prompt.scoring import softmax

WORDS = {"ham": (" ham",), "spam": (" spam",)}


def written(*places):
    """A reply's tokens: each place's probabilities, that of the reply first."""
    return [
        ReplyToken(next(iter(place)), {token: log(p) for token, p in place.items()})
        for place in places
    ]


def probabilities(tokens, reply, label, words=WORDS):
    found = reply_scores(tokens, reply, label, words)
    return {each: exp(score) for each, score in found.scores.items()}, found.begun


# Two replies of SmolLM2-135M-Instruct behind llama.cpp, and what the model itself says.
HAM = {"ham": 0.211, "sp": 0.071, "h": 0.053, "s": 0.014, "Ham": 0.006, "H": 0.006, "": 0.003}
SPAM = {"sp": 0.236, "ham": 0.103, "h": 0.025, "s": 0.020, "S": 0.006, "H": 0.005}


def test_only_a_labels_own_tokens_count():
    found, begun = probabilities(written(HAM, {"": 0.97, "mer": 0.001}), "ham", "ham")
    assert found == pytest.approx({"ham": 0.211 + 0.006, "spam": 0.071})
    assert begun == ("spam",)
    found, begun = probabilities(written(SPAM, {"am": 0.998, "ams": 0.001}), "spam", "spam")
    assert found == pytest.approx({"ham": 0.103, "spam": 0.236 * 0.998})
    assert begun == ()


def test_the_probabilities_are_those_of_the_model_itself():
    log_p = {"ham": log(0.087), "spam": log(0.236) + log(0.998)}
    found = reply_scores(written(SPAM, {"am": 0.998}), "spam", "spam", WORDS)
    assert softmax(found.scores)["spam"] == pytest.approx(softmax(log_p)["spam"], abs=0.05)


def test_one_letter_that_begins_other_words_is_no_label():
    found, _ = probabilities(written({"ham": 0.4, "s": 0.3, "S": 0.1, ".": 0.01}), "ham", "ham")
    assert found == pytest.approx({"ham": 0.4, "spam": 0.01})


def test_one_letter_is_a_label_where_the_reply_goes_on_to_spell_it():
    tokens = written({"s": 0.5, "ham": 0.3}, {"p": 0.6, "orry": 0.2}, {"am": 0.9, "orts": 0.1})
    found, begun = probabilities(tokens, "spam", "spam")
    assert found == pytest.approx({"ham": 0.3, "spam": 0.5 * 0.6 * 0.9})
    assert begun == ()


def test_labels_that_begin_alike_are_told_apart_by_later_tokens():
    words = {"-": (" very negative",), "+": (" very positive", " positive")}
    tokens = written(
        {"very": 0.7, "positive": 0.2}, {" negative": 0.6, " positive": 0.3}, {"": 0.9, ".": 0.1}
    )
    found, begun = probabilities(tokens, "very negative", "-", words)
    assert found == pytest.approx({"-": 0.42, "+": 0.7 * 0.3 + 0.2})
    assert begun == ()


def test_a_label_that_another_continues_counts_where_it_ends():
    words = {"sport": (" sport",), "shop": (" sport shop",)}
    tokens = written({"sport": 0.8, "The": 0.1}, {" shop": 0.4, "": 0.35, ".": 0.2, "s": 0.05})
    found, _ = probabilities(tokens, "sport shop", "shop", words)
    assert found == pytest.approx({"shop": 0.8 * 0.4, "sport": 0.8 * (0.35 + 0.2)})


def test_a_label_outside_the_table_has_at_most_what_the_last_token_has():
    found, begun = probabilities(written({"spam": 0.9, "!": 0.001}), "spam", "spam")
    assert found == pytest.approx({"spam": 0.9, "ham": 0.001})
    assert begun == ("ham",)


@pytest.mark.parametrize("reply", ["**Spam**", "Label: spam", "The message is spam."])
def test_what_stands_before_the_label_is_taken_as_said(reply):
    before, _, after = reply.partition("pam")
    tokens = written(
        *([{before[:-1]: 0.2, "ham": 0.8}] if before[:-1] else []),
        {before[-1]: 0.7, "ham": 0.2},
        {"pam": 0.9, "orts": 0.1},
        *([{after: 1.0}] if after else []),
    )
    found, _ = probabilities(tokens, reply, "spam")
    assert found == pytest.approx({"spam": 0.7 * 0.9, "ham": 0.2})


def test_what_was_thought_before_the_reply_is_no_part_of_it():
    tokens = written({"<think>spam or ham?</think>": 1.0}, {"ham": 0.6, "spam": 0.3})
    found, _ = probabilities(tokens, "ham", "ham")
    assert found == pytest.approx({"ham": 0.6, "spam": 0.3})


def test_case_tells_choices_apart():
    words = {letter: (f" {letter}",) for letter in "AB"}
    found, _ = probabilities(written({"A": 0.5, "B": 0.3, "a": 0.1, "b": 0.05}), "A", "A", words)
    assert found == pytest.approx({"A": 0.5, "B": 0.3})


def test_tokens_of_another_text_tell_nothing():
    assert reply_scores((), "spam", "spam", WORDS) is None
    assert reply_scores(written({"ham": 0.5}), "spam", "spam", WORDS) is None
