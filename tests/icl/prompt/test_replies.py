"""What a reply in words says; what is not an answer is no answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icl.prompt.replies import parse_label

WORDS = {"ham": (" ham", " normal"), "spam": (" spam",)}


def of(*labels):
    """Each label is its own word."""
    return {label: (f" {label}",) for label in labels}


@pytest.mark.parametrize(
    "reply",
    ["spam", "Spam", " SPAM ", "spam.", "spam!", "**Spam**", '"spam"', "„Spam“", "`spam`",
     "(spam)", "Label: spam", "Label: **Spam**.", "Type: spam", "The answer is spam", "It is spam.",
     "ｓｐａｍ", "This message is SPAM, because it promises a prize.",
     "Spam because it isn't from a friend",
     "Sure! The label is:\nspam", "Sure!\n\nThe label is spam.", "- spam", "spam - not legit",
     "{\"label\": \"spam\"}", "<think>ham or not?</think> spam", "\\boxed{spam}", "<b>spam</b>",
     "No, this is spam.", "I am not sure, but it looks like spam", "Spam. Spam, clearly.",
     "spam\n\nSMS: see you\nType: ham", "Das ist Spam."],
)  # fmt: skip
def test_a_reply_that_names_one_label_is_an_answer(reply):
    assert parse_label(reply, WORDS) == "spam"


@pytest.mark.parametrize(
    "reply",
    ["", " ", "I cannot help with that.", "I'm sorry, I can't help with this spam.", "positive",
     "spammer", "spammer hamster", "hamlet", "unspam", "?", "…", "0", "\n"],
)  # fmt: skip
def test_a_reply_that_names_no_label_is_no_answer(reply):
    assert parse_label(reply, WORDS) is None


@pytest.mark.parametrize(
    "reply",
    ["ham or spam", "spam/ham", "ham, spam", "spam\nham", "spam_ham", "It is ham, not spam.",
     "neither ham nor spam", "It could be normal or spam"],
)  # fmt: skip
def test_a_reply_that_names_two_labels_is_no_answer(reply):
    assert parse_label(reply, WORDS) is None


@pytest.mark.parametrize(
    "reply",
    ["not spam", "Not spam.", "It is not spam", "It's not a spam message", "isn't spam",
     "It isn’t spam", "This isn't really spam.", "no spam", "No spam here",
     "I don't think it is spam", "There is no sign of spam", "never spam", "non-spam", "anti-spam",
     "spam-free", "spam it is not", "Spam is not what this is", "cannot be spam", "without spam",
     "kein Spam", "Das ist kein Spam.", "nicht Spam", "Spam ist das nicht.", "spam? No.",
     "Is it spam?", "not ham", "spam: no", "{\"spam\": false}", "It is unlikely to be spam",
     "It is hardly spam", "Nein, das ist nicht Spam", "ce n'est pas spam", "<think>It is spam"],
)  # fmt: skip
def test_what_it_is_not_is_no_answer(reply):
    assert parse_label(reply, WORDS) is None


STARS = {
    "2": (" very negative",),
    "1": (" negative",),
    "0": (" okay", " OK"),
    "-1": (" positive",),
}


@pytest.mark.parametrize(
    ("reply", "label"),
    [("Very negative!", "2"), ("very, negative", "2"), ("very-negative", "2"), ("Negative.", "1"),
     ("very ok", "0"), ("It is very negative", "2"), ("very negative or negative", None)],
)  # fmt: skip
def test_the_longest_label_that_begins_there_wins(reply, label):
    assert parse_label(reply, STARS) == label


@pytest.mark.parametrize("label", ["sport", "sport shop", "shop", "shopping"])
def test_a_label_that_is_a_part_of_another_is_told_from_it(label):
    labels = of("sport", "sport shop", "shop", "shopping")
    for reply in (label, label.title(), f'The label is "{label}".', f"{label}\n\nText: sport"):
        assert parse_label(reply, labels) == label


@pytest.mark.parametrize(
    ("labels", "reply", "label"),
    [
        (("Ärger", "Freude"), "ÄRGER", "Ärger"),
        (("Ärger", "Freude"), "Das ist A\u0308rger.", "Ärger"),
        (("Ärger", "Freude"), "keine Freude", None),
        (("groß", "klein"), "GROSS", "groß"),
        (("lieferung verspätet", "lieferung"), "Label: Lieferung verspätet", "lieferung verspätet"),
        (("спам", "не спам"), "Это не спам.", "не спам"),
        (("спам", "письмо"), "Это не спам.", None),
        (("垃圾邮件", "正常"), "答案是垃圾邮件。", "垃圾邮件"),
        (("垃圾邮件", "正常"), "不是垃圾邮件", None),
        (("満足", "不満足"), "不満足です", "不満足"),
        (("offensive", "not offensive"), "It is not offensive", "not offensive"),
        (("yes", "no"), "No, it is not.", "no"),
        (("yes", "no"), "not yes", None),
        (("don't know", "know"), "I don’t know", "don't know"),
        (("0", "1"), "Label 1", "1"),
        (("1", "-1"), "The rating is -1.", "-1"),
        (("0.0", "1.0"), "It is 1.0", "1.0"),
        (("4", "5"), "4.5", None),
        (("Praise", "praise"), "praise", "praise"),
        (("C", "C++"), "C++.", "C++"),
        (("😀", "😞"), "😞", "😞"),
        (("not_hate", "hate"), "not_hate", "not_hate"),
        (("sci-fi", "drama"), "Genre: sci-fi", "sci-fi"),
    ],
)
def test_labels_of_any_language_and_any_signs_are_read(labels, reply, label):
    assert parse_label(reply, of(*labels)) == label


@given(
    st.lists(st.text(st.characters(categories=["L", "N"]), min_size=2), min_size=2, max_size=5,
             unique_by=str.casefold)
)  # fmt: skip
def test_a_label_alone_is_itself_whatever_the_labels(labels):
    for label in labels:
        assert parse_label(label, of(*labels)) == label


def test_a_word_of_two_labels_is_no_answer():
    words = {"month": (" May", " june"), "verb": (" may",)}
    assert parse_label("It is MAY", words) is None
    assert parse_label("May", words) == "month"


def test_an_article_is_not_choice_a():
    choices = {letter: (f" {letter}",) for letter in "ABCDE"}
    assert parse_label("It is a library, so (B).", choices) == "B"
    assert parse_label("a)", choices) == "A"
    assert parse_label("B or C", choices) is None
