"""What prompts showed, counted and in words."""

from types import SimpleNamespace

from clfcore.evaluation.shown import (
    labels_in_words,
    number_in_words,
    pooled,
    shown_by,
    summary_of,
)
from clfcore.types import Prediction

FULL = {"labels": ["ham", "spam", "ham", "spam"]}
SHORT = {"labels": ["ham"]}


def answer(*shown):
    columns = ("row", "label", "similarity", "score")
    demonstrations = [SimpleNamespace(**dict(zip(columns, each, strict=True))) for each in shown]
    return SimpleNamespace(demonstrations=demonstrations, dropped=1)


def test_a_record_has_rows_labels_and_what_the_examples_were_ranked_by():
    near = answer((3, "ham", 0.51239, None), (0, "spam", 0.75, None))
    assert shown_by(near) == {
        "examples": 2, "dropped": 1, "rows": [3, 0], "labels": ["ham", "spam"],
        "scores": [0.5124, 0.75],
    }  # fmt: skip
    assert shown_by(near, pool_rows=[70, 71, 72, 73])["rows"] == [73, 70]
    scored = shown_by(answer((1, "ham", 0.5, 7.0)))
    assert (scored["scores"], scored["similarities"]) == ([7.0], [0.5])
    assert shown_by(answer((1, "ham", None, None)))["scores"] is None  # drawn at random
    assert shown_by(answer())["examples"] == 0
    assert shown_by(Prediction("ham", {"ham": 1.0}, 0.0)) is None


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
