"""What is said about messages before a classifier learns from them."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.messages import sample_messages
from clfcore.data.quality import Conflict, Lengths, check_quality, conflict_note, data_card
from clfcore.data.split import normal_form
from clfcore.types import Example


def words(text):
    return len(text.split())


def messages(**counts):
    """So many different messages of each label."""
    return [Example(f"{label} {i}", label) for label, n in counts.items() for i in range(n)]


def test_there_is_nothing_to_say_about_good_data():
    found = check_quality(messages(ham=15, spam=12), words, limit=2)
    assert found.warnings() == []
    assert (found.messages, found.distinct, found.copies, found.conflicts) == (27, 27, 0, 0)
    assert (found.truncated, found.longest) == (0, 2)


def test_everything_that_may_surprise_is_counted_and_said():
    examples = [
        *messages(ham=65, spam=10),
        Example("Win  NOW", "spam"),
        Example("win now", "ham"),
        Example("ham 0", "ham"),
        Example("ham 1", "ham"),
        Example(" \n", "ham"),
        Example("a b c", "spam"),
    ]
    found = check_quality(examples, words, limit=2)
    assert found.labels == {"ham": 69, "spam": 12}
    assert found.imbalance == 69 / 12
    assert found.conflicts_shown == (Conflict("Win  NOW", (75, 76), ("spam", "ham")),)
    assert found.warnings() == [
        "the commonest label has 5.8 times the messages of the rarest; see --balance",
        "1 message holds no text; remove them, or they are learnt",
        "2 messages repeat another one; copies stay in one part of the split",
        "1 message carries more than one label: row 75 and row 76 have the same text with labels "
        "spam and ham ('Win NOW'); correct them, or all of the labels are learnt",
        "1 message has more than 2 tokens; only the first 2 are read",
    ]
    assert json.loads(json.dumps(found.to_dict()))["truncated"] == 1


def test_only_three_conflicts_are_shown():
    copies = [Example(f"message {i} {'x' * 200}", label) for i in range(5) for label in "abc"]
    [warning] = [w for w in check_quality(copies).warnings() if "more than one label" in w]
    assert warning.startswith("5 messages carry")
    assert "row 0, row 1 and row 2 have the same text with labels a, b and c ('message 0" in warning
    assert warning.count("labels a, b and c") == 3
    assert len(warning) < 450
    assert conflict_note(copies).endswith("labels a, b and c; and 2 more; correct them")


def test_copies_with_one_label_are_no_conflict():
    assert conflict_note([Example("Win now", "spam"), Example("win  NOW", "spam")]) is None
    rows = [Example("a", "x"), Example("b", "x"), Example("A", "y"), Example("a ", "x")]
    assert conflict_note(rows) == (
        "row 0 and row 2 have the same text with labels x and y; correct them"
    )
    found = check_quality(rows)
    assert (found.copies, found.conflicts, found.distinct) == (1, 1, 2)


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        (messages(ham=20), "all messages have the label ham; a classifier needs two"),
        (messages(ham=20, spam=1), "label 'spam' has 1 different message; the split refuses"),
        (
            [*messages(ham=20), *[Example("win", "spam")] * 20],
            "label 'spam' has 1 different message; the split refuses",
        ),
        (messages(a=1, b=1, c=9, d=9, e=10), "4 labels have fewer than 10 different messages"),
    ],
)
def test_what_the_split_refuses_is_said_here_too(examples, said):
    assert any(said in warning for warning in check_quality(examples).warnings())


def test_lengths_are_counted_only_where_asked():
    examples = messages(ham=10, spam=10)
    found = check_quality(examples)
    assert (found.limit, found.truncated, found.longest) == (None, None, None)
    found = check_quality(examples, words)
    assert (found.limit, found.truncated, found.longest) == (None, None, 2)


@given(
    st.lists(st.builds(Example, st.text("aA b", max_size=3), st.sampled_from("xyz")), min_size=1),
    st.integers(0, 4),
)
def test_the_counts_add_up(examples, limit):
    found = check_quality(examples, len, limit)
    assert sum(found.labels.values()) == found.messages
    distinct_with_label = {(normal_form(e.text), e.label) for e in examples}
    assert found.copies == found.messages - len(distinct_with_label)
    assert found.conflicts <= found.distinct
    assert len(found.conflicts_shown) == min(3, found.conflicts)
    assert found.truncated == sum(len(e.text) > limit for e in examples)
    counts = Counter(e.label for e in examples)
    assert found.imbalance == max(counts.values()) / min(counts.values()) >= 1
    for warning in found.warnings():
        assert "\n" not in warning


# --- the card -----------------------------------------------------------------------------------


def test_a_card_says_how_much_of_what_how_long_and_whose():
    texts = ["a", "bb cc", "ddd e f", "  "]
    labels = ["ham", "ham", "spam", "ham"]
    examples = [Example(text, label) for text, label in zip(texts, labels, strict=True)]
    card = data_card(examples, "mine.tsv", lambda text: len(text.split()))
    assert (card.instances, card.classes, card.imbalance) == (4, {"ham": 3, "spam": 1}, 3)
    assert card.empty == 1
    assert card.characters == Lengths(shortest=1, median=3.5, mean=15 / 4, longest=7)
    assert card.tokens == Lengths(shortest=0, median=1.5, mean=6 / 4, longest=3)
    assert (card.source, card.licence) == ("mine.tsv", None)
    assert card.rows()["characters"] == "1 – 7, median 3.5, mean 3.8"
    assert card.rows()["licence"] == "not stated"


def test_what_is_known_by_its_content_has_its_licence_under_any_name():
    sample = sample_messages().examples
    card = data_card(sample, "renamed.csv", len)
    assert (card.source, card.licence) == (
        "sample messages, written for this project",
        "Apache-2.0",
    )
    assert data_card(sample[1:], "a part", len).licence is None
