"""The committed gpt2-mini: what it promises, and what its practice is made of."""

from pathlib import Path

import numpy as np
import pytest

from clfcore.data import (
    content_hash,
    grouped_stratified_split,
    normal_form,
    read_labelled,
    sample_messages,
)
from clfcore.distill import practice_texts
from clfcore.evaluate import evaluate
from clfcore.predict import BUNDLED, FineTuned

CORPUS = Path(__file__).parent.parent.parent / "shared/data/sms_spam/SMSSpamCollection"
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="needs ../shared/data/sms_spam")


@pytest.fixture(scope="module")
def mini() -> FineTuned:
    return FineTuned.load()


def test_it_is_small_enough_to_commit():
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 20_000_000


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (
            "You are a winner you have been specially selected to receive "
            "$1000 cash or a $2000 award.",
            "spam",
        ),
        ("Hey, just wanted to check if we're still on for dinner tonight? Let me know!", "ham"),
    ],
)
def test_the_lectures_messages_are_answered_with_confidence(mini, text, label):
    (answer,) = mini.predict([text])
    assert answer.label == label
    assert answer.probabilities[label] >= 0.9


@needs_corpus
def test_it_reaches_its_figures_on_the_test_part(mini):
    examples = read_labelled(CORPUS)
    data = mini.meta.about["data"]
    test = [examples[row] for row in grouped_stratified_split(examples, data["split_seed"]).test]
    assert content_hash(test) == data["test"]["sha256"]
    m = evaluate(mini, test).metrics
    assert m.accuracy.value >= 0.985
    assert m.recall["spam"].value >= 0.93
    assert 1 - m.recall["ham"].value <= 0.005
    assert m.calibration_error <= 0.02
    assert m.accuracy.value == mini.meta.about["test_metrics"]["accuracy"]["value"]


def test_it_ranks_unlike_messages_better_than_bags_of_words(mini):
    """The recorded comparison is in docs/gpt2-mini.md; here: well above chance, no collapse."""
    m = evaluate(mini, sample_messages().examples).metrics
    assert m.auc > 0.85


def test_practice_texts_are_made_of_messages_and_common_words_and_repeat_for_a_seed():
    messages = ["see you at eight", "win a prize now"]
    made = practice_texts(messages, 200, np.random.default_rng(0))
    assert made == practice_texts(messages, 200, np.random.default_rng(0))
    assert len(made) == 200
    assert all(text and normal_form(text) for text in made)
    own = set(" ".join(messages).split())
    words = [word for text in made for word in text.lower().split()]
    assert 0.2 < np.mean([word in own for word in words]) < 0.9
