"""What prompts showed, counted and in words."""

from clfcore.evaluation.shown import labels_in_words, number_in_words, pooled, summary_of

FULL = {"labels": ["ham", "spam", "ham", "spam"]}
SHORT = {"labels": ["ham"]}


def test_a_summary_counts_examples_and_labels_of_a_prompt():
    assert summary_of([FULL, FULL, SHORT, SHORT], ["ham", "spam", "eggs"]) == {
        "messages": 4, "mean": 2.5, "least": 1, "labels": {"ham": 1.5, "spam": 1.0, "eggs": 0.0}
    }  # fmt: skip
    assert summary_of([], ["ham"]) is None
    assert summary_of([{"labels": []}], ["ham"])["mean"] == 0  # a prompt without examples


def test_every_message_counts_the_same_in_several_summaries_together():
    parts = [[FULL] * 3, [SHORT]]
    together = pooled([summary_of(part, ["ham", "spam"]) for part in parts])
    assert together == summary_of([*parts[0], *parts[1]], ["ham", "spam"])
    assert pooled([]) is None


def test_words_say_mean_least_and_labels():
    summary = summary_of([FULL, FULL, SHORT], ["ham", "spam"])
    assert number_in_words(summary) == "3.0, least 1"
    assert labels_in_words(summary) == "ham 1.7, spam 1.3"
    assert number_in_words(None) == labels_in_words(None) == "–"
    many = summary_of([{"labels": ["0"]}], [str(n) for n in range(77)])
    assert labels_in_words(many) == "77 labels, 0.00 to 1.00 each"
