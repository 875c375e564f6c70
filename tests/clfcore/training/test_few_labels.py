"""With few messages of each label: a head that is fitted first, and enough steps."""

from dataclasses import replace

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from clfcore.model.gpt import GPTModel
from clfcore.training.recipe import fine_tune_on
from clfcore.training.settings import TrainConfig, settings_for
from clfcore.types import Example
from clfcore.weights.bases import Base
from tests.support.tiny import CFG, tiny

LABELS = ("one", "two", "three")
# The label is the first token, and one message in two is of the first label.
RNG = np.random.default_rng(0)
EXAMPLES = [
    Example(" ".join(map(str, [7 + label, *RNG.integers(100, 140, 5)])), LABELS[label])
    for label in RNG.choice(3, 60, p=[0.5, 0.25, 0.25]).tolist()
]
ONCE = [1.0] * len(EXAMPLES)
QUICK = TrainConfig(
    balance="none", epochs=1, batch_size=20, precision="float32", learning_rate=1e-4
)


def learn(config, examples=EXAMPLES):
    trunk: GPTModel = tiny(classes=3).trunk
    for weight in trunk.out_head.parameters():
        weight.data.zero_()
    base = Base("tiny", trunk, lambda text: [int(word) for word in text.split()], None)
    assert base.trunk.cfg == CFG
    return fine_tune_on(base, examples, examples, LABELS, config, about={})


@pytest.mark.parametrize("layers", ["last_block", "all", "lora"])
@pytest.mark.parametrize("balance", ["none", "oversample", "class_weights"])
def test_a_head_that_is_fitted_first_has_a_head_start(layers, balance):
    config = replace(QUICK, layers=layers, balance=balance)
    undecided, fitted = (
        learn(replace(config, fit_head_first=first)).history[0] for first in (False, True)
    )
    assert fitted.val_loss < undecided.val_loss - 0.1
    assert fitted.train_loss < undecided.train_loss


def test_the_fitted_head_leaves_the_trunk_something_to_learn():
    still = replace(QUICK, learning_rate=1e-12, embedding_learning_rate=1e-12, fit_head_first=True)
    first, features = learn(still), learn(replace(still, layers="none", fit_head_first=False))
    assert features.classifier.predict([EXAMPLES[0].text])[0].label == EXAMPLES[0].label
    assert 0.1 < first.history[-1].train_loss < np.log(3)


def test_few_messages_are_shown_in_more_epochs_until_there_are_enough_steps():
    for least, epochs in ((1, 2), (6, 2), (7, 4), (12, 4), (13, 6)):
        run = learn(replace(QUICK, epochs=2, least_steps=least))  # three steps an epoch
        assert run.history[-1].step == run.history[-1].steps == 3 * epochs
        assert run.classifier.meta.about["train"]["epochs"] == epochs


def test_by_default_nothing_of_this_changes_a_run():
    for base in ("gpt2", "gpt2-mini"):
        config = settings_for(base)
        assert (config.fit_head_first, config.least_steps) == (False, 1)


# --- practice texts -----------------------------------------------------------------------------


@pytest.fixture
def teacher(monkeypatch):
    """A teacher that has vectors by the first word; practice texts are the messages, shuffled."""
    from clfcore.weights import practice as module

    def vectors(texts, stage, on_progress):
        first = [int(text.split()[0]) % 3 for text in texts]
        return np.eye(3, dtype=np.float32)[first]

    monkeypatch.setattr(module, "teacher_vectors", vectors)
    monkeypatch.setattr(
        module,
        "practice_texts",
        lambda texts, count, rng: [texts[i] for i in rng.integers(0, len(texts), count)],
    )
    return module.practice


def test_a_message_is_to_be_answered_by_its_label_and_a_practice_text_as_the_teacher_does(teacher):
    texts, labels = [e.text for e in EXAMPLES], [LABELS.index(e.label) for e in EXAMPLES]
    wrong = [(labels[0] + 1) % 3, *labels[1:]]
    made, targets = teacher(texts, wrong, ONCE, 3, 50, 0, lambda *_: None)
    assert len(made) == 50
    assert targets.shape == (len(texts) + 50, 3)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    taught = targets[len(texts) :].argmax(axis=1)
    assert taught.tolist() == [(int(text.split()[0]) - 7) % 3 for text in made]
    assert 0.5 < targets[0, wrong[0]] < 1  # half its label, and the teacher knows better
    assert targets[0, labels[0]] > 0.3
    again, same = teacher(texts, wrong, ONCE, 3, 50, 0, lambda *_: None)
    assert again == made
    np.testing.assert_array_equal(same, targets)


def test_practice_texts_are_learned_beside_the_messages(teacher):
    """Seven times as much to learn from."""
    alone, beside = (
        learn(replace(QUICK, layers="all", learning_rate=3e-3, practice=count))
        for count in (0, 400)
    )
    assert (alone.history[-1].steps, beside.history[-1].steps) == (3, 23)
    assert beside.history[-1].examples_seen == len(EXAMPLES) + 400
    assert beside.history[-1].val_loss < alone.history[-1].val_loss - 0.2


def test_without_practice_nothing_of_it_is_loaded(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "clfcore.weights.practice", None)
    assert learn(QUICK).history[-1].steps == 3


def test_messages_without_a_word_are_no_practice(teacher):
    with pytest.raises(TuneshotError, match="none with a word; add some, or choose practice 0"):
        teacher(["", "a", " "], [0, 0, 1], [1, 0, 1], 2, 5, 0, lambda *_: None)
