"""The committed gpt2-mini: what it promises, and what its practice is made of."""

from pathlib import Path

import numpy as np
import pytest

from clfcore.data.messages import sample_messages
from clfcore.data.split import content_hash, grouped_stratified_split, normal_form
from clfcore.data.tables import read_labelled
from clfcore.evaluation.evaluate import evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.weights.meta import BUNDLED
from tests.support.lazy import lazy

text_features = lazy("sklearn.feature_extraction.text")
linear_model = lazy("sklearn.linear_model")
metrics = lazy("sklearn.metrics")
pipeline = lazy("sklearn.pipeline")
distill = lazy("clfcore.weights.distill")

CORPUS = Path(__file__).parents[4] / "shared/data/sms_spam/SMSSpamCollection"
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
    assert m.figures["ece"] <= 0.02
    assert m.accuracy.value == mini.meta.about["test_metrics"]["accuracy"]["value"]


@needs_corpus
@pytest.mark.slow
@pytest.mark.parametrize("unit", [{"ngram_range": (1, 2)},
                                  {"analyzer": "char_wb", "ngram_range": (2, 5)}])  # fmt: skip
def test_it_ranks_unlike_messages_better_than_bags_of_words(mini, unit):
    """The peer is fitted on the same training part; neither has seen the sample."""
    examples = read_labelled(CORPUS)
    train = [examples[row] for row in grouped_stratified_split(examples).train]
    peer = pipeline.make_pipeline(
        text_features.TfidfVectorizer(sublinear_tf=True, **unit),
        linear_model.LogisticRegression(C=10, class_weight="balanced", max_iter=2000),
    ).fit([e.text for e in train], [e.label == "spam" for e in train])
    sample = sample_messages().examples
    scores = peer.predict_proba([e.text for e in sample])[:, 1]
    theirs = metrics.roc_auc_score([e.label == "spam" for e in sample], scores)
    assert evaluate(mini, sample).metrics.figures["auc"] > theirs + 0.01


def test_practice_texts_are_made_of_messages_and_common_words_and_repeat_for_a_seed():
    messages = ["see you at eight", "win a prize now"]
    made = distill.practice_texts(messages, 200, np.random.default_rng(0))
    assert made == distill.practice_texts(messages, 200, np.random.default_rng(0))
    assert len(made) == 200
    assert all(text and normal_form(text) for text in made)
    own = set(" ".join(messages).split())
    words = [word for text in made for word in text.lower().split()]
    assert 0.2 < np.mean([word in own for word in words]) < 0.9
