"""Which words moved the fine-tuned answer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore.attribution import attribute
from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.model.adapters import adapt
from clfcore.model.classifier import TextClassifier
from clfcore.model.spec import POSITIONS, Reading
from clfcore.model.tokenizer import encode
from clfcore.weights.bases import load_base
from clfcore.weights.meta import Meta
from tests.support.doubles import save_tiny_lm
from tests.support.tiny import CFG, LABELS, tiny

LECTURE = (
    "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."
)
LONG = "some words 🎉🎉 of a message that is longer than the context of the model " * 5
NASTY = ["a", "🎉", "🎉🎉 naïve 🍕🍕", "  win\n\n a\tprize  ", "half a pair \ud800", "x" * 500,
         "a\0b \x1c c", "win " * 2000, LONG]  # fmt: skip


def fine_tuned(position="last_token", classes=2):
    reading = Reading(position, 12 if position == "last_column" else None)
    labels = LABELS if classes == 2 else tuple(f"class {i}" for i in range(classes))
    model = tiny(reading=reading, classes=classes)
    return FineTuned(model, Meta("tiny", labels, CFG, reading=reading))


def log_odds(model, text, label):
    """From ``predict``, in its own way: the tiny model is never so sure that this loses digits."""
    p = model.predict([text])[0].probabilities[label]
    return math.log(p) - math.log(1 - p)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("classes", [2, 4])
def test_occlusion_is_the_difference_of_two_separate_predictions(position, classes):
    model = fine_tuned(position, classes)
    text = "win a big prize 🎉 now"
    found = attribute(model, text, model.labels[-1])
    assert [word.text for word in found.words] == text.split()
    whole = log_odds(model, text, model.labels[-1])
    for i, word in enumerate(found.words):
        rest = " ".join(text.split()[:i] + text.split()[i + 1 :])
        expected = whole - log_odds(model, rest, model.labels[-1])
        assert word.effect == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("text", NASTY, ids=lambda text: ascii(text[:12]))
def test_any_message_gets_words_that_are_found_where_they_say(text):
    found = attribute(fine_tuned(), text)
    read = text[: len(text) - found.left_out]
    assert found.words
    for word in found.words:
        assert word.text == text[word.start : word.end]
        assert math.isfinite(word.effect)
    assert "".join(word.text for word in found.words).split() == "".join(read.split()).split()


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_words_and_the_white_space_between_them_are_the_message(text):
    found = attribute(fine_tuned(), text)
    kept = text[: len(text) - found.left_out]
    assert [word.text for word in found.words] == kept.split()
    assert sum(word.end - word.start for word in found.words) == len("".join(kept.split()))


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_message_without_words_has_no_effects(text):
    assert attribute(fine_tuned(), text).words == ()


def test_what_is_beyond_the_context_is_counted_and_not_read():
    model = fine_tuned()
    found = attribute(model, LONG)
    read = LONG[: len(LONG) - found.left_out]
    assert len(encode(read)) <= CFG.context_length < len(encode(LONG[: len(read) + 1]))
    again = attribute(model, read + " and something else entirely " * 20)
    assert [w.effect for w in again.words][:5] == pytest.approx(
        [w.effect for w in found.words][:5], abs=1e-4
    )


def test_of_a_long_message_neighbouring_words_are_left_out_together(monkeypatch):
    monkeypatch.setattr("clfcore.attribution._MAX_TOKENS_READ", 40)
    text = "one two three four five six seven"  # 7 tokens, so 5 passes at most
    found = attribute(fine_tuned(), text)
    assert [word.text for word in found.words] == ["one two", "three four", "five six", "seven"]
    monkeypatch.undo()
    assert len(attribute(fine_tuned(), text).words) == 7


def test_the_label_is_the_answer_unless_chosen_and_two_labels_are_opposites():
    model = fine_tuned()
    text = "win a prize"
    answer = model.predict([text])[0].label
    assert attribute(model, text) == attribute(model, text, answer)
    for_ham = attribute(model, text, "ham").words
    for_spam = attribute(model, text, "spam").words
    for ham, spam in zip(for_ham, for_spam, strict=True):
        assert ham.effect == pytest.approx(-spam.effect, abs=1e-5)


def test_nothing_is_left_behind_in_the_model():
    model = fine_tuned()
    before = model.predict(["win a prize"])[0].probabilities
    with torch.no_grad():  # as a server may call it
        attribute(model, "win a prize")
    assert model.predict(["win a prize"])[0].probabilities == before
    assert all(weight.grad is None for weight in model.model.parameters())


def of_transformers(folder, adapter):
    base = load_base(str(save_tiny_lm(folder / "llama", "llama")), classes=2)
    with torch.no_grad():
        base.trunk.out_head.weight.normal_()  # a fresh head is undecided
    model = TextClassifier(base.trunk, Reading())
    adapt(model, adapter, rank=2, total_steps=5, seed=0)
    return FineTuned(model, Meta("tiny", LABELS), base.encode)


def of_ours(folder, adapter):
    model = tiny()
    adapt(model, adapter, rank=2, total_steps=5, seed=0)
    return FineTuned(model, Meta("tiny", LABELS, CFG))


@pytest.mark.parametrize("make", [of_ours, of_transformers])
@pytest.mark.parametrize("adapter", ["lora", "prompt", "ln_tuning"])
def test_every_kind_of_trunk_and_adapter_can_be_asked(tmp_path, make, adapter):
    found = attribute(make(tmp_path, adapter), "win a 🎉 prize", "spam")
    assert [word.text for word in found.words] == ["win", "a", "🎉", "prize"]
    assert all(math.isfinite(word.effect) and word.effect != 0 for word in found.words)


def test_a_label_the_model_does_not_have_is_refused_in_one_line():
    with pytest.raises(TuneshotError, match="unknown label 'eggs'; choose from ham, spam"):
        attribute(fine_tuned(), "win", "eggs")


@pytest.mark.slow
def test_in_the_lectures_message_the_money_speaks_for_spam():
    found = attribute(FineTuned.load(), LECTURE)
    effect = {word.text: word.effect for word in found.words}
    assert found.label == "spam"
    assert min(effect[word] for word in ("winner", "$1000", "cash", "$2000")) > 0
    assert max(effect, key=effect.__getitem__) in ("$1000", "$2000", "cash", "winner")
    assert max(effect.values()) > 2 * max(-value for value in effect.values())
