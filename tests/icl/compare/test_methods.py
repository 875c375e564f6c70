"""Every method that is compared keeps the same promises."""

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.types import Example
from icl.compare.learn import fine_tuning, others
from icl.compare.learn.inputs import MethodInput
from icl.compare.learn.labels import MajorityClass
from icl.compare.methods import METHODS
from icl.prompt.tasks import TASKS, task_with_labels
from tests.support.doubles import EXAMPLES, save_tiny_lm

TEXTS = ["win a prize", "see you at dinner", ""]
# What loads a model of its own is tried in test_run.py, with the real one.
QUICK = [key for key in METHODS if key != "setfit"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return str(save_tiny_lm(folder / "lm", "llama"))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(fine_tuning, "LEAST_STEPS", 4)


def inputs(models, labelled=EXAMPLES, task=None, **more):
    task = task or TASKS["sms_spam"]
    return MethodInput(tuple(labelled), task, base=models, lm=models, k=2, **more)


@pytest.mark.parametrize("key", QUICK)
def test_a_method_answers_in_order_with_probabilities_of_all_labels(key, models):
    classifier = METHODS[key].learn(inputs(models))
    assert classifier.labels == ("ham", "spam")
    answers = classifier.predict(TEXTS)
    assert len(answers) == len(TEXTS)
    for answer in answers:
        assert list(answer.probabilities) == ["ham", "spam"]
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert answer.label in classifier.labels
    assert len(classifier.predict([])) == 0


@pytest.mark.parametrize("key", QUICK)
def test_the_same_inputs_give_the_same_answers(key, models):
    first, second = (
        [list(a.probabilities.values()) for a in METHODS[key].learn(given).predict(TEXTS)]
        for given in [inputs(models, seed=3)] * 2
    )
    # What a prompt shares with the one before is not read again, which changes the last digits.
    np.testing.assert_allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("key", QUICK)
def test_one_labelled_message_is_enough_to_answer(key, models):
    for only in EXAMPLES[0], EXAMPLES[-1]:
        (answer,) = METHODS[key].learn(inputs(models, [only])).predict(["hello"])
        assert list(answer.probabilities) == ["ham", "spam"]


@pytest.mark.parametrize("key", QUICK)
def test_a_label_that_was_never_shown_may_still_be_asked_about(key, models):
    three = task_with_labels("own", ("eggs", "ham", "spam"))
    classifier = METHODS[key].learn(inputs(models, task=three))
    asked = [Example("hello", "eggs"), Example("win", "spam"), Example("dinner", "ham")]
    found = evaluate(classifier, asked).metrics
    assert found.messages == 3
    assert np.isfinite(found.figures["nll"])


def test_the_majority_counts_only_what_is_labelled(models):
    some = [Example("a", "spam"), Example("b", "spam"), Example("c", "ham")]
    (answer,) = MajorityClass(inputs(models, some)).predict(["anything"])
    assert answer.label == "spam"
    assert answer.probabilities == {"ham": 2 / 5, "spam": 3 / 5}
    (undecided,) = MajorityClass(inputs(models, [])).predict(["anything"])
    assert undecided.label == "ham"
    assert undecided.probabilities == {"ham": 0.5, "spam": 0.5}


def test_few_messages_are_shown_more_often_and_many_are_not(models, monkeypatch):
    monkeypatch.setattr(fine_tuning, "LEAST_STEPS", 10)
    learnt = fine_tuning.fine_tune_with_history("last_block", inputs(models, EXAMPLES))
    assert 10 <= learnt.history[-1].steps < 20
    many = [Example(f"{e.text} {i}", e.label) for i in range(40) for e in EXAMPLES]
    learnt = fine_tuning.fine_tune_with_history("last_block", inputs(models, many))
    assert learnt.classifier.meta.about["train"]["epochs"] == 5


def test_a_head_is_fitted_first_where_a_label_has_few_messages(models):
    labels = TASKS["sms_spam"].labels
    for few, many in ((True, 20), (False, 70)):
        messages = [Example(f"word {i}", labels[i % 2]) for i in range(many)]
        learnt = fine_tuning.fine_tune_with_history("last_block", inputs(models, messages))
        assert learnt.classifier.meta.about["train"]["fit_head_first"] is few


def test_many_labels_are_learned_in_more_steps(models):
    task = TASKS["ag_news"]
    messages = [Example(f"word {label}", label) for label in task.labels]
    learnt = fine_tuning.fine_tune_with_history("last_block", inputs(models, messages, task))
    assert learnt.history[-1].steps >= fine_tuning.STEPS_OF_A_LABEL * len(task.labels) > 4


def test_a_part_to_calibrate_on_is_spared_where_there_is_enough(models):
    many = [Example(f"{e.text} {i}", e.label) for i in range(10) for e in EXAMPLES]
    assert len(fine_tuning.fine_tune_with_history("none", inputs(models, many)).val) == 10
    assert len(fine_tuning.fine_tune_with_history("none", inputs(models)).val) == len(EXAMPLES)


def test_setfit_that_is_missing_says_how_to_get_it(models, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "setfit", None)
    with pytest.raises(TuneshotError, match=r"pip install 'tuneshot\[setfit\]'"):
        METHODS["setfit"].learn(inputs(models))


@pytest.mark.slow
def test_setfit_learns_from_sixteen_messages(models, monkeypatch):
    pytest.importorskip("setfit")
    words = [("win cash prize", "spam"), ("see you at dinner", "ham")]
    few = [Example(f"{text} {i}", label) for i in range(4) for text, label in words]
    answers = METHODS["setfit"].learn(inputs(models, few)).predict([text for text, _ in words])
    assert [answer.label for answer in answers] == ["spam", "ham"]
    assert all(sum(a.probabilities.values()) == pytest.approx(1, abs=1e-5) for a in answers)


def test_every_selector_is_a_method_and_vote_k_chooses_what_is_labelled():
    from icl.selectors.table import SELECTORS

    assert {f"few_shot_{name}" for name in SELECTORS} - {"few_shot_zero", "few_shot_knn"} <= set(
        METHODS
    )
    assert METHODS["few_shot_votek_pool"].chooses == "votek"
    assert {m.family for m in METHODS.values()} == {"fine_tuned", "few_shot", "other", "baseline"}
    assert {m.chooses for m in METHODS.values()} == {"random", "votek", ""}


# --- many labels ----------------------------------------------------------------------------------


MANY = task_with_labels("own", tuple(f"topic {n:04d}" for n in range(500)))


@pytest.mark.parametrize("key", ["majority", "knn", "tfidf", "vectors", "fine_tuned", "features"])
@pytest.mark.filterwarnings("error::UserWarning:sklearn")
def test_a_method_without_a_prompt_takes_any_number_of_labels(key, models):
    labelled = [Example(f"word{n} again", label) for n, label in enumerate(MANY.labels)]
    classifier = METHODS[key].learn(inputs(models, labelled, MANY))
    (answer,) = classifier.predict(["word7 again"])
    assert classifier.labels == tuple(answer.probabilities) == MANY.labels
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_the_memory_of_a_regression_on_words_does_not_grow_with_the_labels(models, monkeypatch):
    monkeypatch.setattr(others, "MOST_WEIGHTS", 2_000)
    monkeypatch.setattr(others, "LEAST_WORDS", 10)
    labelled = [Example(f"word{n} other{n}", label) for n, label in enumerate(MANY.labels)]
    wide = others.tfidf(inputs(models, labelled[:2], MANY))
    narrow = others.tfidf(inputs(models, labelled, MANY))
    assert weights_of(wide).shape[1] == 6  # of two messages, all words and pairs
    assert weights_of(narrow).shape == (500, 10)


def weights_of(classifier):
    return classifier._predict_proba.__self__[-1].coef_


@pytest.mark.parametrize("key", QUICK)
def test_a_method_learns_from_two_messages(key, models):
    classifier = METHODS[key].learn(inputs(models, [EXAMPLES[0], EXAMPLES[-1]]))
    assert [answer.label in classifier.labels for answer in classifier.predict(TEXTS)] == [True] * 3
